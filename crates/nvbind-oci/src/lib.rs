//! How do edits get into an OCI container? The nvbind-runtime shim and the nvbind-hook.
//!
//! | question | file |
//! |---|---|
//! | how do edits change a `config.json`? | `apply/` |
//! | which GPUs does a container ask for? | `request.rs` |
//! | where do their edits come from? | `shim/devices.rs`, `shim/just_in_time.rs` |
//! | which runc command lines are edited? | `shim/command_line.rs` |
//! | when are CUDA compatibility libraries of the image used? | `hook/compat.rs` |
//! | is `NVIDIA_REQUIRE_*` met? | `request/requirement.rs` |
//! | when is no hook process needed? | `shim/prepare.rs` |
//! | which runtime is started then? | `shim/low_level.rs` |
//! | how is a path in a container resolved? | `hook/root.rs` |
//! | where are `ld.so.cache` and musl's path file written? | `hook/ldcache.rs`, `hook/musl.rs` |

mod apply;
mod error;
pub mod hook;
mod request;
pub mod shim;
mod version;

pub use apply::apply;
pub use error::Error;
pub use request::{Devices, ExtraDevices, GpuFacts, HostFacts, Request, Requirement, check_requirements, request};
