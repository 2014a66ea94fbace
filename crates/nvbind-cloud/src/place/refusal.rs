//! Why an offer will not do.

use crate::catalog::{Arch, Day, Market, ProviderName};
use crate::provider::ErrorClass;
use serde::Serialize;

/// Why an offer will not do.
#[derive(Debug, Clone, PartialEq, Serialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum Refusal {
    /// The provider is not among those asked for.
    #[error("provider {provider} is not among those asked for")]
    Provider {
        /// The provider.
        provider: ProviderName,
    },
    /// The machine type is not among those asked for.
    #[error("machine type is not among those asked for")]
    InstanceType,
    /// The GPU is another model.
    #[error("GPU is {has}, not {asked}")]
    Model {
        /// Its model.
        has: &'static str,
        /// What was asked for.
        asked: String,
    },
    /// It has too few GPUs.
    #[error("has {has} of {need} GPUs")]
    Gpus {
        /// How many it has.
        has: f64,
        /// How many are needed.
        need: f64,
    },
    /// Its GPUs have too little memory.
    #[error("GPU has {has} of {need} GiB")]
    GpuMemory {
        /// Memory of each, in GiB.
        has: f64,
        /// How much is needed.
        need: f64,
    },
    /// Its GPUs are too old.
    #[error("compute capability is {}.{}, not {}.{} or newer", has / 10, has % 10, need / 10, need % 10)]
    Capability {
        /// Compute capability, times ten.
        has: u16,
        /// The least that is needed.
        need: u16,
    },
    /// It has too few virtual CPUs.
    #[error("has {has} of {need} vCPUs")]
    Vcpus {
        /// How many it has.
        has: f64,
        /// How many are needed.
        need: f64,
    },
    /// It has too little memory.
    #[error("has {has} of {need} GiB of memory")]
    Memory {
        /// Memory in GiB.
        has: f64,
        /// How much is needed.
        need: f64,
    },
    /// Its CPUs run other programs.
    #[error("CPUs are {has}, not {need}")]
    Arch {
        /// Its CPUs.
        has: Arch,
        /// What is needed.
        need: Arch,
    },
    /// It is sold the other way.
    #[error("{} was ruled out", match has { Market::Spot => "spot", Market::OnDemand => "on demand" })]
    Market {
        /// How it is sold.
        has: Market,
    },
    /// The region is not among those asked for.
    #[error("region {region} is not among those asked for")]
    Region {
        /// The region.
        region: String,
    },
    /// The zone is not among those asked for.
    #[error("zone {zone} is not among those asked for")]
    Zone {
        /// The zone, or the region where the offer names no zone.
        zone: String,
    },
    /// Data may not be there.
    #[error("data may not be in {country} ({region}), only in {allowed}")]
    Residency {
        /// The country, `unknown` where it is.
        country: String,
        /// The region.
        region: String,
        /// Where data may be.
        allowed: String,
    },
    /// It is too far from a site.
    #[error("{ms:.0} ms from {site}, not {most:.0}")]
    Latency {
        /// The site.
        site: String,
        /// Round trip in milliseconds.
        ms: f64,
        /// The longest that will do.
        most: f64,
    },
    /// Nobody has measured how far it is.
    #[error("round trip to {region} was not measured: nvbind cloud latency does it")]
    LatencyUnknown {
        /// The region.
        region: String,
    },
    /// It was refused a short while ago.
    #[error("blocked {} because {code}", until_text(*until))]
    Blocked {
        /// Seconds since 1970 until which; `None` until `nvbind cloud check`.
        until: Option<u64>,
        /// The kind of refusal.
        class: ErrorClass,
        /// The provider's code.
        code: String,
    },
    /// The account may not have so many.
    #[error("quota {left} of {need} {unit} in {name}")]
    Quota {
        /// The provider's name for the quota.
        name: String,
        /// What is left of it.
        left: f64,
        /// What is needed.
        need: f64,
        /// What is counted.
        unit: &'static str,
    },
    /// There are not so many.
    #[error("{free} of {need} machines are free")]
    Room {
        /// How many are free.
        free: u32,
        /// How many are needed.
        need: u32,
    },
    /// It costs too much.
    #[error("{usd_h:.3} USD an hour is above {most:.3}")]
    Price {
        /// USD an hour of one node.
        usd_h: f64,
        /// The most.
        most: f64,
    },
    /// Its price is too old.
    #[error("price is of {date}, older than {days} days")]
    Stale {
        /// The day of the price; `no known day`.
        date: String,
        /// How old it may be.
        days: i64,
    },
    /// It would not be done in time.
    #[error("expected to take {hours:.1} h of {most:.1}")]
    Deadline {
        /// Hours to be expected.
        hours: f64,
        /// Hours until it must be done.
        most: f64,
    },
    /// All of it costs too much.
    #[error("expected to cost {usd:.2} USD of {budget:.2}")]
    Budget {
        /// USD to be expected.
        usd: f64,
        /// The budget.
        budget: f64,
    },
    /// It is no longer rented out.
    #[error("retired: {note}")]
    Retired {
        /// What the catalog knows of it.
        note: String,
    },
    /// It is not sold that way.
    #[error("no price {}", match market { Market::Spot => "on spot", Market::OnDemand => "on demand" })]
    NotSold {
        /// The way.
        market: Market,
    },
}

fn until_text(until: Option<u64>) -> String {
    match until {
        Some(until) => format!("until {} UTC", clock(until)),
        None => "until `nvbind cloud check` finds the account in order".to_owned(),
    }
}

/// Day and time of day of seconds since 1970.
fn clock(seconds: u64) -> String {
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{} {hours:02}:{minutes:02}", Day::of_unix(seconds))
}

/// Reasons, from what is nearest to doing.
const NEAREST: [&str; 21] = [
    "retired",
    "not sold",
    "budget",
    "deadline",
    "price",
    "stale price",
    "quota",
    "capacity",
    "blocked",
    "latency",
    "market",
    "zone",
    "region",
    "residency",
    "CPU architecture",
    "memory",
    "vCPUs",
    "GPU memory",
    "number of GPUs",
    "compute capability",
    "GPU model",
];

impl Refusal {
    /// How far it is from doing: the lower, the nearer.
    pub fn distance(&self) -> usize {
        let word = self.word();
        NEAREST.iter().position(|known| *known == word).unwrap_or(NEAREST.len())
    }

    /// A word that sums up many.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Provider { .. } => "provider",
            Self::InstanceType => "machine type",
            Self::Model { .. } => "GPU model",
            Self::Gpus { .. } => "number of GPUs",
            Self::GpuMemory { .. } => "GPU memory",
            Self::Capability { .. } => "compute capability",
            Self::Vcpus { .. } => "vCPUs",
            Self::Memory { .. } => "memory",
            Self::Arch { .. } => "CPU architecture",
            Self::Market { .. } => "market",
            Self::Region { .. } => "region",
            Self::Zone { .. } => "zone",
            Self::Residency { .. } => "residency",
            Self::Latency { .. } | Self::LatencyUnknown { .. } => "latency",
            Self::Blocked { .. } => "blocked",
            Self::Quota { .. } => "quota",
            Self::Room { .. } => "capacity",
            Self::Price { .. } => "price",
            Self::Stale { .. } => "stale price",
            Self::Deadline { .. } => "deadline",
            Self::Budget { .. } => "budget",
            Self::Retired { .. } => "retired",
            Self::NotSold { .. } => "not sold",
        }
    }
}
