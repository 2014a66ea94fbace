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

/// What the CPUs of a machine run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Arch {
    /// 64-bit x86.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 64-bit ARM.
    #[serde(rename = "arm64")]
    Arm64,
}

impl Arch {
    /// What the CPU of this program's build runs.
    pub const HERE: Self = match cfg!(target_arch = "aarch64") {
        true => Self::Arm64,
        false => Self::X86_64,
    };

    /// Every one with its name.
    pub const WORDS: [(Self, &'static str); 2] = [(Self::X86_64, "x86_64"), (Self::Arm64, "arm64")];
}

/// A word that names no architecture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown architecture '{0}': use x86_64 or arm64")]
pub struct UnknownArch(pub String);

impl std::str::FromStr for Arch {
    type Err = UnknownArch;

    fn from_str(word: &str) -> Result<Self, UnknownArch> {
        let found = Self::WORDS.iter().find(|(_, known)| *known == word);
        found.map(|(arch, _)| *arch).ok_or_else(|| UnknownArch(word.to_owned()))
    }
}

impl std::fmt::Display for Arch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let found = Self::WORDS.iter().find(|(arch, _)| arch == self);
        f.write_str(found.map_or("", |(_, word)| word))
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
    /// What its CPUs run.
    pub arch: Arch,
    /// How it is sold.
    pub market: Market,
    /// USD an hour.
    pub usd_h: f64,
    /// When that was the price.
    pub date: Option<Day>,
    /// Interruptions an hour that are to be expected; `None` where nothing is known, on demand none.
    pub interruptions_per_hour: Option<f64>,
}
