//! What an agent is to do.

use super::MetadataSource;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an agent is to do. It may hold secrets: it travels on a standard input and lies in a file that its owner alone can read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The deployment.
    pub deployment: String,
    /// Number of the node in it.
    pub node: u32,
    /// Token of the order that the machine was made for.
    pub token: String,
    /// The workload, as `nvbind.toml` has it; name, terminal and background are the agent's to decide.
    pub workload: String,
    /// Variables for the workload, the set-up and the checkpoint.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Script for `sh` that runs on the host before the workload; the workload does not start when it fails.
    #[serde(default)]
    pub setup: Option<String>,
    /// Script for `sh` that runs on the host when the machine is about to be taken back, before the workload is told to end. It finds the container's
    /// name in `NVBIND_CONTAINER`, its first process in `NVBIND_PID`, and the seconds that it may take in `NVBIND_SECONDS`.
    #[serde(default)]
    pub checkpoint: Option<String>,
    /// Seconds between SIGTERM and SIGKILL.
    pub grace_seconds: u64,
    /// Whose notices to listen for.
    pub metadata: MetadataSource,
    /// Where the metadata service is; `None` for where every cloud has it.
    #[serde(default)]
    pub metadata_url: Option<String>,
    /// Size in MiB at which the workload's log is begun anew; as much again is kept of what was before.
    #[serde(default = "default_log")]
    pub log_mib: u64,
}

fn default_log() -> u64 {
    64
}

impl Plan {
    /// Name of the container.
    pub fn container(&self) -> String {
        format!("nvbind-cloud-{}", self.token)
    }
}
