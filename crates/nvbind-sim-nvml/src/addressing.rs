//! How the GPU sees the CPU's memory.

use nvml_wrapper_sys::bindings::{
    nvmlDeviceAddressingMode_v1_t, nvmlDeviceAddressingModeType_t_NVML_DEVICE_ADDRESSING_MODE_ATS as ATS,
    nvmlDeviceAddressingModeType_t_NVML_DEVICE_ADDRESSING_MODE_NONE as NONE,
};

use crate::abi::{Out, call};
use crate::device::Device;
use crate::handle::Handle;

/// Address translation services (one address space with the CPU), or nothing of the kind.
#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetAddressingMode(device: Handle, mode: Out<nvmlDeviceAddressingMode_v1_t>) -> u32 {
    call(|| {
        let device = Device::open(device)?;
        let value = if device.model().coherent { ATS } else { NONE };
        mode.put(nvmlDeviceAddressingMode_v1_t { value, ..mode.get()? })
    })
}
