//! From what a container asks for to its edits: out of the specs on disk, else of the host as it is now.

use super::just_in_time;
use crate::{Devices, Error, GpuFacts, HostFacts, Request, Requirement};
use nvbind_cdi::annotation::{BRAND, COMPUTE_CAPABILITY, CUDA_VERSION, DRIVER_VERSION};
use nvbind_cdi::{Device, DeviceNode, Edits, QualifiedName, Registry, Spec, SpecFile};
use nvbind_config::{Config, DEFAULT_KIND};
use std::path::PathBuf;

/// Kind by which NVIDIA's runtime names GPUs for which it makes no spec file.
const JUST_IN_TIME_KIND: &str = "runtime.nvidia.com/gpu";

/// Name of the device that stands for all of a spec.
const ALL: &str = "all";

/// Folder of the nodes of IMEX channels.
const IMEX_FOLDER: &str = "/dev/nvidia-caps-imex-channels";

/// Edits, and what is known of the host that they are for.
#[derive(Default)]
struct Found {
    edits: Edits,
    facts: HostFacts,
}

/// The edits for a request whose requirements are met.
pub(super) fn edits(request: &Request, config: &Config) -> Result<Edits, Error> {
    let mut registry = Registry::load(&config.cdi.spec_dirs);
    let mut found = match &request.devices {
        Devices::Nothing => Found::default(),
        Devices::DriverOnly => driver_files(&registry, config)?,
        Devices::Named(names) => named(&mut registry, names, config)?,
    };
    check(&request.requirements, &mut found.facts, &request.devices, config)?;
    for mode in &request.extra.modes {
        found.edits.merge(of_mode(&registry, mode, config)?);
    }
    found
        .edits
        .device_nodes
        .extend(imex_nodes(&request.extra.imex_channels, config));
    if !config.request.additional_gids {
        found.edits.additional_gids.clear();
    }
    // Not freed, see the shim's end.
    std::mem::forget(registry);
    Ok(found.edits)
}

fn named(registry: &mut Registry, names: &[String], config: &Config) -> Result<Found, Error> {
    let names: Vec<String> = names.iter().map(|name| qualified(name, config)).collect();
    let (gpus, others): (Vec<String>, Vec<String>) = names.into_iter().partition(|name| gpu_id(name).is_some());
    let mut found = of_gpus(registry, &gpus, config)?;
    if !others.is_empty() {
        found.edits.merge(registry.edits(&others)?);
    }
    Ok(found)
}

/// The driver's files alone: what a spec gives to all of its devices, less the control nodes.
fn driver_files(registry: &Registry, config: &Config) -> Result<Found, Error> {
    let specs = registry.specs().iter().rev().map(|file| &file.spec);
    let spec = specs.into_iter().find(|spec| spec.kind == DEFAULT_KIND);
    let mut found = match spec.filter(|spec| spec.stale().is_none()) {
        Some(spec) => Found {
            edits: spec.container_edits.clone(),
            facts: host_facts(spec),
        },
        None => of_this_moment(&["none"], config)?,
    };
    found.edits.device_nodes.clear();
    found.edits.additional_gids.clear();
    Ok(found)
}

fn of_gpus(registry: &mut Registry, names: &[String], config: &Config) -> Result<Found, Error> {
    if names.is_empty() {
        return Ok(Found::default());
    }
    match spec_files(registry, names) {
        Some(files) if files.iter().all(|file| file.spec.stale().is_none()) => {
            let mut facts = files.first().map(|file| host_facts(&file.spec)).unwrap_or_default();
            for name in names {
                let devices = registry
                    .spec_of(name)
                    .zip(gpu_id(name))
                    .map(|(file, id)| file.spec.devices_meant(id));
                facts.gpus.extend(
                    devices
                        .into_iter()
                        .flatten()
                        .filter(|device| device.name != ALL)
                        .map(gpu_facts),
                );
            }
            Ok(Found {
                // Devices of other kinds, which may follow, are in other specs.
                edits: registry.take_edits(names)?,
                facts,
            })
        }
        _ => {
            let ids: Vec<&str> = names.iter().filter_map(|name| gpu_id(name)).collect();
            of_this_moment(&ids, config)
        }
    }
}

