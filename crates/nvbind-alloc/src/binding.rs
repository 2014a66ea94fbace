//! One binding: these devices belong to that workload.

use crate::{Isolation, Owner};
use std::path::PathBuf;

/// A durable record that devices belong to a workload, and of everything that the workload's start leaves on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// Unique id; also the container's id and the name of its folders.
    pub id: String,
    /// Unique name that a person uses; the id when none was given.
    pub name: String,
    /// Engine that runs it: `native`, `docker`, `podman`, `containerd`, `bolt`.
    pub engine: String,
    /// UUIDs of the devices (`GPU-...`, `MIG-...`).
    pub devices: Vec<String>,
    /// Whether others may be bound to the same devices.
    pub isolation: Isolation,
    /// The process that answers for this binding.
    pub owner: Owner,
    /// How far it came.
    pub status: Status,
    /// First process of the container as the host numbers it, once there is one.
    pub pid: Option<u32>,
    /// The container's exit code, once it has ended.
    pub exit_code: Option<u8>,
    /// The record and the log stay after the container ended, until `rm`.
    pub detached: bool,
    /// Image or root file system as the user named it.
    pub image: String,
    /// Command line.
    pub command: Vec<String>,
    /// Seconds since 1970.
    pub created_at: u64,
    /// Seconds since 1970, once it has ended.
    pub finished_at: Option<u64>,
    /// OCI bundle: removed with the binding.
    pub bundle: Option<PathBuf>,
    /// Cgroup path below each hierarchy's root: killed and removed with the binding.
    pub cgroup: Option<String>,
}

/// How far a binding came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Written down; effects may have begun.
    Created,
    /// The container's process runs.
    Running,
    /// The container has ended: it holds no device any more.
    Exited,
}

/// Every status with the word that is stored for it.
const STATUS_WORDS: [(Status, &str); 3] = [
    (Status::Created, "created"),
    (Status::Running, "running"),
    (Status::Exited, "exited"),
];

impl Status {
    /// The stored and printed word.
    pub fn as_str(self) -> &'static str {
        STATUS_WORDS
            .iter()
            .find(|(status, _)| *status == self)
            .map_or("created", |(_, word)| word)
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        STATUS_WORDS
            .iter()
            .find(|(_, known)| *known == word)
            .map(|(status, _)| *status)
    }
}

/// What [`crate::Ledger::update`] changes; a field that is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// New status.
    pub status: Option<Status>,
    /// First process of the container.
    pub pid: Option<u32>,
    /// Exit code.
    pub exit_code: Option<u8>,
    /// When it ended, in seconds since 1970.
    pub finished_at: Option<u64>,
}

impl Change {
    /// The container's process runs as `pid`.
    pub fn running(pid: u32) -> Self {
        Self {
            status: Some(Status::Running),
            pid: Some(pid),
            ..Self::default()
        }
    }

    /// The container ended with `exit_code` at `finished_at`.
    pub fn exited(exit_code: u8, finished_at: u64) -> Self {
        Self {
            status: Some(Status::Exited),
            exit_code: Some(exit_code),
            finished_at: Some(finished_at),
            ..Self::default()
        }
    }
}
