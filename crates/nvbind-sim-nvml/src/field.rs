//! Field values: many small figures asked for by number in one call.

use nvml_wrapper_sys::bindings::field_id::*;
use nvml_wrapper_sys::bindings::{nvmlFieldValue_t, nvmlValue_t};

use crate::abi::{Out, call};
use crate::device::Device;
use crate::ecc;
use crate::error::{Answer, Code};
use crate::handle::Handle;
use crate::power;
use crate::topology;
use crate::utilization::now_microseconds;

/// `nvmlValueType_t`.
const UNSIGNED_INT: u32 = 1;
const UNSIGNED_LONG_LONG: u32 = 3;
const SIGNED_INT: u32 = 5;

/// Fields that tell power of the GPU or, in another scope that only Grace Hopper has, of the module.
const POWER_FIELDS: std::ops::RangeInclusive<u32> = NVML_FI_DEV_POWER_AVERAGE..=NVML_FI_DEV_POWER_REQUESTED_LIMIT;
/// `NVML_POWER_SCOPE_GPU`.
const GPU_SCOPE: u32 = 0;

/// A figure in the type that NVML gives it.
enum Figure {
    Unsigned(u32),
    Long(u64),
    Signed(i32),
}

impl Figure {
    fn parts(&self) -> (u32, nvmlValue_t) {
        match *self {
            Self::Unsigned(value) => (UNSIGNED_INT, nvmlValue_t { uiVal: value }),
            Self::Long(value) => (UNSIGNED_LONG_LONG, nvmlValue_t { ullVal: value }),
            Self::Signed(value) => (SIGNED_INT, nvmlValue_t { siVal: value }),
        }
    }
}

/// Degrees that are left until a limit is reached, which may be passed.
fn margin(device: &Device, limit: u32) -> Figure {
    Figure::Signed(i32::try_from(device.model().temperature.max).unwrap_or(0) - i32::try_from(limit).unwrap_or(0))
}

fn figure(device: &Device, field: u32, scope: u32) -> Answer<Figure> {
    let (gpu, model) = (device.full()?, device.model());
    let links = topology::links(device);
    if POWER_FIELDS.contains(&field) && scope != GPU_SCOPE {
        return Err(Code::NOT_SUPPORTED);
    }
    let link = |figure: Figure| {
        if links.is_some() {
            Ok(figure)
        } else {
            Err(Code::NOT_SUPPORTED)
        }
    };
    match field {
        NVML_FI_DEV_ECC_CURRENT | NVML_FI_DEV_ECC_PENDING => ecc::errors(device, 0).map(|_| Figure::Unsigned(1)),
        NVML_FI_DEV_ECC_SBE_VOL_TOTAL | NVML_FI_DEV_ECC_SBE_AGG_TOTAL => ecc::errors(device, 0).map(Figure::Long),
        NVML_FI_DEV_ECC_DBE_VOL_TOTAL | NVML_FI_DEV_ECC_DBE_AGG_TOTAL => ecc::errors(device, 1).map(Figure::Long),
        NVML_FI_DEV_MEMORY_TEMP => {
            let sensor = model.temperature.memory_max.ok_or(Code::NOT_SUPPORTED)?;
            Ok(Figure::Unsigned((gpu.temperature + 8).min(sensor)))
        }
        NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION => power::energy(device).map(Figure::Long),
        NVML_FI_DEV_POWER_AVERAGE | NVML_FI_DEV_POWER_INSTANT => Ok(Figure::Unsigned(gpu.power_mw)),
        NVML_FI_DEV_POWER_MIN_LIMIT => Ok(Figure::Unsigned(model.power.min * 1000)),
        NVML_FI_DEV_POWER_MAX_LIMIT => Ok(Figure::Unsigned(model.power.max * 1000)),
        NVML_FI_DEV_POWER_DEFAULT_LIMIT => Ok(Figure::Unsigned(model.power.default * 1000)),
        NVML_FI_DEV_POWER_CURRENT_LIMIT | NVML_FI_DEV_POWER_REQUESTED_LIMIT => {
            Ok(Figure::Unsigned(gpu.power_limit_w * 1000))
        }
        NVML_FI_DEV_TEMPERATURE_SHUTDOWN_TLIMIT => Ok(margin(device, model.temperature.shutdown)),
        NVML_FI_DEV_TEMPERATURE_SLOWDOWN_TLIMIT => Ok(margin(device, model.temperature.slowdown)),
        NVML_FI_DEV_TEMPERATURE_GPU_MAX_TLIMIT => Ok(Figure::Signed(0)),
        NVML_FI_DEV_PCIE_REPLAY_COUNTER | NVML_FI_DEV_PCIE_REPLAY_ROLLOVER_COUNTER => Ok(Figure::Unsigned(0)),
        NVML_FI_DEV_NVLINK_LINK_COUNT => link(Figure::Unsigned(links.map_or(0, |link| link.links))),
        NVML_FI_DEV_NVLINK_SPEED_MBPS_COMMON | NVML_FI_DEV_NVLINK_GET_SPEED => {
            link(Figure::Unsigned(topology::link_speed(device)?))
        }
        NVML_FI_DEV_NVLINK_SPEED_MBPS_L0..=NVML_FI_DEV_NVLINK_SPEED_MBPS_L5 => {
            topology::link(device, field - NVML_FI_DEV_NVLINK_SPEED_MBPS_L0)?;
            Ok(Figure::Unsigned(topology::link_speed(device)?))
        }
        NVML_FI_DEV_NVLINK_SPEED_MBPS_L6..=NVML_FI_DEV_NVLINK_SPEED_MBPS_L11 => {
            topology::link(device, 6 + field - NVML_FI_DEV_NVLINK_SPEED_MBPS_L6)?;
            Ok(Figure::Unsigned(topology::link_speed(device)?))
        }
        NVML_FI_DEV_NVLINK_GET_STATE => topology::link(device, scope).map(|_| Figure::Unsigned(1)),
        NVML_FI_DEV_NVLINK_GET_VERSION => topology::link(device, scope).map(|link| Figure::Unsigned(link.version)),
        NVML_FI_DEV_NVSWITCH_CONNECTED_LINK_COUNT => link(Figure::Unsigned(links.map_or(0, |link| link.links))),
        NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX..=NVML_FI_DEV_NVLINK_THROUGHPUT_RAW_RX => link(Figure::Long(0)),
        NVML_FI_DEV_C2C_LINK_COUNT => Ok(Figure::Unsigned(0)),
        NVML_FI_DEV_IS_RESETLESS_MIG_SUPPORTED => Ok(Figure::Unsigned((!model.mig.is_empty()).into())),
        _ => Err(Code::NOT_SUPPORTED),
    }
}

/// Each field has its own return code; the call fails only when it makes no sense as a whole.
#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetFieldValues(device: Handle, count: i32, values: Out<nvmlFieldValue_t>) -> u32 {
    call(|| {
        let device = Device::open(device)?;
        let length = usize::try_from(count)
            .ok()
            .filter(|length| *length > 0)
            .ok_or(Code::INVALID_ARGUMENT)?;
        for index in 0..length {
            let mut field = values.get_at(index, length)?;
            field.timestamp = i64::try_from(now_microseconds()).unwrap_or(i64::MAX);
            field.latencyUsec = 0;
            match figure(&device, field.fieldId, field.scopeId) {
                Ok(figure) => {
                    field.nvmlReturn = Code::SUCCESS.0;
                    (field.valueType, field.value) = figure.parts();
                }
                Err(code) => field.nvmlReturn = code.0,
            }
            values.put_at(index, length, field)?;
        }
        Ok(())
    })
}
