//! What GPUs and which driver are here?

mod brand;
mod capability;
mod chip;
mod condition;
mod datafiles;
mod discover;
mod elf;
mod error;
mod files;
mod gpu;
mod host;
mod kernel_log;
mod kernel_node;
pub mod ldcache;
mod libraries;
mod meter;
mod nodes;
mod nvml;
mod nvml_library;
mod nvml_mig;
mod pci;
mod procfs;
mod rootfs;
mod topology;
mod wsl;

pub use capability::{Capabilities, Capability, UnknownCapability, WORDS, capabilities_of};
pub use condition::{Condition, conditions};
pub use discover::{discover, discover_devices, discover_devices_and_files, discover_procfs};
pub use error::Error;
pub use files::{
    DriverFile, DriverFiles, ElfClass, FileKind, Library, Link, Node, Platform, SearchOptions, driver_files,
    driver_folders, path_order,
};
pub use gpu::{Architecture, Gpu, Health, MigDevice, MigState};
pub use host::{Driver, DriverKind, Host, Source};
pub use kernel_log::{KernelLog, Xid};
pub use kernel_node::{KernelNode, NodeKind, NodeState, kernel_nodes, missing_modules};
pub use meter::{Meter, Reading};
pub use nodes::{GpuNodes, gpu_nodes, mig_nodes};
pub use nvml::coherent_gpus;
pub use topology::{Relation, Topology, TopologyRow, topology};
pub use wsl::{DXG_NODE, platform};
