//! What happened, in order.

use super::{State, StateError, now_ms};
use rusqlite::params;
use serde::Serialize;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// Its number.
    pub id: i64,
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// The deployment that it is about.
    pub deployment: Option<i64>,
    /// The attempt that it is about.
    pub attempt: Option<i64>,
    /// What kind of thing, in a word.
    pub kind: String,
    /// What, in a line.
    pub message: String,
}

impl State {
    /// Writes down that something happened.
    pub fn tell(
        &self,
        deployment: Option<i64>,
        attempt: Option<i64>,
        kind: &str,
        message: &str,
    ) -> Result<(), StateError> {
        self.run(|connection| {
            connection.execute(
                "INSERT INTO event (at_ms, deployment, attempt, kind, message) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![now_ms(), deployment, attempt, kind, message],
            )
        })?;
        Ok(())
    }

    /// The number of the last event; 0 when there was none.
    pub fn last_event(&self) -> Result<i64, StateError> {
        self.run(|connection| connection.query_row("SELECT coalesce(max(id), 0) FROM event", [], |row| row.get(0)))
    }

    /// When a thing of that kind last happened to a deployment, in milliseconds since 1970; `None` when it never did.
    pub fn last_event_of(&self, deployment: i64, kind: &str) -> Result<Option<i64>, StateError> {
        self.run(|connection| {
            connection.query_row(
                "SELECT max(at_ms) FROM event WHERE deployment = ?1 AND kind = ?2",
                params![deployment, kind],
                |row| row.get(0),
            )
        })
    }

    /// What happened to a deployment after the event of that number, in order.
    pub fn events(&self, deployment: i64, after: i64) -> Result<Vec<Event>, StateError> {
        self.run(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, at_ms, deployment, attempt, kind, message FROM event
                 WHERE deployment = ?1 AND id > ?2 ORDER BY id",
            )?;
            let rows = statement.query_map(params![deployment, after], |row| {
                Ok(Event {
                    id: row.get(0)?,
                    at_ms: row.get(1)?,
                    deployment: row.get(2)?,
                    attempt: row.get(3)?,
                    kind: row.get(4)?,
                    message: row.get(5)?,
                })
            })?;
            rows.collect()
        })
    }
}
