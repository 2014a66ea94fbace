//! One machine for one node of a deployment, from the intent to order it until nothing of it is left.

use crate::catalog::ProviderName;
use crate::provider::{MachineRef, Order, ProviderError};
use serde::{Deserialize, Serialize};

/// One machine for one node of a deployment, from the intent to order it until nothing of it is left. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Attempt {
    /// Its number among all attempts.
    pub id: i64,
    /// The deployment.
    pub deployment: i64,
    /// Whom it is ordered from.
    pub provider: ProviderName,
    /// What is ordered, as it was written down before it was sent.
    pub order: Order,
    /// The GPU model.
    pub gpu: String,
    /// GPUs.
    pub gpus: f64,
    /// Price of the machine, in USD an hour, when it was ordered.
    pub usd_h: f64,
    /// Price of what comes with it (disk, address), in USD an hour.
    pub extras_usd_h: f64,
    /// Why this offer.
    pub reason: String,
    /// How far it is.
    pub status: AttemptStatus,
    /// The provider's id of the machine.
    pub machine_id: Option<String>,
    /// Address that it is reached at.
    pub address: Option<String>,
    /// Its address among the nodes.
    pub private_address: Option<String>,
    /// When it was written down.
    pub intent_ms: i64,
    /// When the provider accepted the order: from here on it is paid for.
    pub accepted_ms: Option<i64>,
    /// When the workload was started.
    pub started_ms: Option<i64>,
    /// When the provider said that it takes the machine back.
    pub notice_ms: Option<i64>,
    /// When it was decided to give it back, or seen that it is gone.
    pub deleting_ms: Option<i64>,
    /// When nothing of it was left: until here it is paid for.
    pub ended_ms: Option<i64>,
    /// Why it ended.
    pub end: Option<EndReason>,
    /// Exit code of the workload, once it has ended by itself.
    pub exit_code: Option<i32>,
    /// How often the workload was started again on this machine.
    pub starts: u32,
    /// How often of these because another node had got another machine.
    pub rejoins: u32,
    /// Addresses of all nodes, as the workload was told them at its last start.
    pub peers: Vec<String>,
    /// What the provider answered last when it did not do what it was asked for.
    pub error: Option<ProviderError>,
    /// Before this time nothing is done about it: the provider asked for patience.
    pub wait_until_ms: i64,
    /// How often the present step was tried.
    pub tries: u32,
}

/// How far an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttemptStatus {
    /// Written down; the order may have been sent.
    Intent,
    /// The provider has accepted the order.
    Accepted,
    /// The machine is up.
    Running,
    /// The workload was started.
    Working,
    /// To be given back; the provider may have been told.
    Deleting,
    /// The provider has accepted that it is given back.
    Deleted,
    /// Nothing is left of it.
    Ended,
}

/// Why an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndReason {
    /// The workload is done.
    Done,
    /// The workload failed.
    WorkloadFailed,
    /// The provider refused the order: it never was.
    Refused,
    /// The provider took the machine back.
    Interrupted,
    /// The machine stopped answering.
    Lost,
    /// The machine did not come up or could not be prepared.
    NotUsable,
    /// It is not needed any more.
    NotNeeded,
    /// The user stopped the deployment.
    Stopped,
}

macro_rules! words {
    ($type:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $type {
            const WORDS: &[(Self, &'static str)] = &[$((Self::$variant, $word)),+];

            /// Its word.
            pub fn as_str(self) -> &'static str {
                Self::WORDS.iter().find(|(known, _)| *known == self).map_or("", |(_, word)| word)
            }

            /// That of a word.
            pub fn parse(word: &str) -> Option<Self> {
                Self::WORDS.iter().find(|(_, known)| *known == word).map(|(known, _)| *known)
            }
        }
    };
}

words!(AttemptStatus {
    Intent = "intent",
    Accepted = "accepted",
    Running = "running",
    Working = "working",
    Deleting = "deleting",
    Deleted = "deleted",
    Ended = "ended",
});

words!(EndReason {
    Done = "done",
    WorkloadFailed = "workload-failed",
    Refused = "refused",
    Interrupted = "interrupted",
    Lost = "lost",
    NotUsable = "not-usable",
    NotNeeded = "not-needed",
    Stopped = "stopped",
});

impl Attempt {
    /// Whether it stands for its node: ordered or up, and not known to go away.
    pub fn is_live(&self) -> bool {
        self.status < AttemptStatus::Deleting && self.notice_ms.is_none()
    }

    /// How its provider finds its machine.
    pub fn machine(&self) -> MachineRef {
        MachineRef {
            region: self.order.region.clone(),
            zone: self.order.zone.clone(),
            name: self.order.name.clone(),
            token: self.order.token.clone(),
            id: self.machine_id.clone(),
        }
    }

    /// Hours that it was paid for until then (milliseconds since 1970).
    pub fn paid_hours(&self, until_ms: i64) -> f64 {
        let Some(from) = self.accepted_ms else { return 0.0 };
        let until = self.ended_ms.unwrap_or(until_ms).min(until_ms);
        (until - from).max(0) as f64 / 3_600_000.0
    }

    /// What it has cost until then, in USD, by the price that it was ordered at.
    pub fn cost_usd(&self, until_ms: i64) -> f64 {
        self.paid_hours(until_ms) * (self.usd_h + self.extras_usd_h)
    }
}
