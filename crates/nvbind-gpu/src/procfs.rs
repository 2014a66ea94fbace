//! What the NVIDIA kernel driver tells in `/proc/driver/nvidia`.

use crate::{Architecture, Driver, DriverKind, Gpu, Health, MigState, chip, pci, rootfs};
use nvbind_config::Roots;
use std::fs;
use std::path::Path;

/// The kernel driver; the CUDA version is not known here.
pub(crate) fn driver(roots: &Roots) -> Driver {
    if let Ok(text) = fs::read_to_string(roots.proc.join("driver/nvidia/version")) {
        let kind = match text.contains("Open Kernel Module") {
            true => DriverKind::NvidiaOpen,
            false => DriverKind::NvidiaProprietary,
        };
        return Driver {
            kind,
            version: version_in(&text),
            cuda_version: None,
        };
    }
    match pci::gpus(roots).iter().any(pci::Device::is_free) {
        true => Driver {
            kind: DriverKind::Nouveau,
            ..Driver::NONE
        },
        false => Driver::NONE,
    }
}

/// The version in `NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.163.01  Tue ...`.
fn version_in(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("NVRM version:"))?;
    let is_version = |word: &&str| word.contains('.') && word.split('.').all(|part| part.parse::<u32>().is_ok());
    line.split_whitespace().find(is_version).map(str::to_owned)
}

/// The GPUs in bus order, and a line on each of which something is not known.
pub(crate) fn gpus(roots: &Roots) -> (Vec<Gpu>, Vec<String>) {
    let folder = roots.proc.join("driver/nvidia/gpus");
    let names = rootfs::list(&folder).unwrap_or_default();
    let mut ids: Vec<String> = names
        .into_iter()
        .filter_map(|name| name.name.into_string().ok())
        .collect();
    ids.sort();
    let mut gpus = Vec::new();
    let mut warnings = Vec::new();
    for id in ids {
        match gpu(roots, &folder.join(&id), &id, gpus.len()) {
            Ok(found) => gpus.extend(found),
            Err(reason) => warnings.push(format!("GPU at {id} left out: {reason}")),
        }
    }
    warnings.extend(gpus.iter().filter_map(gap));
    (gpus, warnings)
}

/// What is missing of a GPU that matters for choosing it.
fn gap(gpu: &Gpu) -> Option<String> {
    let at = &gpu.pci_bus_id;
    if gpu.mig.enabled {
        return Some(format!("GPU at {at} is in MIG mode: only NVML knows its MIG devices"));
    }
    gpu.uuid
        .is_empty()
        .then(|| format!("GPU at {at} has no UUID yet: nothing has opened it since the driver was loaded"))
}

/// One GPU; `None` when the administrator has excluded it.
fn gpu(roots: &Roots, folder: &Path, bus_id: &str, index: usize) -> Result<Option<Gpu>, String> {
    let file = folder.join("information");
    let text = fs::read_to_string(&file).map_err(|error| format!("cannot read '{}': {error}", file.display()))?;
    if field(&text, "GPU Excluded").is_some_and(|word| word.eq_ignore_ascii_case("yes")) {
        return Ok(None);
    }
    let minor = field(&text, "Device Minor").and_then(|word| word.parse().ok());
    let minor = minor.ok_or_else(|| format!("no 'Device Minor' in '{}'", file.display()))?;
    let pci_bus_id = pci::sysfs_bus_id(bus_id);
    let pci_device_id = pci::device_id(roots, &pci_bus_id).unwrap_or(0);
    let (architecture, capability) = chip::by_pci_id(pci_device_id).unwrap_or((Architecture::Unknown, (0, 0)));
    Ok(Some(Gpu {
        index: u32::try_from(index).unwrap_or(u32::MAX),
        // The driver writes question marks until the GPU is first opened.
        uuid: field(&text, "GPU UUID")
            .filter(|uuid| !uuid.contains('?'))
            .unwrap_or_default()
            .to_owned(),
        minor,
        name: field(&text, "Model").unwrap_or("NVIDIA GPU").to_owned(),
        brand: None,
        architecture,
        compute_capability: None,
        memory_mib: 0,
        power_limit_w: None,
        numa_node: pci::numa_node(roots, &pci_bus_id),
        rt_core_generation: chip::rt_cores(capability, pci_device_id),
        tensor_core_generation: chip::tensor_cores(capability, pci_device_id),
        mig: MigState {
            enabled: is_mig(roots, minor),
            devices: Vec::new(),
        },
        health: Health::Unknown,
        pci_bus_id,
        pci_device_id,
    }))
}

/// Whether the kernel lists MIG GPU instances (`capabilities/gpu0/mig/gi1`).
fn is_mig(roots: &Roots, minor: u32) -> bool {
    let names =
        rootfs::list(&roots.proc.join(format!("driver/nvidia/capabilities/gpu{minor}/mig"))).unwrap_or_default();
    names
        .iter()
        .any(|name| name.name.to_str().is_some_and(|name| name.starts_with("gi")))
}

/// The value of a `Name: value` line.
pub(crate) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let value = |line: &'a str| {
        line.split_once(':')
            .filter(|(key, _)| key.trim() == name)
            .map(|(_, value)| value.trim())
    };
    text.lines().find_map(value).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found_in_both_texts() {
        let open = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build  (dvs-builder)  Thu\nGCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n";
        let closed = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.163.01  Tue Apr  8 12:41:17 UTC 2025\n";
        assert_eq!(version_in(open).as_deref(), Some("570.86.15"));
        assert_eq!(version_in(closed).as_deref(), Some("550.163.01"));
        assert_eq!(version_in("hello"), None);
    }

    #[test]
    fn fields_are_read_by_their_name() {
        let text = "Model: \t\t NVIDIA H100\nGPU UUID: \t GPU-1\nBus Location: \t 0000:07:00.0\nDevice Minor: \t 3\n";
        assert_eq!(field(text, "Bus Location"), Some("0000:07:00.0"));
        assert_eq!(field(text, "Device Minor"), Some("3"));
        assert_eq!(field(text, "Video BIOS"), None);
    }
}
