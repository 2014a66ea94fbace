//! MIG devices.

use nvbind_sim::mig::{self, Activation};
use nvbind_sim::state::GpuState;
use nvml_wrapper_sys::bindings::nvmlDeviceAttributes_t;

use crate::abi::{Out, call};
use crate::device::Device;
use crate::error::{Answer, Code};
use crate::gpu_instance::change;
use crate::handle::{Handle, Object};

/// MIG devices that a GPU can be cut into.
const MAX_DEVICES: u32 = 7;

/// A full GPU that has MIG.
pub(crate) fn capable(device: &Device) -> Answer<&GpuState> {
    if device.model().mig.is_empty() {
        Err(Code::NOT_SUPPORTED)
    } else {
        device.full()
    }
}

/// A full GPU in MIG mode.
pub(crate) fn enabled(device: &Device) -> Answer<&GpuState> {
    let gpu = capable(device)?;
    if gpu.mig_enabled {
        Ok(gpu)
    } else {
        Err(Code::NOT_SUPPORTED)
    }
}

/// Capability `mig/config`, which only root can open and which a container is not given unless it is asked for.
const CONFIG_MINOR: u32 = 1;

/// Whether the caller may change instances and list those of others.
pub(crate) fn check_may_configure(device: &Device) -> Answer<()> {
    if device.session.has_capability(CONFIG_MINOR) {
        Ok(())
    } else {
        Err(Code::NO_PERMISSION)
    }
}

device_pairs! {
    nvmlDeviceGetMigMode: u32 = |device| {
        let gpu = capable(device)?;
        Ok((gpu.mig_enabled.into(), gpu.mig_pending.into()))
    };
}

device_values! {
    nvmlDeviceGetMaxMigDeviceCount: u32 = |device| {
        device.full()?;
        Ok(if device.model().mig.is_empty() { 0 } else { MAX_DEVICES })
    };
    nvmlDeviceIsMigDeviceHandle: u32 = |device| Ok(device.mig().is_some().into());
    nvmlDeviceGetGpuInstanceId: u32 = |device| Ok(device.mig().ok_or(Code::NOT_SUPPORTED)?.gpu_instance.id);
    nvmlDeviceGetComputeInstanceId: u32 = |device| Ok(device.mig().ok_or(Code::NOT_SUPPORTED)?.compute_instance.id);
    nvmlDeviceGetDeviceHandleFromMigDeviceHandle: Handle = |device| {
        device.mig().ok_or(Code::INVALID_ARGUMENT)?;
        Ok(Object::Gpu(device.index).handle())
    };
    nvmlDeviceGetAttributes: nvmlDeviceAttributes_t = attributes;
    nvmlDeviceGetAttributes_v2: nvmlDeviceAttributes_t = attributes;
}

fn attributes(device: &Device) -> Answer<nvmlDeviceAttributes_t> {
    let mig = device.mig().ok_or(Code::NOT_SUPPORTED)?;
    let profile = mig.profile;
    Ok(nvmlDeviceAttributes_t {
        multiprocessorCount: mig.compute_profile.multiprocessors,
        sharedCopyEngineCount: profile.copy_engines,
        sharedDecoderCount: profile.decoders,
        sharedEncoderCount: profile.encoders,
        sharedJpegCount: profile.jpeg,
        sharedOfaCount: profile.ofa,
        gpuInstanceSliceCount: profile.slices,
        computeInstanceSliceCount: mig.compute_profile.slices,
        memorySizeMB: profile.memory_mib,
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetMigDeviceHandleByIndex(device: Handle, index: u32, mig: Out<Handle>) -> u32 {
    call(|| {
        let device = Device::open(device)?;
        capable(&device)?;
        let migs = device.visible_migs();
        let found = migs.get(index as usize).ok_or(Code::NOT_FOUND)?;
        let (gi, ci) = (found.gpu_instance.id, found.compute_instance.id);
        mig.put(Object::Mig(device.index, gi, ci).handle())
    })
}

/// An idle GPU changes its mode at once. One that is in use does so when it is asked again later; the call succeeds
/// all the same and `activation` tells why the mode is not in force.
#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceSetMigMode(device: Handle, mode: u32, activation: Out<u32>) -> u32 {
    call(|| {
        let device = Device::open(device)?;
        capable(&device)?;
        if mode > 1 || activation.is_null() {
            return Err(Code::INVALID_ARGUMENT);
        }
        let became = change(&device, |state, gpu| mig::set_mode(state, gpu, mode == 1))?;
        activation.put(match became {
            Activation::Done => Code::SUCCESS.0,
            Activation::Pending => Code::IN_USE.0,
        })
    })
}
