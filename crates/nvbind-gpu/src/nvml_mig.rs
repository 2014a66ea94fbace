//! MIG devices through NVML.

use crate::nvml::optional;
use crate::nvml_library::Device;
use crate::{MigDevice, MigState};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper_sys::bindings::nvmlDeviceAttributes_t;

const MIB: u64 = 1 << 20;

/// MIG mode and MIG devices of a GPU; off where the GPU knows no MIG.
pub(crate) fn state(gpu: &Device<'_>) -> Result<MigState, NvmlError> {
    if !optional(gpu.is_mig())?.unwrap_or(false) {
        return Ok(MigState::default());
    }
    let count = optional(gpu.mig_device_count())?.unwrap_or(0);
    let mut devices = Vec::new();
    for index in 0..count {
        // Slots without a MIG device are not found.
        if let Some(device) = optional(gpu.mig_device_by_index(index))? {
            devices.extend(optional(mig_device(&device, index))?);
        }
    }
    Ok(MigState { enabled: true, devices })
}

fn mig_device(device: &Device<'_>, index: u32) -> Result<MigDevice, NvmlError> {
    let attributes = optional(device.attributes())?;
    let name = optional(device.name())?;
    let (profile, memory_mib) = match attributes {
        Some(found) => (profile_of(&found), found.memorySizeMB),
        None => (None, optional(device.memory_bytes())?.map_or(0, |bytes| bytes / MIB)),
    };
    Ok(MigDevice {
        index,
        uuid: device.uuid()?,
        // The name ends in the profile (`NVIDIA A100-SXM4-40GB MIG 1g.5gb`), attributes included (`1g.5gb+me`).
        profile: name
            .and_then(|name| Some(name.rsplit_once("MIG ")?.1.to_owned()))
            .or(profile)
            .unwrap_or_default(),
        gpu_instance: device.gpu_instance()?,
        compute_instance: device.compute_instance()?,
        memory_mib,
    })
}

/// `1g.5gb`, or `1c.2g.10gb` where the compute instance is smaller than its GPU instance.
fn profile_of(attributes: &nvmlDeviceAttributes_t) -> Option<String> {
    let (gpu, compute) = (attributes.gpuInstanceSliceCount, attributes.computeInstanceSliceCount);
    let gigabytes = attributes.memorySizeMB.div_ceil(1024);
    let whole = format!("{gpu}g.{gigabytes}gb");
    (gpu > 0).then(|| {
        if compute < gpu {
            format!("{compute}c.{whole}")
        } else {
            whole
        }
    })
}
