//! Finds the driver and the GPUs: NVML first, procfs and sysfs where it fails.

use crate::nvml::Depth;
use crate::rootfs::RootFs;
use crate::{
    Driver, DriverFiles, DriverKind, Error, Gpu, Host, SearchOptions, Source, driver_files, libraries, nvml, pci,
    procfs,
};
use nvbind_config::Roots;
use std::panic::resume_unwind;
use std::thread;

/// Finds the driver and the GPUs through NVML, or when that fails through procfs and sysfs (`Host::warnings` says why).
///
/// No hardware and no driver is an answer, not an error: [`DriverKind::None`] and no GPUs.
pub fn discover(roots: &Roots) -> Result<Host, Error> {
    to_depth(roots, Depth::Whole)
}

/// As [`discover`], of each GPU only what a container is given it by: names, nodes, MIG devices, compute capability, brand.
///
/// Product name, architecture, memory, power limit and NUMA node stay unknown: the driver asks each GPU for some of them, and
/// who starts a container waits for that.
pub fn discover_devices(roots: &Roots) -> Result<Host, Error> {
    to_depth(roots, Depth::Device)
}

/// As [`discover_devices`], and the files of that driver as [`driver_files`] finds them.
///
/// Files are looked for while NVML wakes the GPUs: that takes longer, and seconds where no program holds them open.
pub fn discover_devices_and_files(roots: &Roots, options: &SearchOptions) -> Result<(Host, DriverFiles), Error> {
    let (host, newest) = thread::scope(|scope| {
        let asked = thread::Builder::new().spawn_scoped(scope, || discover_devices(roots));
        let newest = driver_files(roots, None, options);
        let host = match asked {
            Ok(asked) => asked.join().unwrap_or_else(|panic| resume_unwind(panic)),
            // No more threads are allowed here: one after the other, then.
            Err(_) => discover_devices(roots),
        };
        (host, newest)
    });
    let host = host?;
    let version = host.driver.version.as_deref();
    let files = match newest {
        Ok(files) if version.is_none_or(|version| version == files.version) => files,
        _ => driver_files(roots, version, options)?,
    };
    Ok((host, files))
}

fn to_depth(roots: &Roots, depth: Depth) -> Result<Host, Error> {
    let root = open_driver_root(roots)?;
    match nvml::read(roots, &root, depth) {
        Ok(found) => Ok(with_kernel_facts(roots, &root, found, depth)),
        Err(reason) => {
            let mut host = from_procfs(roots, &root);
            host.warnings.insert(0, format!("NVML not used: {reason}"));
            Ok(host)
        }
    }
}

/// Finds the driver and the GPUs through procfs and sysfs alone: no library is loaded, and the names of MIG devices,
/// memory sizes and the CUDA version stay unknown.
pub fn discover_procfs(roots: &Roots) -> Result<Host, Error> {
    let root = open_driver_root(roots)?;
    Ok(from_procfs(roots, &root))
}

pub(crate) fn open_driver_root(roots: &Roots) -> Result<RootFs, Error> {
    RootFs::open(&roots.driver).map_err(|source| Error::DriverRoot {
        path: roots.driver.clone(),
        source,
    })
}

/// Completes what NVML said with what only the kernel knows: open or proprietary, NUMA nodes.
fn with_kernel_facts(roots: &Roots, root: &RootFs, found: nvml::Found, depth: Depth) -> Host {
    let kernel = procfs::driver(roots);
    let version = found.version.or(kernel.version).or_else(|| version_of_libraries(root));
    // A library that answers has an NVIDIA kernel driver behind it, even where /proc is hidden.
    let kind = if kernel.kind.is_nvidia() {
        kernel.kind
    } else {
        DriverKind::NvidiaProprietary
    };
    let driver = Driver {
        kind,
        version,
        cuda_version: found.cuda_version,
    };
    let mut host = Host {
        driver,
        gpus: found.gpus,
        source: Source::Nvml,
        warnings: found.warnings,
    };
    restore_lost(roots, &mut host.gpus);
    for gpu in host.gpus.iter_mut().filter(|_| depth == Depth::Whole) {
        gpu.numa_node = pci::numa_node(roots, &gpu.pci_bus_id);
    }
    host
}

/// A lost GPU tells NVML nothing: takes what the kernel still has of the GPUs that NVML did not name.
fn restore_lost(roots: &Roots, gpus: &mut [Gpu]) {
    if gpus.iter().all(|gpu| !gpu.pci_bus_id.is_empty()) {
        return;
    }
    let known: Vec<String> = gpus.iter().map(|gpu| gpu.pci_bus_id.clone()).collect();
    let (listed, _) = procfs::gpus(roots);
    let mut missing = listed.into_iter().filter(|gpu| !known.contains(&gpu.pci_bus_id));
    for gpu in gpus.iter_mut().filter(|gpu| gpu.pci_bus_id.is_empty()) {
        let Some(found) = missing.next() else { return };
        *gpu = Gpu {
            index: gpu.index,
            health: gpu.health.clone(),
            ..found
        };
    }
}

fn from_procfs(roots: &Roots, root: &RootFs) -> Host {
    let mut driver = procfs::driver(roots);
    let (gpus, mut warnings) = match driver.kind.is_nvidia() {
        true => procfs::gpus(roots),
        false => (Vec::new(), Vec::new()),
    };
    match driver.kind {
        DriverKind::NvidiaOpen | DriverKind::NvidiaProprietary => {
            driver.version = driver.version.or_else(|| version_of_libraries(root));
        }
        DriverKind::Nouveau | DriverKind::None => warnings.extend(pci::gpus(roots).iter().map(pci::Device::describe)),
    }
    Host {
        driver,
        gpus,
        source: Source::Procfs,
        warnings,
    }
}

fn version_of_libraries(root: &RootFs) -> Option<String> {
    libraries::version(&libraries::folders(root, &[]))
}
