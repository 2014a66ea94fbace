//! The things about a simulated GPU that can be set, each a row of one table.

use crate::Error;
use crate::profile::Model;
use crate::state::{ComputeMode, GpuState};

/// One thing that can be set.
#[derive(Debug)]
pub struct Setting {
    /// Its name.
    pub key: &'static str,
    /// What values it takes.
    pub values: &'static str,
    apply: fn(&Model, &mut GpuState, &str) -> Result<(), String>,
}

/// Everything that can be set.
pub const ALL: &[Setting] = &[
    Setting {
        key: "utilization",
        values: "percent",
        apply: |_, gpu, text| put(&mut gpu.utilization, text, 0, 100),
    },
    Setting {
        key: "memory-utilization",
        values: "percent",
        apply: |_, gpu, text| put(&mut gpu.memory_utilization, text, 0, 100),
    },
    Setting {
        key: "encoder-utilization",
        values: "percent",
        apply: |_, gpu, text| put(&mut gpu.encoder_utilization, text, 0, 100),
    },
    Setting {
        key: "decoder-utilization",
        values: "percent",
        apply: |_, gpu, text| put(&mut gpu.decoder_utilization, text, 0, 100),
    },
    Setting {
        key: "memory-used",
        values: "MiB besides the processes'",
        apply: set_memory_used,
    },
    Setting {
        key: "temperature",
        values: "degrees Celsius",
        apply: |model, gpu, text| put(&mut gpu.temperature, text, 0, model.temperature.shutdown),
    },
    Setting {
        key: "power",
        values: "W",
        apply: set_power,
    },
    Setting {
        key: "power-limit",
        values: "W",
        apply: |model, gpu, text| put(&mut gpu.power_limit_w, text, model.power.min, model.power.max),
    },
    Setting {
        key: "fan",
        values: "percent",
        apply: set_fan,
    },
    Setting {
        key: "graphics-clock",
        values: "MHz",
        apply: |model, gpu, text| put(&mut gpu.graphics_clock, text, 0, model.clocks.graphics_max),
    },
    Setting {
        key: "memory-clock",
        values: "MHz",
        apply: |model, gpu, text| put(&mut gpu.memory_clock, text, 0, model.clocks.memory_max),
    },
    Setting {
        key: "video-clock",
        values: "MHz",
        apply: |model, gpu, text| put(&mut gpu.video_clock, text, 0, model.clocks.video_max),
    },
    Setting {
        key: "pstate",
        values: "0 to 15",
        apply: |_, gpu, text| put(&mut gpu.pstate, text, 0, 15),
    },
    Setting {
        key: "persistence",
        values: "on or off",
        apply: set_persistence,
    },
    Setting {
        key: "compute-mode",
        values: "default, exclusive-process or prohibited",
        apply: set_compute_mode,
    },
    Setting {
        key: "pcie-rx",
        values: "KB/s",
        apply: |_, gpu, text| put(&mut gpu.pcie_rx_kbps, text, 0, u32::MAX),
    },
    Setting {
        key: "pcie-tx",
        values: "KB/s",
        apply: |_, gpu, text| put(&mut gpu.pcie_tx_kbps, text, 0, u32::MAX),
    },
    Setting {
        key: "ecc-corrected",
        values: "errors",
        apply: |model, gpu, text| set_ecc(model, &mut gpu.ecc_corrected, text),
    },
    Setting {
        key: "ecc-uncorrected",
        values: "errors",
        apply: |model, gpu, text| set_ecc(model, &mut gpu.ecc_uncorrected, text),
    },
];

/// The setting with this name.
pub fn by_key(key: &str) -> Result<&'static Setting, Error> {
    let known = || ALL.iter().map(|setting| setting.key).collect::<Vec<_>>().join(", ");
    let found = ALL.iter().find(|setting| setting.key == key);
    found.ok_or_else(|| Error::UnknownSetting {
        key: key.to_owned(),
        known: known(),
    })
}

