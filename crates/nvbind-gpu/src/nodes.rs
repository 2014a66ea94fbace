//! Device nodes of one GPU or MIG device.

use crate::{Error, Gpu, Link, MigDevice, pci, rootfs};
use nvbind_config::Roots;
use std::fs;
use std::path::{Path, PathBuf};

/// Kinds of DRM nodes: how their names start, and how udev names the link to them.
const DRM_NODES: [(&str, &str); 2] = [("card", "card"), ("renderD", "render")];

/// The device nodes of one GPU.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GpuNodes {
    /// Container paths: `/dev/nvidia0`, `/dev/dri/card0`, `/dev/dri/renderD128`.
    pub nodes: Vec<PathBuf>,
    /// `/dev/dri/by-path` links to the DRM nodes.
    pub by_path_links: Vec<Link>,
}

/// The nodes of a full GPU. Its DRM nodes are there when `nvidia-drm` is loaded and they exist below the device root.
pub fn gpu_nodes(roots: &Roots, gpu: &Gpu) -> GpuNodes {
    let mut found = GpuNodes {
        nodes: vec![format!("/dev/nvidia{}", gpu.minor).into()],
        by_path_links: Vec::new(),
    };
    if gpu.pci_bus_id.is_empty() {
        return found;
    }
    let names = rootfs::list(&pci::folder(roots, &gpu.pci_bus_id).join("drm")).unwrap_or_default();
    let mut names: Vec<String> = names
        .into_iter()
        .filter_map(|name| name.name.into_string().ok())
        .collect();
    names.sort();
    for name in names {
        let Some((_, kind)) = DRM_NODES.iter().find(|(start, _)| is_numbered(&name, start)) else {
            continue;
        };
        let node = Path::new("/dev/dri").join(&name);
        if !roots.dev_path(&node).exists() {
            continue;
        }
        let link = format!("/dev/dri/by-path/pci-{}-{kind}", gpu.pci_bus_id);
        found.by_path_links.push(Link {
            link: link.into(),
            target: Path::new("..").join(&name),
        });
        found.nodes.push(node);
    }
    found
}

fn is_numbered(name: &str, start: &str) -> bool {
    name.strip_prefix(start)
        .is_some_and(|number| number.parse::<u32>().is_ok())
}

/// The capability nodes of a MIG device (`/dev/nvidia-caps/nvidia-cap<N>`: its GPU instance's, its compute
/// instance's); the node of its GPU is needed besides.
pub fn mig_nodes(roots: &Roots, gpu: &Gpu, mig: &MigDevice) -> Result<Vec<PathBuf>, Error> {
    let file = roots.proc.join("driver/nvidia-caps/mig-minors");
    let table = fs::read_to_string(&file).map_err(|source| Error::Read {
        path: file.clone(),
        source,
    })?;
    let (gi, ci) = (mig.gpu_instance, mig.compute_instance);
    let entries = [
        format!("gpu{}/gi{gi}/access", gpu.minor),
        format!("gpu{}/gi{gi}/ci{ci}/access", gpu.minor),
    ];
    let node = |entry: String| {
        let minor = minor_of(&table, &entry);
        let missing = || Error::MigNode {
            uuid: mig.uuid.clone(),
            entry: entry.clone(),
            file: file.clone(),
        };
        minor
            .map(|minor| format!("/dev/nvidia-caps/nvidia-cap{minor}").into())
            .ok_or_else(missing)
    };
    entries.into_iter().map(node).collect()
}

fn minor_of(table: &str, entry: &str) -> Option<u32> {
    let found = table
        .lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(name, _)| *name == entry)?;
    found.1.trim().parse().ok()
}
