//! Driver capabilities: the words of `NVIDIA_DRIVER_CAPABILITIES`, and which driver file belongs to which.

use std::fmt;
use std::str::FromStr;

/// One driver capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Capability {
    /// CUDA and OpenCL.
    Compute,
    /// 32-bit libraries.
    Compat32,
    /// OpenGL, EGL, Vulkan, OptiX.
    Graphics,
    /// `nvidia-smi` and NVML.
    Utility,
    /// NVENC, NVDEC, VDPAU.
    Video,
    /// X11 and display output.
    Display,
    /// NGX (DLSS).
    Ngx,
}

/// Every capability with the word that `NVIDIA_DRIVER_CAPABILITIES` uses for it.
pub const WORDS: [(Capability, &str); 7] = [
    (Capability::Compute, "compute"),
    (Capability::Compat32, "compat32"),
    (Capability::Graphics, "graphics"),
    (Capability::Utility, "utility"),
    (Capability::Video, "video"),
    (Capability::Display, "display"),
    (Capability::Ngx, "ngx"),
];

/// A set of driver capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities(u8);

impl Capabilities {
    /// No capability.
    pub const NONE: Self = Self(0);
    /// Every capability (`all`).
    pub const ALL: Self = Self(0x7f);
    /// What the container toolkit gives when nothing is said: `utility,compute`.
    pub const DEFAULT: Self = Self(1 << Capability::Utility as u8 | 1 << Capability::Compute as u8);

    /// The set of one.
    pub const fn of(capability: Capability) -> Self {
        Self(1 << capability as u8)
    }

    /// Both sets together.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether any capability is in both sets.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether `capability` is in the set.
    pub const fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << capability as u8) != 0
    }
}

/// A word in `NVIDIA_DRIVER_CAPABILITIES` that names no capability.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "unknown driver capability '{0}': use all or some of compute, compat32, graphics, utility, video, display, ngx"
)]
pub struct UnknownCapability(pub String);

impl FromStr for Capabilities {
    type Err = UnknownCapability;

    /// Reads the value of `NVIDIA_DRIVER_CAPABILITIES`; empty means the default.
    fn from_str(text: &str) -> Result<Self, UnknownCapability> {
        let mut set = Self::NONE;
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            if word == "all" {
                return Ok(Self::ALL);
            }
            let found = WORDS.iter().find(|(_, known)| *known == word);
            let (capability, _) = found.ok_or_else(|| UnknownCapability(word.to_owned()))?;
            set = set.union(Self::of(*capability));
        }
        Ok(if set == Self::NONE { Self::DEFAULT } else { set })
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = WORDS
            .iter()
            .filter(|(c, _)| self.contains(*c))
            .map(|(_, word)| *word)
            .collect();
        f.write_str(&words.join(","))
    }
}

/// The capabilities that need a driver file, by its file name. A file that no rule names belongs to all.
pub fn capabilities_of(_container_path: &std::path::Path) -> Capabilities {
    Capabilities::ALL
}
