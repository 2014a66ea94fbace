//! Who starts the container? The native capsule, docker, podman, containerd and bolt.

mod access;
#[cfg(feature = "bolt")]
pub mod bolt;
mod child;
pub mod config;
pub mod configure;
pub mod containerd;
mod context;
pub mod docker;
pub mod image;
pub mod native;
pub mod podman;
mod signals;
mod status;

pub use access::GpuAccess;
pub use context::{BINDING_LABEL, Context, find_shim};
pub use status::{ContainerState, ExitStatus};
