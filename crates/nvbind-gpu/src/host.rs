//! What was found on a host: its driver and its GPUs.

use crate::Gpu;
use serde::{Deserialize, Serialize};

/// The driver and the GPUs of one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// The kernel driver.
    pub driver: Driver,
    /// The GPUs in NVML order (procfs: PCI bus order, which is the same unless GPUs were lost).
    pub gpus: Vec<Gpu>,
    /// Who was asked.
    pub source: Source,
    /// What went wrong without stopping the search, a line each (as: why NVML could not be asked).
    pub warnings: Vec<String>,
}

/// The kernel driver that binds the GPUs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Driver {
    /// Which driver it is.
    pub kind: DriverKind,
    /// Version, as `550.163.01`.
    pub version: Option<String>,
    /// Newest CUDA version that the driver supports (major, minor).
    pub cuda_version: Option<(u32, u32)>,
}

impl Driver {
    /// No driver at all.
    pub const NONE: Self = Self {
        kind: DriverKind::None,
        version: None,
        cuda_version: None,
    };
}

/// Which kernel driver binds the NVIDIA hardware.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DriverKind {
    /// NVIDIA's open kernel modules.
    NvidiaOpen,
    /// NVIDIA's proprietary kernel modules.
    NvidiaProprietary,
    /// nouveau (or nova): no CUDA, no driver files to mount.
    Nouveau,
    /// No driver.
    None,
}

impl DriverKind {
    /// Whether it is NVIDIA's own driver, open or proprietary.
    pub const fn is_nvidia(self) -> bool {
        matches!(self, Self::NvidiaOpen | Self::NvidiaProprietary)
    }

    /// The word for it: `nvidia-open`, `nvidia-proprietary`, `nouveau`, `none`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NvidiaOpen => "nvidia-open",
            Self::NvidiaProprietary => "nvidia-proprietary",
            Self::Nouveau => "nouveau",
            Self::None => "none",
        }
    }
}

impl std::fmt::Display for DriverKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// Who was asked about the GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The driver's NVML library.
    Nvml,
    /// `/proc/driver/nvidia` and `/sys/bus/pci`.
    Procfs,
}
