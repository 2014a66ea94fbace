//! How it goes with a node.

use super::Plan;
use serde::{Deserialize, Serialize};
use std::time::{SystemTime, UNIX_EPOCH};

/// How it goes with a node: written by its agent at each change and each second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The deployment.
    pub deployment: String,
    /// Number of the node.
    pub node: u32,
    /// Token of its order.
    pub token: String,
    /// Whether the agent lives.
    pub agent: AgentState,
    /// Counts changes; a heartbeat does not count.
    pub change: u64,
    /// Milliseconds since 1970, by the host's clock.
    pub at_ms: u64,
    /// Milliseconds since the host was started; never goes back.
    pub uptime_ms: u64,
    /// Milliseconds since the agent wrote this, for whoever reads it.
    pub age_ms: u64,
    /// What the node is doing.
    pub phase: Phase,
    /// Milliseconds since 1970 at which the workload began.
    pub started_ms: Option<u64>,
    /// The notice that the machine is taken back.
    pub notice: Option<Notice>,
    /// The hint that it may be taken back.
    pub rebalance: Option<Notice>,
    /// Why the metadata service cannot be listened to.
    pub metadata_error: Option<String>,
    /// What became of the checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// Milliseconds since 1970 at which the workload was told to end.
    pub terminated_ms: Option<u64>,
    /// How much its GPUs do; empty where nobody can tell.
    pub gpus: Vec<GpuUse>,
    /// How it ended.
    pub exit: Option<Exit>,
    /// The process group that a dead agent leaves behind: its first process, and when that began (`/proc/PID/stat`, field 22).
    pub child: Option<(u32, u64)>,
}

impl Report {
    /// The first one.
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            deployment: plan.deployment.clone(),
            node: plan.node,
            token: plan.token.clone(),
            agent: AgentState::Alive,
            change: 0,
            at_ms: now_ms(),
            uptime_ms: uptime_ms(),
            age_ms: 0,
            phase: Phase::Starting,
            started_ms: None,
            notice: None,
            rebalance: None,
            metadata_error: None,
            checkpoint: None,
            terminated_ms: None,
            gpus: Vec::new(),
            exit: None,
            child: None,
        }
    }
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds since this host was started.
pub(super) fn uptime_ms() -> u64 {
    let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = text.split(' ').next().and_then(|word| word.parse::<f64>().ok());
    seconds.map_or(0, |seconds| (seconds * 1000.0) as u64)
}

/// Whether an agent lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgentState {
    /// It does.
    Alive,
    /// It is done.
    Done,
    /// It ended before its work did: what it started may still run.
    Dead,
}

/// What a node is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The agent is there.
    Starting,
    /// The set-up script runs.
    Setup,
    /// `nvbind run` runs.
    Running,
    /// The workload has been told to end, or is about to be.
    Stopping,
    /// It has ended.
    Ended,
}

/// A notice of the provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// What is announced.
    pub kind: NoticeKind,
    /// Milliseconds since 1970 at which the agent saw it.
    pub seen_ms: u64,
    /// When the machine goes, in the provider's words; empty where it does not say.
    pub when: String,
    /// Seconds that are left at least, as the provider promises.
    pub seconds: u64,
}

/// What a notice announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoticeKind {
    /// The machine is taken back.
    Interruption,
    /// The machine may be taken back soon.
    Rebalance,
}

/// What became of a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Milliseconds since 1970 at which it began.
    pub started_ms: u64,
    /// Seconds that it took, once it has ended.
    pub seconds: Option<f64>,
    /// Its exit code; none where it was killed because the time was over.
    pub code: Option<i32>,
}

/// How a workload ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exit {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// The exit code of `nvbind run`, or of the set-up; none where nobody saw it end.
    pub code: Option<i32>,
    /// Why.
    pub reason: ExitReason,
}

/// Why a workload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExitReason {
    /// By itself.
    Ended,
    /// The set-up failed.
    Setup,
    /// The provider takes the machine back.
    Interrupted,
    /// It was asked to.
    Stopped,
    /// It could not be started.
    NotStarted,
}

/// How much a GPU does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GpuUse {
    /// Its UUID.
    pub uuid: String,
    /// Share of the time in which it did something, in a hundred.
    pub percent: u32,
    /// Memory in use, in MiB.
    pub memory_used_mib: u64,
    /// Memory in all, in MiB.
    pub memory_mib: u64,
}
