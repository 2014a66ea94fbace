//! Calls of `nvbind` for a container that an agent has started.

use super::AgentError;
use serde::Deserialize;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A line of `nvbind ps --all --format json`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Container {
    name: String,
    /// Its first process, as the host numbers it.
    pub(super) pid: Option<u32>,
}

/// The container of that name, if there is one. Every such call also cleans up after an `nvbind run` that was killed.
pub(super) fn container(nvbind: &Path, name: &str) -> Result<Option<Container>, AgentError> {
    let output = call(nvbind, "ps", &["--all", "--format", "json"])?;
    let all: Vec<Container> = serde_json::from_slice(&output.stdout).map_err(|error| AgentError::Nvbind {
        what: "ps",
        why: error.to_string(),
    })?;
    Ok(all.into_iter().find(|container| container.name == name))
}

/// Stops the container of that name and removes it; one that is not there is no error.
pub(super) fn end(nvbind: &Path, name: &str, grace_seconds: u64) -> Result<(), AgentError> {
    if container(nvbind, name)?.is_none() {
        return Ok(());
    }
    let stopped = call(nvbind, "stop", &["--time", &grace_seconds.to_string(), name]);
    if container(nvbind, name)?.is_none() {
        return Ok(());
    }
    stopped?;
    call(nvbind, "rm", &["--force", name]).map(drop)
}

fn call(nvbind: &Path, what: &'static str, arguments: &[&str]) -> Result<Output, AgentError> {
    let mut command = Command::new(nvbind);
    command.arg(what).args(arguments).stdin(Stdio::null());
    let failed = |why| AgentError::Nvbind { what, why };
    let output = command.output().map_err(|error| failed(error.to_string()))?;
    match output.status.success() {
        true => Ok(output),
        false => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}
