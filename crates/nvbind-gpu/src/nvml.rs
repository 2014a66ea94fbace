//! What NVML tells.

use crate::brand;
use crate::nvml_library::{Device, Nvml};
use crate::rootfs::RootFs;
use crate::{Architecture, Error, Gpu, Health, MigState, chip, libraries, nvml_mig, pci};
use nvbind_config::Roots;
use nvml_wrapper::enums::device::DeviceArchitecture;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{cuda_driver_version_major, cuda_driver_version_minor};
use std::collections::HashMap;

/// SONAME of NVML.
const LIBRARY: &str = "libnvidia-ml.so.1";
const MIB: u64 = 1 << 20;
/// NVML tells power in mW.
const MW_PER_W: u32 = 1000;

/// How much is asked of each GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// What a container is given it by: its names, nodes, MIG devices, and what images may require of it.
    Device,
    /// What people want to know as well: product name, memory, power limit, architecture.
    Whole,
}

/// What NVML told.
pub(crate) struct Found {
    pub(crate) version: Option<String>,
    pub(crate) cuda_version: Option<(u32, u32)>,
    pub(crate) gpus: Vec<Gpu>,
    pub(crate) warnings: Vec<String>,
}

/// Asks the NVML of the driver root; the error is the reason in a line.
pub(crate) fn read(roots: &Roots, root: &RootFs, depth: Depth) -> Result<Found, String> {
    let nvml = load(root)?;
    let count = nvml
        .device_count()
        .map_err(|error| format!("cannot count the GPUs: {error}"))?;
    let mut gpus = Vec::new();
    let mut warnings = Vec::new();
    for index in 0..count {
        match nvml
            .device_by_index(index)
            .and_then(|device| gpu(&device, index, depth))
        {
            Ok(gpu) => gpus.push(gpu),
            Err(NvmlError::GpuLost) => {
                warnings.push(format!("GPU {index} is lost: it fell off the bus; reset it or reboot"));
                gpus.push(lost(index));
            }
            // Hidden from this process, by a device cgroup for example: not its GPU.
            Err(NvmlError::NoPermission) => warnings.push(format!("GPU {index} left out: no permission to open it")),
            Err(error) => warnings.push(format!("GPU {index} left out: {error}")),
        }
    }
    if gpus.is_empty() && count > 0 && !roots.proc.join("driver/nvidia/version").exists() {
        return Err(format!("none of {count} GPUs answers: {}", warnings.join("; ")));
    }
    let cuda = nvml.cuda_driver_version().ok();
    let cuda_version = cuda.map(|v| {
        (
            unsigned(cuda_driver_version_major(v)),
            unsigned(cuda_driver_version_minor(v)),
        )
    });
    Ok(Found {
        version: nvml.driver_version().ok(),
        cuda_version,
        gpus,
        warnings,
    })
}

/// Loads and initializes the NVML of the driver root.
pub(crate) fn load(root: &RootFs) -> Result<Nvml, String> {
    let path = libraries::find(root, LIBRARY)
        .ok_or_else(|| format!("no {LIBRARY} in '{}'", root.host("/".as_ref()).display()))?;
    Nvml::open(&path)
}

/// Whether each GPU, by its UUID, shares one address space with the CPU, page tables included (Grace Hopper).
///
/// A driver that cannot be asked, or does not know the question (before 575), knows no such GPU.
pub fn coherent_gpus(roots: &Roots) -> Result<HashMap<String, bool>, Error> {
    let root = crate::discover::open_driver_root(roots)?;
    let Ok(nvml) = load(&root) else {
        return Ok(HashMap::new());
    };
    let devices = (0..nvml.device_count().unwrap_or(0)).filter_map(|index| nvml.device_by_index(index).ok());
    Ok(devices
        .filter_map(|device| Some((device.uuid().ok()?, device.is_coherent())))
        .collect())
}

