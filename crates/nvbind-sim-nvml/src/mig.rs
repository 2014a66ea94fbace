//! MIG devices.

use nvml_wrapper_sys::bindings::nvmlDeviceAttributes_t;

use crate::abi::{Out, call};
use crate::device::Device;
use crate::error::{Answer, Code};
use crate::handle::{Handle, Object};

/// MIG devices that a GPU can be cut into.
const MAX_DEVICES: u32 = 7;

/// A full GPU that has MIG.
pub(crate) fn capable(device: &Device) -> Answer<&nvbind_sim::state::GpuState> {
    if device.model().mig.is_empty() {
        Err(Code::NOT_SUPPORTED)
    } else {
        device.full()
    }
}

device_pairs! {
    nvmlDeviceGetMigMode: u32 = |device| {
        let mode = u32::from(capable(device)?.mig_enabled);
        Ok((mode, mode))
    };
}

device_values! {
    nvmlDeviceGetMaxMigDeviceCount: u32 = |device| {
        device.full()?;
        Ok(if device.model().mig.is_empty() { 0 } else { MAX_DEVICES })
    };
    nvmlDeviceIsMigDeviceHandle: u32 = |device| Ok(device.mig().is_some().into());
    nvmlDeviceGetGpuInstanceId: u32 = |device| Ok(device.mig().ok_or(Code::NOT_SUPPORTED)?.0.gpu_instance);
    nvmlDeviceGetComputeInstanceId: u32 = |device| Ok(device.mig().ok_or(Code::NOT_SUPPORTED)?.0.compute_instance);
    nvmlDeviceGetDeviceHandleFromMigDeviceHandle: Handle = |device| {
        device.mig().ok_or(Code::INVALID_ARGUMENT)?;
        Ok(Object::Gpu(device.index).handle())
    };
    nvmlDeviceGetAttributes: nvmlDeviceAttributes_t = attributes;
    nvmlDeviceGetAttributes_v2: nvmlDeviceAttributes_t = attributes;
}

fn attributes(device: &Device) -> Answer<nvmlDeviceAttributes_t> {
    let (_, profile) = device.mig().ok_or(Code::NOT_SUPPORTED)?;
    Ok(nvmlDeviceAttributes_t {
        multiprocessorCount: profile.multiprocessors,
        sharedCopyEngineCount: profile.copy_engines,
        sharedDecoderCount: profile.decoders,
        sharedEncoderCount: profile.encoders,
        sharedJpegCount: profile.jpeg,
        sharedOfaCount: profile.ofa,
        gpuInstanceSliceCount: profile.slices,
        computeInstanceSliceCount: profile.slices,
        memorySizeMB: profile.memory_mib,
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetMigDeviceHandleByIndex(device: Handle, index: u32, mig: Out<Handle>) -> u32 {
    call(|| {
        let device = Device::open(device)?;
        capable(&device)?;
        let migs = device.visible_migs();
        let instance = migs.get(index as usize).ok_or(Code::NOT_FOUND)?;
        mig.put(Object::Mig(device.index, instance.gpu_instance).handle())
    })
}

/// The mode changes at once; programs on the GPU would hold it up.
#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceSetMigMode(device: Handle, mode: u32, activation: Out<u32>) -> u32 {
    call(|| {
        let device = Device::open(device)?;
        let gpu = capable(&device)?;
        if mode > 1 {
            return Err(Code::INVALID_ARGUMENT);
        }
        if !gpu.processes.is_empty() {
            activation.put(Code::IN_USE.0)?;
            return Ok(());
        }
        nvbind_sim::command::mig_mode(&device.session.root, &gpu.uuid, mode == 1)?;
        activation.put(Code::SUCCESS.0)
    })
}
