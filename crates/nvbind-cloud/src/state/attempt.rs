//! Attempts in the state.

use super::{State, StateError, from_json, now_ms, sql, to_json, unknown_word};
use crate::attempt::{Attempt, AttemptStatus, EndReason};
use crate::catalog::ProviderName;
use crate::provider::Order;
use rusqlite::{Row, params};

const COLUMNS: &str = "id, deployment, provider, order_json, gpu, gpus, usd_h, extras_usd_h, reason, status, machine_id, address, \
     private_address, intent_ms, accepted_ms, started_ms, notice_ms, deleting_ms, ended_ms, end, exit_code, starts, error, \
     wait_until_ms, tries, rejoins, peers";

/// An attempt before it has a number.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAttempt {
    /// The deployment.
    pub deployment: i64,
    /// Whom it is ordered from.
    pub provider: ProviderName,
    /// What is ordered. Attempt number, token and name are filled in when it is written down.
    pub order: Order,
    /// The GPU model.
    pub gpu: String,
    /// GPUs.
    pub gpus: f64,
    /// Price of the machine, in USD an hour.
    pub usd_h: f64,
    /// Price of what comes with it, in USD an hour.
    pub extras_usd_h: f64,
    /// Why this offer.
    pub reason: String,
}

impl State {
    /// Writes down the intent to order a machine: with a new token, and a name that no other attempt of this state has. To be called
    /// before the provider is.
    pub fn add_attempt(&self, new: &NewAttempt) -> Result<Attempt, StateError> {
        let id = self.run(|connection| {
            let transaction = connection.unchecked_transaction()?;
            let number: u32 = transaction.query_row(
                "SELECT count(*) + 1 FROM attempt WHERE deployment = ?1",
                [new.deployment],
                |row| row.get(0),
            )?;
            let token: String = transaction.query_row("SELECT lower(hex(randomblob(16)))", [], |row| row.get(0))?;
            let order = Order {
                attempt: number,
                name: machine_name(&new.order.deployment, new.order.node, &token),
                token,
                ..new.order.clone()
            };
            transaction.execute(
                "INSERT INTO attempt (deployment, provider, node, order_json, gpu, gpus, usd_h, extras_usd_h, reason, status,
                 intent_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                params![
                    new.deployment,
                    new.provider.as_str(),
                    order.node,
                    to_json(&order)?,
                    new.gpu,
                    new.gpus,
                    new.usd_h,
                    new.extras_usd_h,
                    new.reason,
                    AttemptStatus::Intent.as_str(),
                    now_ms(),
                ],
            )?;
            let id = transaction.last_insert_rowid();
            transaction.commit()?;
            Ok(id)
        })?;
        self.attempt(id)
    }

    /// The attempt of that number.
    pub fn attempt(&self, id: i64) -> Result<Attempt, StateError> {
        self.select_attempts("WHERE id = ?1", [id])?
            .pop()
            .ok_or_else(|| StateError::NotFound { name: id.to_string() })
    }

    /// Every attempt of a deployment, the oldest first.
    pub fn attempts(&self, deployment: i64) -> Result<Vec<Attempt>, StateError> {
        self.select_attempts("WHERE deployment = ?1 ORDER BY id", [deployment])
    }

    /// Every attempt that was paid for at some time after then (milliseconds since 1970), the oldest first.
    pub fn attempts_since(&self, since_ms: i64) -> Result<Vec<Attempt>, StateError> {
        self.select_attempts(
            "WHERE accepted_ms IS NOT NULL AND (ended_ms IS NULL OR ended_ms > ?1) ORDER BY id",
            [since_ms],
        )
    }

    /// Every attempt of which something may be left at a provider.
    pub fn open_attempts(&self) -> Result<Vec<Attempt>, StateError> {
        self.select_attempts("WHERE ended_ms IS NULL ORDER BY id", [])
    }

    /// Writes an attempt down as it is now.
    pub fn save_attempt(&self, attempt: &Attempt) -> Result<(), StateError> {
        self.run(|connection| {
            connection.execute(
                "UPDATE attempt SET status = ?2, machine_id = ?3, address = ?4, private_address = ?5, accepted_ms = ?6,
                 started_ms = ?7, notice_ms = ?8, deleting_ms = ?9, ended_ms = ?10, end = ?11, exit_code = ?12, starts = ?13,
                 error = ?14, wait_until_ms = ?15, tries = ?16, rejoins = ?17, peers = ?18 WHERE id = ?1",
                params![
                    attempt.id,
                    attempt.status.as_str(),
                    attempt.machine_id,
                    attempt.address,
                    attempt.private_address,
                    attempt.accepted_ms,
                    attempt.started_ms,
                    attempt.notice_ms,
                    attempt.deleting_ms,
                    attempt.ended_ms,
                    attempt.end.map(EndReason::as_str),
                    attempt.exit_code,
                    attempt.starts,
                    attempt.error.as_ref().map(to_json).transpose()?,
                    attempt.wait_until_ms,
                    attempt.tries,
                    attempt.rejoins,
                    to_json(&attempt.peers)?,
                ],
            )
        })?;
        Ok(())
    }

    fn select_attempts(&self, clause: &str, params: impl rusqlite::Params) -> Result<Vec<Attempt>, StateError> {
        let query = || -> rusqlite::Result<Vec<Attempt>> {
            let mut statement = self
                .connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM attempt {clause}"))?;
            statement.query_map(params, read)?.collect()
        };
        query().map_err(|error| sql(&self.path, &error))
    }
}

/// Deployment, node, and enough of the token that no second one is alike: at most 60 characters.
fn machine_name(deployment: &str, node: u32, token: &str) -> String {
    format!("nvb-{deployment}-{node}-{}", &token[..10])
}

fn read(row: &Row<'_>) -> rusqlite::Result<Attempt> {
    let (provider, status): (String, String) = (row.get(2)?, row.get(9)?);
    let end: Option<String> = row.get(19)?;
    let error: Option<String> = row.get(22)?;
    Ok(Attempt {
        id: row.get(0)?,
        deployment: row.get(1)?,
        provider: provider.parse().map_err(|_| unknown_word(&provider))?,
        order: from_json(&row.get::<_, String>(3)?)?,
        gpu: row.get(4)?,
        gpus: row.get(5)?,
        usd_h: row.get(6)?,
        extras_usd_h: row.get(7)?,
        reason: row.get(8)?,
        status: AttemptStatus::parse(&status).ok_or_else(|| unknown_word(&status))?,
        machine_id: row.get(10)?,
        address: row.get(11)?,
        private_address: row.get(12)?,
        intent_ms: row.get(13)?,
        accepted_ms: row.get(14)?,
        started_ms: row.get(15)?,
        notice_ms: row.get(16)?,
        deleting_ms: row.get(17)?,
        ended_ms: row.get(18)?,
        end: end.and_then(|word| EndReason::parse(&word)),
        exit_code: row.get(20)?,
        starts: row.get(21)?,
        error: error.map(|text| from_json(&text)).transpose()?,
        wait_until_ms: row.get(23)?,
        tries: row.get(24)?,
        rejoins: row.get(25)?,
        peers: from_json(&row.get::<_, String>(26)?)?,
    })
}
