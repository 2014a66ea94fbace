//! Devices that are no GPUs, each asked for by a variable of its own.

use super::environment::Environment;
use super::{push_new, words};
use crate::Error;
use nvbind_config::RequestConfig;

/// Variables that ask with `enabled`, and the mode of `nvbind cdi generate` (which is also the class of the CDI kind).
const MODES: [(&str, &str); 4] = [
    ("NVIDIA_GDS", "gds"),
    ("NVIDIA_MOFED", "mofed"),
    ("NVIDIA_GDRCOPY", "gdrcopy"),
    ("NVIDIA_NVSWITCH", "nvswitch"),
];

/// The number of IMEX channels that the driver can have (minor numbers of 20 bits).
const IMEX_CHANNELS: u32 = 1 << 20;

/// Devices that are no GPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraDevices {
    /// Modes of `nvbind cdi generate`: `gds`, `mofed`, `gdrcopy`, `nvswitch`.
    pub modes: Vec<&'static str>,
    /// Numbers of IMEX channels, in the order asked for.
    pub imex_channels: Vec<u32>,
}

impl ExtraDevices {
    /// None at all.
    pub const NONE: Self = Self {
        modes: Vec::new(),
        imex_channels: Vec::new(),
    };
}

pub(super) fn of(env: &Environment<'_>, mounted: &[String], heard: &RequestConfig) -> Result<ExtraDevices, Error> {
    if !env.is_heard(heard) && mounted.is_empty() {
        return Ok(ExtraDevices::NONE);
    }
    let is_enabled = |(variable, _): &&(&str, &str)| env.is_heard(heard) && env.get(variable) == Some("enabled");
    Ok(ExtraDevices {
        modes: MODES.iter().filter(is_enabled).map(|(_, mode)| *mode).collect(),
        imex_channels: imex_channels(env, mounted, heard)?,
    })
}

/// Mounts win over the variable, in which `all` counts for nothing: an image could say it.
fn imex_channels(env: &Environment<'_>, mounted: &[String], heard: &RequestConfig) -> Result<Vec<u32>, Error> {
    if !heard.imex_channels {
        return Ok(Vec::new());
    }
    let mut names: Vec<String> = mounted.to_vec();
    if names.is_empty() {
        let asked = words(env.get("NVIDIA_IMEX_CHANNELS").unwrap_or_default());
        asked
            .filter(|word| *word != "all")
            .for_each(|word| push_new(&mut names, word));
    }
    names.iter().map(|name| channel(name)).collect()
}

fn channel(name: &str) -> Result<u32, Error> {
    let number = name.strip_prefix("channel").unwrap_or(name).parse().ok();
    number
        .filter(|number| *number < IMEX_CHANNELS)
        .ok_or_else(|| Error::ImexChannel(name.to_owned()))
}
