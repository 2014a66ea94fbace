//! NVML calls that nvml-wrapper has no method for, or one that does not return what NVML wrote.

use nvml_wrapper::Device;
use nvml_wrapper::error::{NvmlError, nvml_sym, nvml_try};
use nvml_wrapper_sys::bindings::{
    NvmlLib, nvmlDevice_t, nvmlDeviceAddressingMode_v1_t,
    nvmlDeviceAddressingModeType_t_NVML_DEVICE_ADDRESSING_MODE_ATS as ATS, nvmlDeviceAttributes_t,
    nvmlIntNvLinkDeviceType_enum_NVML_NVLINK_DEVICE_TYPE_SWITCH as SWITCH, nvmlIntNvLinkDeviceType_t, nvmlReturn_t,
};

/// Whether an NVLink ends at a switch. nvml-wrapper 0.13 answers "unknown" for every link.
#[allow(unsafe_code)]
pub(crate) fn ends_at_switch(device: &Device<'_>, link: u32) -> Result<bool, NvmlError> {
    let unknown: nvmlIntNvLinkDeviceType_t = 0xff;
    // SAFETY: the function writes one enum value to its third argument.
    let kind = ask(device, unknown, |lib, handle, kind| unsafe {
        Ok(nvml_sym(lib.nvmlDeviceGetNvLinkRemoteDeviceType.as_ref())?(
            handle, link, kind,
        ))
    })?;
    Ok(kind == SWITCH)
}

/// GPU instance id of a MIG device.
#[allow(unsafe_code)]
pub(crate) fn gpu_instance(device: &Device<'_>) -> Result<u32, NvmlError> {
    // SAFETY: the function writes one unsigned int to its second argument.
    ask(device, 0, |lib, handle, id| unsafe {
        Ok(nvml_sym(lib.nvmlDeviceGetGpuInstanceId.as_ref())?(handle, id))
    })
}

/// Compute instance id of a MIG device.
#[allow(unsafe_code)]
pub(crate) fn compute_instance(device: &Device<'_>) -> Result<u32, NvmlError> {
    // SAFETY: the function writes one unsigned int to its second argument.
    ask(device, 0, |lib, handle, id| unsafe {
        Ok(nvml_sym(lib.nvmlDeviceGetComputeInstanceId.as_ref())?(handle, id))
    })
}

/// Slices and memory of a MIG device.
#[allow(unsafe_code)]
pub(crate) fn attributes(device: &Device<'_>) -> Result<nvmlDeviceAttributes_t, NvmlError> {
    let empty = nvmlDeviceAttributes_t {
        multiprocessorCount: 0,
        sharedCopyEngineCount: 0,
        sharedDecoderCount: 0,
        sharedEncoderCount: 0,
        sharedJpegCount: 0,
        sharedOfaCount: 0,
        gpuInstanceSliceCount: 0,
        computeInstanceSliceCount: 0,
        memorySizeMB: 0,
    };
    // SAFETY: the function fills the struct of this layout (`_v2` of the call has had no other).
    ask(device, empty, |lib, handle, to| unsafe {
        Ok(nvml_sym(lib.nvmlDeviceGetAttributes_v2.as_ref())?(handle, to))
    })
}

/// Whether the GPU shares one address space with the CPU by address translation services.
#[allow(unsafe_code)]
pub(crate) fn is_coherent(device: &Device<'_>) -> bool {
    let empty = nvmlDeviceAddressingMode_v1_t {
        version: ADDRESSING_MODE_V1,
        value: 0,
    };
    // SAFETY: the function fills the struct of this version.
    let mode = ask(device, empty, |lib, handle, to| unsafe {
        Ok(nvml_sym(lib.nvmlDeviceGetAddressingMode.as_ref())?(handle, to))
    });
    mode.is_ok_and(|mode| mode.value == ATS)
}

/// `NVML_STRUCT_VERSION(DeviceAddressingMode, 1)` of nvml.h: size and number of the struct.
const ADDRESSING_MODE_V1: u32 = size_of::<nvmlDeviceAddressingMode_v1_t>() as u32 | 1 << 24;

/// Whether rows of memory wait for a reset to be replaced, and whether that has failed for one.
#[allow(unsafe_code)]
pub(crate) fn remapped_rows(device: &Device<'_>) -> Result<(bool, bool), NvmlError> {
    // SAFETY: the function writes one unsigned int to each of its last four arguments.
    let [_, _, pending, failed] = ask(device, [0_u32; 4], |lib, handle, rows| unsafe {
        let rows = rows.cast::<u32>();
        let call = nvml_sym(lib.nvmlDeviceGetRemappedRows.as_ref())?;
        Ok(call(handle, rows, rows.add(1), rows.add(2), rows.add(3)))
    })?;
    Ok((pending != 0, failed != 0))
}

/// Calls a function that fills one value for a device.
#[allow(unsafe_code)]
fn ask<T>(
    device: &Device<'_>,
    mut value: T,
    call: impl FnOnce(&NvmlLib, nvmlDevice_t, *mut T) -> Result<nvmlReturn_t, NvmlError>,
) -> Result<T, NvmlError> {
    // SAFETY: the handle is used within this call, while the library that `device` borrows is loaded.
    let handle = unsafe { device.handle() };
    nvml_try(call(device.nvml().lib(), handle, &mut value)?)?;
    Ok(value)
}
