//! What GPUs and which driver are here?

mod capability;
mod error;
mod files;
mod gpu;
mod host;
pub mod ldcache;
mod nodes;
mod topology;

pub use capability::{Capabilities, Capability, UnknownCapability, WORDS, capabilities_of};
pub use error::Error;
pub use files::{DriverFile, DriverFiles, ElfClass, FileKind, Library, Link, Node, SearchOptions, driver_files};
pub use gpu::{Architecture, Gpu, Health, MigDevice, MigState};
pub use host::{Driver, DriverKind, Host, Source, discover, discover_procfs};
pub use nodes::{GpuNodes, gpu_nodes, mig_nodes};
pub use topology::{Relation, Topology, TopologyRow, topology};
