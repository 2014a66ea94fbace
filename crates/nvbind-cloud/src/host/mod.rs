//! Hosts that are reached over SSH: by the user's own `ssh`, with its configuration, keys and agent.
//!
//! A [`Node`] is a host that a deployment runs on: nvbind is copied there, an [agent](crate::agent) is started there and followed.
//! [`HostsProvider`] rents out the user's own hosts.

mod claim;
mod error;
mod facts;
mod follow;
mod hosts;
mod kit;
mod model;
mod node;
mod ssh;
mod target;

pub use claim::Claim;
pub use error::HostError;
pub use facts::{GpuFacts, HostFacts};
pub use follow::Follow;
pub use hosts::{HostEntry, HostsProvider, INSTANCE_TYPE, Probe, REGION};
pub use kit::Kit;
pub use model::model_of;
pub use node::{Node, Prepared, Step};
pub use ssh::{Output, Ssh};
pub use target::{HostKeys, Target, TargetError};
