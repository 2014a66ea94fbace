//! How busy a GPU is.

use nvml_wrapper_sys::bindings::{nvmlProcessUtilizationSample_t, nvmlSample_t, nvmlUtilization_t, nvmlValue_t};

use crate::abi::{Out, call};
use crate::device::Device;
use crate::error::{Answer, Code};
use crate::handle::Handle;

/// Sampling period that the driver reports, in microseconds.
const PERIOD: u32 = 167_000;

/// In MIG mode nobody can tell how busy the GPU is as a whole.
fn measured(device: &Device) -> Answer<&nvbind_sim::state::GpuState> {
    let gpu = device.full()?;
    if gpu.mig_enabled {
        Err(Code::NOT_SUPPORTED)
    } else {
        Ok(gpu)
    }
}

device_values! {
    nvmlDeviceGetUtilizationRates: nvmlUtilization_t = |device| {
        let gpu = measured(device)?;
        Ok(nvmlUtilization_t { gpu: gpu.utilization, memory: gpu.memory_utilization })
    };
}

device_pairs! {
    nvmlDeviceGetEncoderUtilization: u32 = |device| Ok((measured(device)?.encoder_utilization, PERIOD));
    nvmlDeviceGetDecoderUtilization: u32 = |device| Ok((measured(device)?.decoder_utilization, PERIOD));
    nvmlDeviceGetJpgUtilization: u32 = |device| measured(device).map(|_| (0, PERIOD));
    nvmlDeviceGetOfaUtilization: u32 = |device| measured(device).map(|_| (0, PERIOD));
}

/// One sample, of this moment: the state keeps no history.
#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetSamples(
    device: Handle,
    kind: u32,
    last_seen: u64,
    value_type: Out<u32>,
    count: Out<u32>,
    samples: Out<nvmlSample_t>,
) -> u32 {
    /// `NVML_VALUE_TYPE_UNSIGNED_INT`.
    const UNSIGNED_INT: u32 = 1;
    call(|| {
        let device = Device::open(device)?;
        let gpu = device.full()?;
        let value = match kind {
            0 => gpu.power_mw,
            1 => measured(&device)?.utilization,
            2 => measured(&device)?.memory_utilization,
            3 => measured(&device)?.encoder_utilization,
            4 => measured(&device)?.decoder_utilization,
            5 => gpu.graphics_clock,
            6 => gpu.memory_clock,
            _ => return Err(Code::NOT_SUPPORTED),
        };
        value_type.put(UNSIGNED_INT)?;
        let now = now_microseconds();
        if last_seen >= now {
            return Err(Code::NOT_FOUND);
        }
        // A caller that passes NULL asks for the number of samples.
        if samples.is_null() {
            return count.put(1);
        }
        samples.put_list(
            &count,
            &[nvmlSample_t {
                timeStamp: now,
                sampleValue: nvmlValue_t { uiVal: value },
            }],
        )
    })
}

/// The GPU's utilization shared out evenly among its processes.
#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetProcessUtilization(
    device: Handle,
    samples: Out<nvmlProcessUtilizationSample_t>,
    count: Out<u32>,
    _last_seen: u64,
) -> u32 {
    call(|| {
        let device = Device::open(device)?;
        let gpu = measured(&device)?;
        let number = u32::try_from(gpu.processes.len()).unwrap_or(u32::MAX);
        if number == 0 {
            return Err(Code::NOT_FOUND);
        }
        let now = now_microseconds();
        let sample = |pid| nvmlProcessUtilizationSample_t {
            pid,
            timeStamp: now,
            smUtil: gpu.utilization / number,
            memUtil: gpu.memory_utilization / number,
            encUtil: gpu.encoder_utilization / number,
            decUtil: gpu.decoder_utilization / number,
        };
        let list: Vec<_> = gpu.processes.iter().map(|process| sample(process.pid)).collect();
        samples.put_list(&count, &list)
    })
}

/// Microseconds since the epoch, the unit of NVML's time stamps.
pub(crate) fn now_microseconds() -> u64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Nobody encodes or captures on a simulated GPU.
#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetEncoderStats(
    device: Handle,
    sessions: Out<u32>,
    frames: Out<u32>,
    latency: Out<u32>,
) -> u32 {
    call(|| {
        Device::open(device)?.full()?;
        [sessions, frames, latency].iter().try_for_each(|figure| figure.put(0))
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetEncoderSessions(device: Handle, count: Out<u32>, _sessions: Out<u8>) -> u32 {
    none(device, &count)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetFBCSessions(device: Handle, count: Out<u32>, _sessions: Out<u8>) -> u32 {
    none(device, &count)
}

fn none(device: Handle, count: &Out<u32>) -> u32 {
    call(|| {
        Device::open(device)?.full()?;
        count.put(0)
    })
}

device_values! {
    nvmlDeviceGetFBCStats: [u32; 3] = |device| device.full().map(|_| [0; 3]);
}
