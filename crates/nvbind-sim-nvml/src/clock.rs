//! Clocks and performance states.

use crate::abi::{Out, call};
use crate::device::Device;
use crate::error::{Answer, Code};
use crate::handle::Handle;

/// `nvmlClockType_t`.
const GRAPHICS: u32 = 0;
const SM: u32 = 1;
const MEMORY: u32 = 2;
const VIDEO: u32 = 3;
/// `nvmlClockId_t`.
const CURRENT: u32 = 0;
const APPLICATION_TARGET: u32 = 1;
const APPLICATION_DEFAULT: u32 = 2;
const BOOST_MAX: u32 = 3;
/// `nvmlClocksEventReason...`.
const REASON_IDLE: u64 = 1;
const REASON_APPLICATION_CLOCKS: u64 = 2;
const REASON_POWER_CAP: u64 = 4;
const REASON_THERMAL: u64 = 0x20;
/// All reasons that these GPUs know.
const REASONS: u64 = 0x1ff;

fn current(device: &Device, kind: u32) -> Answer<u32> {
    let gpu = device.gpu();
    match kind {
        GRAPHICS | SM => Ok(gpu.graphics_clock),
        MEMORY => Ok(gpu.memory_clock),
        VIDEO => Ok(gpu.video_clock),
        _ => Err(Code::INVALID_ARGUMENT),
    }
}

fn maximum(device: &Device, kind: u32) -> Answer<u32> {
    let clocks = &device.model().clocks;
    match kind {
        GRAPHICS | SM => Ok(clocks.graphics_max),
        MEMORY => Ok(clocks.memory_max),
        VIDEO => Ok(clocks.video_max),
        _ => Err(Code::INVALID_ARGUMENT),
    }
}

/// GeForce boards do not let applications set clocks.
fn application(device: &Device, kind: u32) -> Answer<u32> {
    if device.model().brand == nvbind_sim::profile::Brand::GeForce {
        return Err(Code::NOT_SUPPORTED);
    }
    match kind {
        VIDEO => Err(Code::NOT_SUPPORTED),
        _ => maximum(device, kind),
    }
}

/// Exports functions that give a clock: `name = |device, kind| answer;`.
macro_rules! clocks {
    ($($name:ident = $answer:expr;)*) => { $(
        #[unsafe(no_mangle)]
        extern "C" fn $name(device: Handle, kind: u32, clock: Out<u32>) -> u32 {
            call(|| {
                let device = Device::open(device)?;
                device.full()?;
                clock.put($answer(&device, kind)?)
            })
        }
    )* };
}

clocks! {
    nvmlDeviceGetClockInfo = current;
    nvmlDeviceGetMaxClockInfo = maximum;
    nvmlDeviceGetApplicationsClock = application;
    nvmlDeviceGetDefaultApplicationsClock = application;
    nvmlDeviceGetMaxCustomerBoostClock = application;
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetClock(device: Handle, kind: u32, id: u32, clock: Out<u32>) -> u32 {
    call(|| {
        let device = Device::open(device)?;
        device.full()?;
        clock.put(match id {
            CURRENT => current(&device, kind)?,
            APPLICATION_TARGET | APPLICATION_DEFAULT | BOOST_MAX => application(&device, kind)?,
            _ => return Err(Code::INVALID_ARGUMENT),
        })
    })
}

fn reasons(device: &Device) -> Answer<u64> {
    let (gpu, model) = (device.full()?, device.model());
    let over = |limit: bool, reason: u64| if limit { reason } else { 0 };
    Ok(over(gpu.utilization == 0, REASON_IDLE)
        | over(
            gpu.utilization > 0 && gpu.graphics_clock == model.clocks.graphics_max,
            REASON_APPLICATION_CLOCKS,
        )
        | over(gpu.power_mw > gpu.power_limit_w * 1000, REASON_POWER_CAP)
        | over(gpu.temperature >= model.temperature.max, REASON_THERMAL))
}

device_values! {
    nvmlDeviceGetPerformanceState: u32 = |device| Ok(device.gpu().pstate);
    nvmlDeviceGetPowerState: u32 = |device| Ok(device.gpu().pstate);
    nvmlDeviceGetCurrentClocksThrottleReasons: u64 = reasons;
    nvmlDeviceGetCurrentClocksEventReasons: u64 = reasons;
    nvmlDeviceGetSupportedClocksThrottleReasons: u64 = |device| device.full().map(|_| REASONS);
    nvmlDeviceGetSupportedClocksEventReasons: u64 = |device| device.full().map(|_| REASONS);
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetSupportedMemoryClocks(device: Handle, count: Out<u32>, clocks: Out<u32>) -> u32 {
    call(|| {
        let device = Device::open(device)?;
        device.full()?;
        let model = &device.model().clocks;
        let mut supported = vec![model.memory_max, model.memory_idle];
        supported.dedup();
        clocks.put_list(&count, &supported)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetSupportedGraphicsClocks(
    device: Handle,
    memory: u32,
    count: Out<u32>,
    clocks: Out<u32>,
) -> u32 {
    /// MHz between two clocks that can be set.
    const STEP: usize = 15;
    call(|| {
        let device = Device::open(device)?;
        device.full()?;
        let model = &device.model().clocks;
        if memory != model.memory_max && memory != model.memory_idle {
            return Err(Code::NOT_FOUND);
        }
        let supported: Vec<u32> = (model.graphics_idle..=model.graphics_max).rev().step_by(STEP).collect();
        clocks.put_list(&count, &supported)
    })
}
