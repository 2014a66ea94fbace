//! Something that can be rented.

use super::{Day, Gpu, ProviderName};
use serde::{Deserialize, Serialize};

/// How a machine is sold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Market {
    /// Until given back.
    OnDemand,
    /// Until the provider wants it back.
    Spot,
}

impl Market {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OnDemand => "on-demand",
            Self::Spot => "spot",
        }
    }
}

/// Something that can be rented.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Offer {
    /// Who rents it out.
    pub provider: ProviderName,
    /// Where.
    pub region: String,
    /// Which zone, where the offer is that zone's alone.
    pub zone: Option<String>,
    /// The machine.
    pub instance_type: String,
    /// Its GPUs' model.
    pub gpu: Gpu,
    /// How many; a fraction where the machine has a share of one.
    pub gpus: f64,
    /// Memory of each, or of the share, in GiB.
    pub gpu_memory_gib: f64,
    /// Virtual CPUs.
    pub vcpus: f64,
    /// Main memory in GiB.
    pub memory_gib: f64,
    /// How it is sold.
    pub market: Market,
    /// USD an hour.
    pub usd_h: f64,
    /// When that was the price.
    pub date: Option<Day>,
    /// Interruptions an hour that are to be expected; `None` where nothing is known, on demand none.
    pub interruptions_per_hour: Option<f64>,
}