/// GPUs (`all`, `none`, index, UUID, `gpu:mig`) without a spec file.
fn of_this_moment(ids: &[&str], config: &Config) -> Result<Found, Error> {
    let spec = just_in_time::gpus(ids, config)?;
    let mut facts = host_facts(&spec);
    facts.gpus = spec
        .devices
        .iter()
        .filter(|device| device.name != ALL)
        .map(gpu_facts)
        .collect();
    Ok(Found {
        edits: just_in_time::sum(spec),
        facts,
    })
}

/// Devices that are no GPUs.
fn of_mode(registry: &Registry, mode: &str, config: &Config) -> Result<Edits, Error> {
    let name = format!("nvidia.com/{mode}={ALL}");
    match registry.spec_of(&name).filter(|file| file.spec.stale().is_none()) {
        Some(_) => Ok(registry.edits(&[name])?),
        None => Ok(just_in_time::sum(just_in_time::mode(mode, config)?)),
    }
}

fn imex_nodes(channels: &[u32], config: &Config) -> Vec<DeviceNode> {
    let roots = config.roots();
    let node = |channel: &u32| {
        let path = PathBuf::from(format!("{IMEX_FOLDER}/channel{channel}"));
        let host_path = Some(roots.dev_path(&path)).filter(|host| *host != path);
        DeviceNode {
            path,
            host_path,
            kind: None,
            major: None,
            minor: None,
            file_mode: None,
            permissions: None,
            uid: None,
            gid: None,
        }
    };
    channels.iter().map(node).collect()
}

/// Checks what the image requires. What the spec does not say is asked of the driver.
fn check(requirements: &[Requirement], facts: &mut HostFacts, devices: &Devices, config: &Config) -> Result<(), Error> {
    let Some(ids) = ids_of(devices, config) else {
        return Ok(());
    };
    if requirements
        .iter()
        .any(|requirement| requirement.needs_more_than(facts))
    {
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        *facts = of_this_moment(&ids, config)?.facts;
    }
    requirements.iter().try_for_each(|requirement| requirement.check(facts))
}

/// How `nvbind cdi generate` names the GPUs asked for; `None` when there are none, so that nothing is required of them.
fn ids_of(devices: &Devices, config: &Config) -> Option<Vec<String>> {
    let names = match devices {
        Devices::Nothing => return None,
        Devices::DriverOnly => return Some(vec!["none".to_owned()]),
        Devices::Named(names) => names.iter().map(|name| qualified(name, config)),
    };
    let ids: Vec<String> = names.filter_map(|name| gpu_id(&name).map(str::to_owned)).collect();
    (!ids.is_empty()).then_some(ids)
}

fn host_facts(spec: &Spec) -> HostFacts {
    let annotation = |key: &str| spec.annotations.get(key).cloned();
    HostFacts {
        driver_version: annotation(DRIVER_VERSION),
        cuda_version: annotation(CUDA_VERSION),
        gpus: Vec::new(),
    }
}

fn gpu_facts(device: &Device) -> GpuFacts {
    let annotation = |key: &str| device.annotations.get(key).cloned();
    GpuFacts {
        compute_capability: annotation(COMPUTE_CAPABILITY),
        brand: annotation(BRAND),
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

fn qualified(name: &str, config: &Config) -> String {
    if let Some(id) = device_of_kind(name, JUST_IN_TIME_KIND) {
        return format!("{DEFAULT_KIND}={id}");
    }
    match QualifiedName::parse(name) {
        Some(_) => name.to_owned(),
        None => format!("{}={name}", config.cdi.default_kind),
    }
}

/// What a GPU is called after its kind; `None` for the devices of others.
fn gpu_id(qualified: &str) -> Option<&str> {
    device_of_kind(qualified, DEFAULT_KIND)
}

fn device_of_kind<'a>(qualified: &'a str, kind: &str) -> Option<&'a str> {
    qualified.strip_prefix(kind)?.strip_prefix('=')
}