fn gpu(device: &Device<'_>, index: u32, depth: Depth) -> Result<Gpu, NvmlError> {
    let unknown = Gpu {
        health: Health::Ok,
        ..lost(index)
    };
    let of_device = device_facts(device, unknown)?;
    match depth {
        Depth::Device => Ok(of_device),
        Depth::Whole => whole(device, of_device),
    }
}

/// Fills in what a container is given the GPU by.
fn device_facts(device: &Device<'_>, unknown: Gpu) -> Result<Gpu, NvmlError> {
    let pci = device.pci_info()?;
    let pci_device_id = (pci.pci_device_id >> 16) as u16;
    let capability = optional(device.compute_capability())?;
    Ok(Gpu {
        uuid: device.uuid()?,
        pci_bus_id: pci::sysfs_bus_id(&pci.bus_id),
        // Not known in WSL2, where GPUs have no nodes of their own.
        minor: optional(device.minor_number())?.unwrap_or(unknown.index),
        brand: optional(device.brand())?.map(|brand| brand::word(&brand).to_owned()),
        compute_capability: capability.map(|(major, minor)| (unsigned(major), unsigned(minor))),
        pci_device_id,
        mig: nvml_mig::state(device)?,
        ..unknown
    })
}

/// Fills in the rest.
fn whole(device: &Device<'_>, gpu: Gpu) -> Result<Gpu, NvmlError> {
    let by_id = chip::by_pci_id(gpu.pci_device_id);
    let capability = gpu.compute_capability.or(by_id.map(|(_, capability)| capability));
    let of_chip = capability.unwrap_or((0, 0));
    let architecture = optional(device.architecture())?.map_or(Architecture::Unknown, Architecture::from);
    Ok(Gpu {
        name: optional(device.name())?.unwrap_or(gpu.name),
        architecture,
        memory_mib: optional(device.memory_bytes())?.map_or(0, |bytes| bytes / MIB),
        power_limit_w: optional(device.power_limit())?.map(|limit| limit / MW_PER_W),
        rt_core_generation: chip::rt_cores(of_chip, gpu.pci_device_id),
        tensor_core_generation: chip::tensor_cores(of_chip, gpu.pci_device_id),
        ..gpu
    })
}

/// A question that a GPU may leave open; only its loss is an error.
pub(crate) fn optional<T>(answer: Result<T, NvmlError>) -> Result<Option<T>, NvmlError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(NvmlError::GpuLost) => Err(NvmlError::GpuLost),
        Err(_) => Ok(None),
    }
}

/// A GPU of which only the index is known.
fn lost(index: u32) -> Gpu {
    Gpu {
        index,
        uuid: String::new(),
        pci_bus_id: String::new(),
        minor: index,
        name: "NVIDIA GPU".to_owned(),
        brand: None,
        architecture: Architecture::Unknown,
        compute_capability: None,
        memory_mib: 0,
        power_limit_w: None,
        numa_node: None,
        pci_device_id: 0,
        rt_core_generation: None,
        tensor_core_generation: None,
        mig: MigState::default(),
        health: Health::Lost,
    }
}

fn unsigned(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

impl From<DeviceArchitecture> for Architecture {
    fn from(architecture: DeviceArchitecture) -> Self {
        match architecture {
            DeviceArchitecture::Kepler => Self::Kepler,
            DeviceArchitecture::Maxwell => Self::Maxwell,
            DeviceArchitecture::Pascal => Self::Pascal,
            DeviceArchitecture::Volta => Self::Volta,
            DeviceArchitecture::Turing => Self::Turing,
            DeviceArchitecture::Ampere => Self::Ampere,
            DeviceArchitecture::Ada => Self::Ada,
            DeviceArchitecture::Hopper => Self::Hopper,
            DeviceArchitecture::Blackwell => Self::Blackwell,
            DeviceArchitecture::Unknown => Self::Unknown,
        }
    }
}
