//! How the GPUs hang together: NVLink, PCIe and NUMA.

use crate::nvml_library::{Device, Nvml};
use crate::rootfs::RootFs;
use crate::{Gpu, Host, Source, nvml, pci};
use nvbind_config::Roots;
use nvml_wrapper::enum_wrappers::device::TopologyLevel;
use serde::Serialize;
use std::fmt;

/// `NVML_NVLINK_MAX_LINKS`.
const MAX_NVLINKS: u32 = 18;

/// The relation of every GPU to every other, in the order of `Host::gpus`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Topology {
    /// A row per GPU.
    pub gpus: Vec<TopologyRow>,
}

/// One GPU's row of the matrix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TopologyRow {
    /// Index of the GPU.
    pub index: u32,
    /// Relation to each GPU, itself included.
    pub relations: Vec<Relation>,
    /// CPUs near the GPU as sysfs lists them: `0-23,48-71`.
    pub cpu_affinity: Option<String>,
    /// NUMA node of the GPU.
    pub numa_node: Option<u32>,
}

/// How two GPUs are connected: the best path between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// The GPU itself.
    Own,
    /// That many NVLinks.
    NvLink(u32),
    /// At most one PCIe bridge.
    Pix,
    /// Several PCIe bridges, without the host bridge.
    Pxb,
    /// A PCIe host bridge (the CPU).
    Phb,
    /// Host bridges of one NUMA node.
    Node,
    /// The link between NUMA nodes.
    Sys,
}

impl fmt::Display for Relation {
    /// The word that `nvidia-smi topo -m` uses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("X"),
            Self::NvLink(links) => write!(f, "NV{links}"),
            Self::Pix => f.write_str("PIX"),
            Self::Pxb => f.write_str("PXB"),
            Self::Phb => f.write_str("PHB"),
            Self::Node => f.write_str("NODE"),
            Self::Sys => f.write_str("SYS"),
        }
    }
}

impl Serialize for Relation {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads the topology of a host. Not paid for on the way to a container: only `nvbind info` asks.
pub fn topology(roots: &Roots, host: &Host) -> Topology {
    let root = RootFs::open(&roots.driver).ok();
    let nvml = root
        .filter(|_| host.source == Source::Nvml)
        .and_then(|root| nvml::load(&root).ok());
    let gpus: Vec<Place> = host
        .gpus
        .iter()
        .map(|gpu| Place::of(roots, nvml.as_ref(), gpu))
        .collect();
    let row = |(gpu, place): (&Gpu, &Place)| TopologyRow {
        index: gpu.index,
        relations: gpus.iter().map(|other| relation(place, other)).collect(),
        cpu_affinity: pci::attribute(roots, &gpu.pci_bus_id, "local_cpulist"),
        numa_node: gpu.numa_node,
    };
    Topology {
        gpus: host.gpus.iter().zip(&gpus).map(row).collect(),
    }
}

/// Where a GPU sits.
struct Place<'nvml> {
    uuid: String,
    bus_id: String,
    numa_node: Option<u32>,
    /// PCI bridges from the root complex down, as sysfs nests them.
    bridges: Vec<String>,
    links: Vec<Peer>,
    device: Option<Device<'nvml>>,
}

/// The other end of an NVLink.
#[derive(Debug, PartialEq, Eq)]
enum Peer {
    Gpu(String),
    Switch,
}

impl<'nvml> Place<'nvml> {
    fn of(roots: &Roots, nvml: Option<&'nvml Nvml>, gpu: &Gpu) -> Self {
        let device = nvml.and_then(|nvml| nvml.device_by_uuid(&gpu.uuid).ok());
        Self {
            uuid: gpu.uuid.clone(),
            bus_id: gpu.pci_bus_id.clone(),
            numa_node: gpu.numa_node,
            bridges: bridges(roots, &gpu.pci_bus_id),
            links: device.as_ref().map(peers).unwrap_or_default(),
            device,
        }
    }
}

/// The folders between `/sys/devices` and the device.
fn bridges(roots: &Roots, bus_id: &str) -> Vec<String> {
    let path = std::fs::canonicalize(pci::folder(roots, bus_id)).unwrap_or_default();
    let names = path
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned());
    let mut below: Vec<String> = names.skip_while(|name| !is_root_complex(name)).collect();
    below.pop();
    below
}

fn is_root_complex(name: &str) -> bool {
    name.strip_prefix("pci").is_some_and(|id| id.contains(':'))
}

