//! Deployments in the state.

use super::{State, StateError, from_json, now_ms, sql, to_json, unknown_word};
use crate::deployment::{Deployment, DeploymentSpec, DeploymentStatus};
use rusqlite::{Row, params};

const COLUMNS: &str = "id, spec, status, nodes, created_ms, ended_ms, message";

impl State {
    /// Writes a deployment down, to be kept alive from now on; its number.
    pub fn add_deployment(&self, spec: &DeploymentSpec) -> Result<i64, StateError> {
        if let Some(there) = self.live_deployment(&spec.name)? {
            return Err(StateError::NameTaken {
                name: spec.name.clone(),
                status: there.status.as_str(),
            });
        }
        self.run(|connection| {
            connection.execute(
                "INSERT INTO deployment (name, spec, status, nodes, created_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    spec.name,
                    to_json(spec)?,
                    DeploymentStatus::Active.as_str(),
                    spec.requirements.nodes,
                    now_ms()
                ],
            )?;
            Ok(connection.last_insert_rowid())
        })
    }

    /// The deployment of that number.
    pub fn deployment(&self, id: i64) -> Result<Deployment, StateError> {
        self.select_deployments("WHERE id = ?1", [id])?
            .pop()
            .ok_or_else(|| StateError::NotFound { name: id.to_string() })
    }

    /// The deployment of that name that is there, else the last one of that name that was.
    pub fn find_deployment(&self, name: &str) -> Result<Deployment, StateError> {
        self.select_deployments("WHERE name = ?1 ORDER BY id DESC LIMIT 1", [name])?
            .pop()
            .ok_or_else(|| StateError::NotFound { name: name.to_owned() })
    }

    fn live_deployment(&self, name: &str) -> Result<Option<Deployment>, StateError> {
        Ok(self
            .select_deployments("WHERE name = ?1 AND ended_ms IS NULL", [name])?
            .pop())
    }

    /// Every deployment, the oldest first.
    pub fn deployments(&self) -> Result<Vec<Deployment>, StateError> {
        self.select_deployments("ORDER BY id", [])
    }

    /// Those of which something may be left at a provider, the oldest first.
    pub fn live_deployments(&self) -> Result<Vec<Deployment>, StateError> {
        self.select_deployments("WHERE ended_ms IS NULL ORDER BY id", [])
    }

    /// Changes where a deployment is on its way, and what is to be known of it. What is over stays over.
    pub fn set_deployment(&self, id: i64, status: DeploymentStatus, message: &str) -> Result<(), StateError> {
        let ended = status.is_over().then(now_ms);
        self.run(|connection| {
            connection.execute(
                "UPDATE deployment SET status = ?2, message = ?3, ended_ms = ?4 WHERE id = ?1 AND ended_ms IS NULL",
                params![id, status.as_str(), message, ended],
            )
        })?;
        Ok(())
    }

    /// Says what is to be known of a deployment.
    pub fn set_message(&self, id: i64, message: &str) -> Result<(), StateError> {
        self.run(|connection| {
            connection.execute("UPDATE deployment SET message = ?2 WHERE id = ?1", params![id, message])
        })?;
        Ok(())
    }

    /// Changes how many nodes are wanted.
    pub fn set_nodes(&self, id: i64, nodes: u32) -> Result<(), StateError> {
        self.run(|connection| {
            connection.execute("UPDATE deployment SET nodes = ?2 WHERE id = ?1", params![id, nodes])
        })?;
        Ok(())
    }

    fn select_deployments(&self, clause: &str, params: impl rusqlite::Params) -> Result<Vec<Deployment>, StateError> {
        let query = || -> rusqlite::Result<Vec<Deployment>> {
            let mut statement = self
                .connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM deployment {clause}"))?;
            statement.query_map(params, read)?.collect()
        };
        query().map_err(|error| sql(&self.path, &error))
    }

    /// Keeps something from being placed there for a while; `scope` is what it is about, `block` all of it, both JSON.
    pub fn set_block(&self, scope: &str, block: &str, until_ms: i64) -> Result<(), StateError> {
        self.run(|connection| {
            connection.execute(
                "INSERT INTO block (scope, block, until_ms) VALUES (?1, ?2, ?3)
                 ON CONFLICT (scope) DO UPDATE SET block = ?2, until_ms = ?3 WHERE until_ms < ?3",
                params![scope, block, until_ms],
            )
        })?;
        Ok(())
    }

    /// The blocks that hold now.
    pub fn blocks<T: serde::de::DeserializeOwned>(&self) -> Result<Vec<T>, StateError> {
        self.run(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT block FROM block WHERE until_ms > ?1 ORDER BY until_ms")?;
            let rows = statement.query_map([now_ms()], |row| from_json(&row.get::<_, String>(0)?))?;
            rows.collect()
        })
    }

    /// Forgets the blocks whose JSON has that text in its scope, all when it is empty; how many there were.
    pub fn forget_blocks(&self, text: &str) -> Result<usize, StateError> {
        self.run(|connection| connection.execute("DELETE FROM block WHERE instr(scope, ?1) OR ?1 = ''", [text]))
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Deployment> {
    let status: String = row.get(2)?;
    Ok(Deployment {
        id: row.get(0)?,
        spec: from_json(&row.get::<_, String>(1)?)?,
        status: DeploymentStatus::parse(&status).ok_or_else(|| unknown_word(&status))?,
        nodes: row.get(3)?,
        created_ms: row.get(4)?,
        ended_ms: row.get(5)?,
        message: row.get(6)?,
    })
}
