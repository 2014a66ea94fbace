//! Power, temperature, fans.

use nvml_wrapper_sys::bindings::{nvmlPowerValue_v2_t, nvmlViolationTime_t};

use crate::abi::{Out, call};
use crate::device::Device;
use crate::error::{Answer, Code};
use crate::handle::Handle;
use crate::identity::set;

/// `nvmlTemperatureThresholds_t`.
const SHUTDOWN: u32 = 0;
const SLOWDOWN: u32 = 1;
const MEMORY_MAX: u32 = 2;
const GPU_MAX: u32 = 3;

device_values! {
    nvmlDeviceGetPowerUsage: u32 = |device| Ok(device.full()?.power_mw);
    nvmlDeviceGetPowerManagementMode: u32 = |device| device.full().map(|_| 1);
    nvmlDeviceGetPowerManagementLimit: u32 = |device| Ok(device.full()?.power_limit_w * 1000);
    nvmlDeviceGetEnforcedPowerLimit: u32 = |device| Ok(device.full()?.power_limit_w * 1000);
    nvmlDeviceGetPowerManagementDefaultLimit: u32 = |device| device.full().map(|_| device.model().power.default * 1000);
    nvmlDeviceGetTotalEnergyConsumption: u64 = energy;
    // AC.
    nvmlDeviceGetPowerSource: u32 = |device| device.full().map(|_| 0);
    nvmlDeviceGetNumFans: u32 = |device| device.full().map(|_| device.model().fans);
    nvmlDeviceGetFanSpeed: u32 = fan_speed;
}

device_pairs! {
    nvmlDeviceGetPowerManagementLimitConstraints: u32 = |device| {
        device.full()?;
        Ok((device.model().power.min * 1000, device.model().power.max * 1000))
    };
    nvmlDeviceGetMinMaxFanSpeed: u32 = |device| fan_speed(device).map(|_| (0, 100));
}

/// Energy in mJ, as if the machine had always drawn what it draws now; the clock is the system's.
pub(crate) fn energy(device: &Device) -> Answer<u64> {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    /// Energy counts from the driver's load; a day's worth of seconds keeps the figure believable.
    const DAY: u64 = 86_400;
    let seconds = since.as_secs() % DAY;
    Ok(u64::from(device.full()?.power_mw) * seconds)
}

fn fan_speed(device: &Device) -> Answer<u32> {
    if device.model().fans == 0 {
        Err(Code::NOT_SUPPORTED)
    } else {
        Ok(device.full()?.fan)
    }
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetFanSpeed_v2(device: Handle, fan: u32, speed: Out<u32>) -> u32 {
    fan_of(device, fan, &speed)
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetTargetFanSpeed(device: Handle, fan: u32, speed: Out<u32>) -> u32 {
    fan_of(device, fan, &speed)
}

fn fan_of(device: Handle, fan: u32, speed: &Out<u32>) -> u32 {
    call(|| {
        let device = Device::open(device)?;
        let value = fan_speed(&device)?;
        if fan >= device.model().fans {
            return Err(Code::INVALID_ARGUMENT);
        }
        speed.put(value)
    })
}

/// There is one sensor, `NVML_TEMPERATURE_GPU`.
#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetTemperature(device: Handle, sensor: u32, temperature: Out<u32>) -> u32 {
    call(|| {
        let device = Device::open(device)?;
        if sensor != 0 {
            return Err(Code::INVALID_ARGUMENT);
        }
        temperature.put(device.gpu().temperature)
    })
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetTemperatureThreshold(device: Handle, threshold: u32, temperature: Out<u32>) -> u32 {
    call(|| {
        let device = Device::open(device)?;
        device.full()?;
        let known = &device.model().temperature;
        temperature.put(match threshold {
            SHUTDOWN => known.shutdown,
            SLOWDOWN => known.slowdown,
            MEMORY_MAX => known.memory_max.ok_or(Code::NOT_SUPPORTED)?,
            GPU_MAX => known.max,
            _ => return Err(Code::NOT_SUPPORTED),
        })
    })
}

/// Nothing has held the clocks back so far.
#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetViolationStatus(device: Handle, _policy: u32, time: Out<nvmlViolationTime_t>) -> u32 {
    call(|| {
        Device::open(device)?.full()?;
        time.put(nvmlViolationTime_t {
            referenceTime: 0,
            violationTime: 0,
        })
    })
}

/// Only the GPU's own limit can be set, not that of a module.
#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceSetPowerManagementLimit_v2(device: Handle, limit: Out<nvmlPowerValue_v2_t>) -> u32 {
    /// `nvmlPowerValue_v2`: size of the struct and version 2, as `NVML_STRUCT_VERSION` makes it.
    const VERSION: u32 = size_of::<nvmlPowerValue_v2_t>() as u32 | 2 << 24;
    match limit.get() {
        Ok(value) if value.version != VERSION => Code::VERSION_MISMATCH.0,
        Ok(value) if value.powerScope != 0 => Code::NOT_SUPPORTED.0,
        Ok(value) => set(device, "power-limit", &(value.powerValueMw / 1000).to_string()),
        Err(code) => code.0,
    }
}

/// The limit comes in mW and is kept in W.
#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceSetPowerManagementLimit(device: Handle, limit: u32) -> u32 {
    set(device, "power-limit", &(limit / 1000).to_string())
}
