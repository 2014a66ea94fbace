//! What an account may have at a time.

use crate::catalog::Market;
use serde::{Deserialize, Serialize};

/// A quota with what is used of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quota {
    /// The provider's name for it, as its error messages and its console have it.
    pub name: String,
    /// What it is called among people.
    pub title: String,
    /// Region; empty for the whole account.
    pub region: String,
    /// Machine types of the catalog that count against it.
    pub instance_types: Vec<String>,
    /// The market it is for; `None` for both.
    pub market: Option<Market>,
    /// What is counted.
    pub unit: QuotaUnit,
    /// The limit.
    pub limit: f64,
    /// What is used now.
    pub used: f64,
}

/// What a quota counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuotaUnit {
    /// Virtual CPUs.
    Vcpus,
    /// GPUs.
    Gpus,
    /// Machines.
    Machines,
}

impl Quota {
    /// What is left of it.
    pub fn left(&self) -> f64 {
        (self.limit - self.used).max(0.0)
    }
}
