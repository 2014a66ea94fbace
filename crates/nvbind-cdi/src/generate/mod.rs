//! From a host's GPUs and driver files to a spec, or straight to the edits of one container.

mod common;
mod device;
mod explicit;
pub(crate) mod hook;
mod options;
mod select;

pub use hook::HookSteps;
pub use options::{GenerateOptions, Mode};
pub use select::Strategy;

use crate::{Device, Edits, Error, Spec, annotation};
use device::DeviceEdits;
use nvbind_config::Roots;
use nvbind_gpu::{DriverFiles, Host};
use std::collections::BTreeMap;

/// Name of the device that stands for all devices of the spec together.
const ALL: &str = "all";

/// Name of the device that brings the driver's files and no GPU.
const NONE: &str = "none";

/// Environment of the device [`NONE`]: a device must have edits, and this one has nothing else.
const EMPTY_DEVICE_ENV: &str = "NVCT_EMPTY_DEVICE=";

/// Makes the spec of a host, of the lowest CDI version that its content needs.
///
/// GPUs that are lost are left out unless `options.device_ids` names them, which is an error then; so are GPUs in MIG
/// mode, for which their MIG devices stand.
pub fn generate(roots: &Roots, host: &Host, files: &DriverFiles, options: &GenerateOptions) -> Result<Spec, Error> {
    let is_empty = options.device_ids == [NONE];
    let selected = if is_empty {
        Vec::new()
    } else {
        select::select(host, &options.device_ids)?
    };
    if selected.is_empty() && !is_empty {
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
    let mut container_edits = common::edits(roots, files, &all.links, options)?;
    annotation::tell_hook(&mut container_edits, host);
    if is_empty {
        let edits = Edits {
            env: vec![EMPTY_DEVICE_ENV.to_owned()],
            ..Edits::default()
        };
        devices.push(new_device(NONE.to_owned(), edits));
    } else if !options.no_all_device {
        device::sort(&mut all.edits);
        devices.push(new_device(ALL.to_owned(), all.edits));
    }
    devices.sort_by(|a, b| a.name.cmp(&b.name));
    let kind = format!("{}/{}", options.vendor, options.class);
    let mut spec = Spec {
        cdi_version: String::new(),
        kind,
        annotations: annotation::of_host(host),
        devices,
        container_edits,
    };
    spec.settle_version();
    spec.validate()?;
    Ok(spec)
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
    for device in select::select(host, devices)? {
        own.merge(device::edits(roots, &device, options)?);
    }
    device::sort(&mut own.edits);
    let mut edits = common::edits(roots, files, &own.links, options)?;
    annotation::tell_hook(&mut edits, host);
    edits.merge(own.edits);
    Ok(edits)
}

fn new_device(name: String, container_edits: Edits) -> Device {
    Device {
        name,
        annotations: BTreeMap::new(),
        container_edits,
    }
}
