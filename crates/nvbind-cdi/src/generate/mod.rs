//! From a host's GPUs and driver files to a spec, or straight to the edits of one container.

pub(crate) mod coherent;
mod common;
mod device;
mod explicit;
mod extra;
pub(crate) mod hook;
mod management;
mod options;
mod select;

pub use hook::HookSteps;
pub use options::{GenerateOptions, Mode};
pub use select::Strategy;

use crate::{Device, Edits, Error, Spec, annotation};
use device::DeviceEdits;
use nvbind_config::Roots;
use nvbind_gpu::{DriverFiles, Host, Link, Platform, Source};
use std::collections::BTreeMap;

/// Name of the device that stands for all devices of the spec together.
const ALL: &str = "all";

/// Name of the device that brings the driver's files and no GPU.
const NONE: &str = "none";

/// Environment of the device [`NONE`]: a device must have edits, and this one has nothing else.
const EMPTY_DEVICE_ENV: &str = "NVCT_EMPTY_DEVICE=";

/// A spec, and what is worth telling about the host it is of.
#[derive(Debug)]
pub struct Made {
    /// The spec.
    pub spec: Spec,
    /// What went wrong without keeping the spec from being made, a line each.
    pub warnings: Vec<String>,
    /// Who told of the GPUs; `None` where the mode asks no one.
    pub source: Option<Source>,
}

/// Looks at the host as `options.mode` says and makes the spec.
pub fn make(roots: &Roots, options: &GenerateOptions) -> Result<Made, Error> {
    let without_warnings = |spec| Made {
        spec,
        warnings: Vec::new(),
        source: None,
    };
    if let Some(made) = extra::generate(roots, options) {
        return made.map(without_warnings);
    }
    if options.mode == Mode::Management {
        return management::generate(roots, options).map(without_warnings);
    }
    let (host, files) = nvbind_gpu::discover_devices_and_files(roots, &options.search_options())?;
    let spec = generate(roots, &host, &files, options)?;
    let warnings = host.warnings.clone();
    let source = Some(host.source);
    // Who makes a spec is at its end mostly: taking thousands of small things apart again would be for nothing.
    std::mem::forget((host, files));
    Ok(Made { spec, warnings, source })
}

/// Makes the spec of a host's GPUs, of the lowest CDI version that its content needs.
///
/// GPUs that are lost are left out unless `options.device_ids` names them, which is an error then; so are GPUs in MIG
/// mode, for which their MIG devices stand. In WSL2 there is one node for all GPUs, and so one device only.
pub fn generate(roots: &Roots, host: &Host, files: &DriverFiles, options: &GenerateOptions) -> Result<Spec, Error> {
    let (mut devices, links) = if options.device_ids == [NONE] {
        (vec![none()], Vec::new())
    } else if files.platform == Platform::Wsl {
        (vec![wsl(roots, host, options)?], Vec::new())
    } else {
        of_gpus(roots, host, options)?
    };
    if options.coherent_annotations {
        annotate_coherence(roots, host, &mut devices)?;
    }
    let container_edits = common::edits(roots, files, &links, host, options)?;
    let mut spec = assembled(options, devices, container_edits);
    spec.annotations = annotation::of_host(host);
    if options.coherent_annotations {
        spec.cdi_version = spec.required_version().to_owned();
    } else {
        spec.settle_version();
    }
    spec.validate()?;
    Ok(spec)
}

/// The device that brings no GPU: it must have edits, and has nothing else.
fn none() -> Device {
    let edits = Edits {
        env: vec![EMPTY_DEVICE_ENV.to_owned()],
        ..Edits::default()
    };
    new_device(NONE.to_owned(), edits)
}

/// The devices by each of their names and the one for all, and the links to their nodes.
fn of_gpus(roots: &Roots, host: &Host, options: &GenerateOptions) -> Result<(Vec<Device>, Vec<Link>), Error> {
    let selected = select::select(host, &options.device_ids)?;
    if selected.is_empty() {
        return Err(Error::NoDevices);
    }
    let mut devices = Vec::new();
    let mut all = DeviceEdits::default();
    for device in &selected {
        let found = device::edits(roots, device, options)?;
        for name in device.names(&options.device_name_strategies) {
            let mut named = new_device(name, found.edits.clone());
            named.annotations = annotation::of_gpu(device.gpu);
            devices.push(named);
        }
        all.merge(found);
    }
    if !options.no_all_device {
        device::sort(&mut all.edits);
        devices.push(new_device(ALL.to_owned(), all.edits));
    }
    Ok((devices, all.links))
}

/// All GPUs of a WSL2 machine.
fn wsl(roots: &Roots, host: &Host, options: &GenerateOptions) -> Result<Device, Error> {
    if options.device_ids.iter().any(|id| id != ALL) {
        select::all_or_nothing(host, &options.device_ids)?;
    }
    Ok(new_device(ALL.to_owned(), device::wsl(roots, options)?))
}

fn annotate_coherence(roots: &Roots, host: &Host, devices: &mut [Device]) -> Result<(), Error> {
    let coherent = nvbind_gpu::coherent_gpus(roots)?;
    for device in devices {
        let gpu = select::gpu_of(host, &device.name);
        let known = gpu.and_then(|gpu| coherent.get(&gpu.uuid));
        if let Some(is_coherent) = known {
            let key = coherent::ANNOTATION.to_owned();
            device.annotations.insert(key, is_coherent.to_string());
        }
    }
    Ok(())
}

/// What a container needs for `devices`, without a spec in between. Devices are named as `--device-id` names them
/// (`all`, index, `gpu:mig`, UUID); none at all gives the driver's files only.
pub fn edits_for<S: AsRef<str>>(
    roots: &Roots,
    host: &Host,
    files: &DriverFiles,
    devices: &[S],
    options: &GenerateOptions,
) -> Result<Edits, Error> {
    let mut own = DeviceEdits::default();
    if files.platform == Platform::Wsl {
        if !devices.is_empty() {
            select::all_or_nothing(host, devices)?;
            own.edits = device::wsl(roots, options)?;
        }
    } else {
        for device in select::select(host, devices)? {
            own.merge(device::edits(roots, &device, options)?);
        }
    }
    device::sort(&mut own.edits);
    let mut edits = common::edits(roots, files, &own.links, host, options)?;
    edits.merge(own.edits);
    Ok(edits)
}

/// A spec of these devices, valid, of the lowest CDI version that its content needs.
fn new_spec(options: &GenerateOptions, devices: Vec<Device>, container_edits: Edits) -> Result<Spec, Error> {
    let mut spec = assembled(options, devices, container_edits);
    spec.cdi_version = spec.required_version().to_owned();
    spec.validate()?;
    Ok(spec)
}

/// A spec of these devices, without a version yet.
fn assembled(options: &GenerateOptions, mut devices: Vec<Device>, container_edits: Edits) -> Spec {
    devices.sort_by(|a, b| a.name.cmp(&b.name));
    Spec {
        cdi_version: String::new(),
        kind: format!("{}/{}", options.vendor, options.class),
        annotations: BTreeMap::new(),
        devices,
        container_edits,
    }
}

/// The device that stands for these together.
fn merged(devices: &[Device]) -> Device {
    let mut edits = Edits::default();
    devices
        .iter()
        .for_each(|device| edits.merge(device.container_edits.clone()));
    device::sort(&mut edits);
    new_device(ALL.to_owned(), edits)
}

fn new_device(name: String, container_edits: Edits) -> Device {
    Device {
        name,
        annotations: BTreeMap::new(),
        container_edits,
    }
}
