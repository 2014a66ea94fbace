//! How much the GPUs do.

use crate::nvml_library::{Device, Nvml};
use crate::{Error, nvml};
use nvbind_config::Roots;

const MIB: u64 = 1 << 20;

/// Asks the driver how much the GPUs do, as often as one likes. It keeps NVML open: a driver cannot be unloaded meanwhile.
pub struct Meter(Nvml);

/// How much a GPU does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Its UUID.
    pub uuid: String,
    /// Share of the last sampling period (between 1/6 s and 1 s, says NVML) in which a kernel ran, in a hundred.
    pub percent: u32,
    /// Memory in use, in MiB.
    pub memory_used_mib: u64,
    /// Memory in all, in MiB.
    pub memory_mib: u64,
}

impl Meter {
    /// Opens the NVML of the driver root.
    pub fn open(roots: &Roots) -> Result<Self, Error> {
        let root = crate::discover::open_driver_root(roots)?;
        nvml::load(&root).map(Self).map_err(Error::Nvml)
    }

    /// What each GPU does now; one that does not answer, or does not tell (as in MIG mode), is left out.
    pub fn read(&self) -> Vec<Reading> {
        let count = self.0.device_count().unwrap_or(0);
        let devices = (0..count).filter_map(|index| self.0.device_by_index(index).ok());
        devices.filter_map(|device| reading(&device)).collect()
    }
}

fn reading(device: &Device<'_>) -> Option<Reading> {
    let memory = device.memory().ok()?;
    Some(Reading {
        uuid: device.uuid().ok()?,
        percent: device.gpu_percent().ok()?,
        memory_used_mib: memory.used / MIB,
        memory_mib: memory.total / MIB,
    })
}
