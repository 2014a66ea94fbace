//! How the GPUs do: what NVML tells of persistence and memory errors.

use crate::{Error, discover, nvml};
use nvbind_config::Roots;
use serde::{Deserialize, Serialize};

/// How one GPU does. `None` where it does not tell: the part has no ECC, or the GPU does not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// NVML index.
    pub index: u32,
    /// Whether the driver keeps the GPU initialized while no one uses it.
    pub persistence: Option<bool>,
    /// Uncorrected memory errors since the driver was loaded.
    pub ecc_uncorrected: Option<u64>,
    /// A row of memory is to be replaced at the next reset.
    pub rows_pending: Option<bool>,
    /// A row of memory could not be replaced: the board is worn out.
    pub rows_failed: Option<bool>,
}

/// The condition of each GPU that answers; none where NVML does not.
pub fn conditions(roots: &Roots) -> Result<Vec<Condition>, Error> {
    let root = discover::open_driver_root(roots)?;
    let Ok(nvml) = nvml::load(&root) else {
        return Ok(Vec::new());
    };
    let count = nvml.device_count().unwrap_or(0);
    let condition = |index| {
        let device = nvml.device_by_index(index).ok()?;
        let rows = device.remapped_rows().ok();
        Some(Condition {
            index,
            persistence: device.is_persistent().ok(),
            ecc_uncorrected: device.uncorrected_errors().ok(),
            rows_pending: rows.map(|(pending, _)| pending),
            rows_failed: rows.map(|(_, failed)| failed),
        })
    };
    Ok((0..count).filter_map(condition).collect())
}
