//! Memory errors and what became of the memory.

use nvml_wrapper_sys::bindings::{nvmlEccErrorCounts_t, nvmlRowRemapperHistogramValues_t};

use crate::abi::{Out, call};
use crate::device::Device;
use crate::error::{Answer, Code};
use crate::handle::Handle;

/// `nvmlMemoryErrorType_t`.
const CORRECTED: u32 = 0;
const UNCORRECTED: u32 = 1;
/// `nvmlMemoryLocation_t`: the simulated errors are all in DRAM.
const DRAM: u32 = 2;
const LOCATIONS: u32 = 8;
/// Rows that can be remapped, in banks of which none is used up: the histogram of a new HBM GPU.
const HISTOGRAM: nvmlRowRemapperHistogramValues_t = nvmlRowRemapperHistogramValues_t {
    max: 640,
    high: 0,
    partial: 0,
    low: 0,
    none: 0,
};

fn with_ecc(device: &Device) -> Answer<&nvbind_sim::state::GpuState> {
    if device.model().ecc {
        Ok(device.gpu())
    } else {
        Err(Code::NOT_SUPPORTED)
    }
}

/// Errors of one kind.
pub(crate) fn errors(device: &Device, kind: u32) -> Answer<u64> {
    let gpu = with_ecc(device)?;
    match kind {
        CORRECTED => Ok(gpu.ecc_corrected),
        UNCORRECTED => Ok(gpu.ecc_uncorrected),
        _ => Err(Code::INVALID_ARGUMENT),
    }
}

device_pairs! {
    nvmlDeviceGetEccMode: u32 = |device| with_ecc(device).map(|_| (1, 1));
}

device_values! {
    nvmlDeviceGetDefaultEccMode: u32 = |device| with_ecc(device).map(|_| 1);
    nvmlDeviceGetRowRemapperHistogram: nvmlRowRemapperHistogramValues_t = |device| remapping(device).map(|()| HISTOGRAM);
    nvmlDeviceGetRetiredPagesPendingStatus: u32 = |device| retiring(device).map(|()| 0);
}

/// Ampere and later remap rows; those before retire pages.
fn remapping(device: &Device) -> Answer<()> {
    with_ecc(device)?;
    let turing = device.model().architecture == nvbind_sim::profile::Architecture::Turing;
    if turing { Err(Code::NOT_SUPPORTED) } else { Ok(()) }
}

fn retiring(device: &Device) -> Answer<()> {
    with_ecc(device)?;
    if remapping(device).is_ok() {
        Err(Code::NOT_SUPPORTED)
    } else {
        Ok(())
    }
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetTotalEccErrors(device: Handle, kind: u32, _counter: u32, count: Out<u64>) -> u32 {
    call(|| count.put(errors(&Device::open(device)?, kind)?))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetDetailedEccErrors(
    device: Handle,
    kind: u32,
    _counter: u32,
    counts: Out<nvmlEccErrorCounts_t>,
) -> u32 {
    call(|| {
        let deviceMemory = errors(&Device::open(device)?, kind)?;
        counts.put(nvmlEccErrorCounts_t {
            l1Cache: 0,
            l2Cache: 0,
            deviceMemory,
            registerFile: 0,
        })
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetMemoryErrorCounter(
    device: Handle,
    kind: u32,
    _counter: u32,
    location: u32,
    count: Out<u64>,
) -> u32 {
    call(|| {
        let all = errors(&Device::open(device)?, kind)?;
        match location {
            DRAM => count.put(all),
            _ if location < LOCATIONS => count.put(0),
            _ => Err(Code::INVALID_ARGUMENT),
        }
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceClearEccErrorCounts(device: Handle, _counter: u32) -> u32 {
    call(|| {
        let device = Device::open(device)?;
        let uuid = &with_ecc(&device)?.uuid;
        nvbind_sim::command::set(&device.session.root, uuid, "ecc-corrected", "0")?;
        Ok(nvbind_sim::command::set(
            &device.session.root,
            uuid,
            "ecc-uncorrected",
            "0",
        )?)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetRemappedRows(
    device: Handle,
    corrected: Out<u32>,
    uncorrected: Out<u32>,
    pending: Out<u32>,
    failure: Out<u32>,
) -> u32 {
    call(|| {
        remapping(&Device::open(device)?)?;
        [corrected, uncorrected, pending, failure]
            .iter()
            .try_for_each(|figure| figure.put(0))
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetRetiredPages(device: Handle, _cause: u32, count: Out<u32>, _addresses: Out<u64>) -> u32 {
    no_pages(device, &count)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetRetiredPages_v2(
    device: Handle,
    _cause: u32,
    count: Out<u32>,
    _addresses: Out<u64>,
    _times: Out<u64>,
) -> u32 {
    no_pages(device, &count)
}

fn no_pages(device: Handle, count: &Out<u32>) -> u32 {
    call(|| {
        retiring(&Device::open(device)?)?;
        count.put(0)
    })
}
