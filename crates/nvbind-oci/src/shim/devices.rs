//! From the devices that a container asks for to its edits: out of the specs on disk, else of the host as it is now.

use super::just_in_time;
use crate::{Devices, Error};
use nvbind_cdi::{Edits, QualifiedName, Registry, SpecFile};
use nvbind_config::Config;

/// Kind of a GPU whose name is not qualified.
const KIND: &str = "nvidia.com/gpu";

/// The edits for the devices.
pub(super) fn edits(devices: &Devices, config: &Config) -> Result<Edits, Error> {
    let names = match devices {
        Devices::Nothing => return Ok(Edits::default()),
        Devices::DriverOnly => return driver_files(config),
        Devices::Named(names) => names,
    };
    let registry = Registry::load(&config.cdi.spec_dirs);
    let names: Vec<String> = names.iter().map(|name| qualified(name)).collect();
    let (gpus, others): (Vec<String>, Vec<String>) = names.into_iter().partition(|name| gpu_id(name).is_some());
    let mut edits = gpu_edits(&registry, &gpus, config)?;
    if !others.is_empty() {
        edits.merge(registry.edits(&others)?);
    }
    // Not freed, see the shim's end.
    std::mem::forget(registry);
    Ok(edits)
}

/// The driver's files alone: what a spec gives to all of its devices, less the control nodes.
fn driver_files(config: &Config) -> Result<Edits, Error> {
    let registry = Registry::load(&config.cdi.spec_dirs);
    let spec = registry
        .specs()
        .iter()
        .rev()
        .map(|file| &file.spec)
        .find(|spec| spec.kind == KIND);
    let mut edits = match spec.filter(|spec| spec.stale().is_none()) {
        Some(spec) => spec.container_edits.clone(),
        None => just_in_time::edits(&["none"], config)?,
    };
    edits.device_nodes.clear();
    edits.additional_gids.clear();
    Ok(edits)
}

fn gpu_edits(registry: &Registry, names: &[String], config: &Config) -> Result<Edits, Error> {
    if names.is_empty() {
        return Ok(Edits::default());
    }
    match spec_files(registry, names) {
        Some(files) if files.iter().all(|file| file.spec.stale().is_none()) => Ok(registry.edits(names)?),
        _ => {
            let ids: Vec<&str> = names.iter().filter_map(|name| gpu_id(name)).collect();
            just_in_time::edits(&ids, config)
        }
    }
}

/// The spec files that define the devices, each once; `None` when one device is in none.
fn spec_files<'a>(registry: &'a Registry, names: &[String]) -> Option<Vec<&'a SpecFile>> {
    let mut files: Vec<&SpecFile> = Vec::new();
    for name in names {
        let file = registry.spec_of(name)?;
        if !files.iter().any(|known| std::ptr::eq(*known, file)) {
            files.push(file);
        }
    }
    Some(files)
}

fn qualified(name: &str) -> String {
    match QualifiedName::parse(name) {
        Some(_) => name.to_owned(),
        None => format!("{KIND}={name}"),
    }
}

/// What a GPU is called after its kind; `None` for the devices of others.
fn gpu_id(qualified: &str) -> Option<&str> {
    qualified.strip_prefix(KIND)?.strip_prefix('=')
}