impl Setting {
    /// Sets it on a GPU.
    pub(crate) fn apply(&self, model: &Model, gpu: &mut GpuState, value: &str) -> Result<(), Error> {
        (self.apply)(model, gpu, value).map_err(|reason| Error::BadValue {
            key: self.key.to_owned(),
            value: value.to_owned(),
            reason,
        })
    }
}

fn number(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let number = text.parse::<u64>().ok().filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| format!("use a number from {min} to {max}"))
}

fn put(field: &mut u32, text: &str, min: u32, max: u32) -> Result<(), String> {
    *field = u32::try_from(number(text, min.into(), max.into())?).unwrap_or(max);
    Ok(())
}

fn set_memory_used(model: &Model, gpu: &mut GpuState, text: &str) -> Result<(), String> {
    let processes = gpu.memory_used() - gpu.memory_used_mib;
    gpu.memory_used_mib = number(text, 0, model.memory_mib.saturating_sub(processes))?;
    Ok(())
}

/// A board may draw somewhat more than its limit for a moment; twice the highest limit is beyond belief.
fn set_power(model: &Model, gpu: &mut GpuState, text: &str) -> Result<(), String> {
    let mut watts = 0;
    put(&mut watts, text, 0, 2 * model.power.max)?;
    gpu.power_mw = watts * 1000;
    Ok(())
}

fn set_fan(model: &Model, gpu: &mut GpuState, text: &str) -> Result<(), String> {
    if model.fans == 0 {
        return Err(format!("{} has no fan of its own", model.name));
    }
    put(&mut gpu.fan, text, 0, 100)
}

fn set_persistence(_: &Model, gpu: &mut GpuState, text: &str) -> Result<(), String> {
    gpu.persistence = match text {
        "on" => true,
        "off" => false,
        _ => return Err("use on or off".to_owned()),
    };
    Ok(())
}

fn set_compute_mode(_: &Model, gpu: &mut GpuState, text: &str) -> Result<(), String> {
    gpu.compute_mode = match text {
        "default" => ComputeMode::Default,
        "exclusive-process" => ComputeMode::ExclusiveProcess,
        "prohibited" => ComputeMode::Prohibited,
        _ => return Err("use default, exclusive-process or prohibited".to_owned()),
    };
    Ok(())
}

fn set_ecc(model: &Model, field: &mut u64, text: &str) -> Result<(), String> {
    if !model.ecc {
        return Err(format!("{} has no ECC", model.name));
    }
    *field = number(text, 0, u64::MAX)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile;
    use crate::state::State;

    fn try_set(profile: &str, key: &str, value: &str) -> Result<GpuState, Error> {
        let mut state = State::new(profile::by_name(profile).unwrap());
        let model = state.profile.model.clone();
        by_key(key)?.apply(&model, &mut state.gpus[0], value)?;
        Ok(state.gpus[0].clone())
    }

    #[test]
    fn values_in_range_are_taken() {
        assert_eq!(try_set("t4", "utilization", "100").unwrap().utilization, 100);
        assert_eq!(try_set("t4", "power", "55").unwrap().power_mw, 55_000);
        assert_eq!(try_set("rtx4090", "fan", "80").unwrap().fan, 80);
    }

    #[test]
    fn values_out_of_range_are_refused_with_what_would_fit() {
        let message = |profile, key, value| try_set(profile, key, value).unwrap_err().to_string();
        assert_eq!(
            message("t4", "utilization", "101"),
            "utilization=101: use a number from 0 to 100"
        );
        assert_eq!(
            message("t4", "memory-used", "-1"),
            "memory-used=-1: use a number from 0 to 15360"
        );
        assert_eq!(message("t4", "fan", "10"), "fan=10: Tesla T4 has no fan of its own");
        assert_eq!(
            message("rtx4090", "ecc-corrected", "1"),
            "ecc-corrected=1: NVIDIA GeForce RTX 4090 has no ECC"
        );
        assert!(
            message("t4", "utilisation", "1").starts_with("unknown setting 'utilisation': use one of utilization,")
        );
    }
}