fn peers(device: &Device<'_>) -> Vec<Peer> {
    (0..MAX_NVLINKS).filter_map(|link| peer(device, link)).collect()
}

fn peer(device: &Device<'_>, link: u32) -> Option<Peer> {
    if !device.is_link_active(link).ok()? {
        return None;
    }
    match device.ends_at_switch(link) {
        Ok(true) => Some(Peer::Switch),
        _ => Some(Peer::Gpu(pci::sysfs_bus_id(&device.link_peer(link).ok()?.bus_id))),
    }
}

fn relation(one: &Place<'_>, other: &Place<'_>) -> Relation {
    if one.bus_id == other.bus_id {
        return Relation::Own;
    }
    match nvlinks(one, other) {
        0 => pcie(one, other),
        links => Relation::NvLink(links),
    }
}

/// Links straight to the other GPU, or through switches, which join all that hang on them.
fn nvlinks(one: &Place<'_>, other: &Place<'_>) -> u32 {
    let count = |place: &Place<'_>, peer: &Peer| place.links.iter().filter(|link| *link == peer).count();
    let direct = count(one, &Peer::Gpu(other.bus_id.clone()));
    let switched = count(one, &Peer::Switch).min(count(other, &Peer::Switch));
    u32::try_from(if direct > 0 { direct } else { switched }).unwrap_or(u32::MAX)
}

/// The nearest point that both paths share: as NVML says, else by how sysfs nests the bridges.
fn pcie(one: &Place<'_>, other: &Place<'_>) -> Relation {
    match told(one, other) {
        Some(TopologyLevel::Internal | TopologyLevel::Single) => Relation::Pix,
        Some(TopologyLevel::Multiple) => Relation::Pxb,
        Some(TopologyLevel::HostBridge) => Relation::Phb,
        Some(TopologyLevel::Node) => Relation::Node,
        Some(TopologyLevel::System) => Relation::Sys,
        None => nested(one, other),
    }
}

fn told(one: &Place<'_>, other: &Place<'_>) -> Option<TopologyLevel> {
    let device = one.device.as_ref()?;
    let other = device.nvml().device_by_uuid(&other.uuid).ok()?;
    device.common_ancestor(&other).ok()
}

fn nested(one: &Place<'_>, other: &Place<'_>) -> Relation {
    let shared = one
        .bridges
        .iter()
        .zip(&other.bridges)
        .take_while(|(a, b)| a == b)
        .count();
    let apart = one.bridges.len() + other.bridges.len() - 2 * shared;
    match (shared, apart) {
        (0, _) if one.numa_node.is_some() && one.numa_node == other.numa_node => Relation::Node,
        (0, _) => Relation::Sys,
        (1, _) => Relation::Phb,
        // One switch: each GPU below a downstream port of its own.
        (_, 0..=2) => Relation::Pix,
        _ => Relation::Pxb,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(bus_id: &str, numa_node: u32, bridges: &str, links: Vec<Peer>) -> Place<'static> {
        let bridges = bridges.split('/').map(str::to_owned).collect();
        Place {
            uuid: String::new(),
            bus_id: bus_id.into(),
            numa_node: Some(numa_node),
            bridges,
            links,
            device: None,
        }
    }

    #[test]
    fn pcie_words_follow_the_nesting() {
        let base = place("a", 0, "pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:00.0", vec![]);
        for (numa, bridges, word) in [
            (0, "pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:01.0", "PIX"),
            (
                0,
                "pci0000:00/0000:00:01.0/0000:01:01.0/0000:05:00.0/0000:06:00.0",
                "PXB",
            ),
            (0, "pci0000:00/0000:00:02.0", "PHB"),
            (0, "pci0000:40/0000:40:01.0", "NODE"),
            (1, "pci0000:80/0000:80:01.0", "SYS"),
        ] {
            assert_eq!(relation(&base, &place("b", numa, bridges, vec![])).to_string(), word);
        }
        assert_eq!(relation(&base, &base).to_string(), "X");
    }

    #[test]
    fn nvlinks_count_direct_or_through_switches() {
        let to = |bus: &str, count| (0..count).map(|_| Peer::Gpu(bus.into())).collect::<Vec<_>>();
        let (a, b) = (place("a", 0, "x", to("b", 4)), place("b", 0, "x", to("a", 4)));
        assert_eq!(relation(&a, &b).to_string(), "NV4");
        let switched = |bus| place(bus, 0, "x", (0..18).map(|_| Peer::Switch).collect());
        assert_eq!(relation(&switched("a"), &switched("b")).to_string(), "NV18");
    }
}
