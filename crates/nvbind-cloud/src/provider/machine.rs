//! What a provider has of ours.

use crate::catalog::Market;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A machine at a provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The provider's id.
    pub id: String,
    /// The name of its order.
    pub name: String,
    /// Region.
    pub region: String,
    /// Zone, where there are zones.
    pub zone: Option<String>,
    /// The machine type, as the provider names it.
    pub instance_type: String,
    /// How it is sold, where the provider says so.
    pub market: Option<Market>,
    /// What it is doing.
    pub state: MachineState,
    /// Address that it is reached at from outside.
    pub address: Option<String>,
    /// Address in its own network.
    pub private_address: Option<String>,
    /// Seconds since 1970 at which it was made, where the provider says so.
    pub created_at: Option<u64>,
    /// Why it ended, in the provider's words, where it says so.
    pub ended_because: Option<String>,
    /// Whether the provider took it back (spot).
    pub is_interrupted: bool,
}

/// What a machine is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MachineState {
    /// Ordered, not up yet.
    Pending,
    /// Up.
    Running,
    /// Going down.
    Stopping,
    /// Down, and still paid for in part (its disk).
    Stopped,
    /// Given back.
    Gone,
}

/// Something at a provider that carries our tag.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// What it is.
    pub kind: ResourceKind,
    /// The provider's id: all that [`Provider::delete`](super::Provider::delete) needs, beside region and zone.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Region; empty where it belongs to none.
    pub region: String,
    /// Zone, where it lies in one.
    pub zone: Option<String>,
    /// Its tags (labels).
    pub tags: BTreeMap<String, String>,
    /// The machine type, where it is a machine.
    pub instance_type: Option<String>,
    /// How it is sold, where it is a machine and the provider says so.
    pub market: Option<Market>,
    /// What it is doing, where it is a machine.
    pub state: Option<MachineState>,
    /// Seconds since 1970 at which it was made, where the provider says so.
    pub created_at: Option<u64>,
}

/// Kinds of things at a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResourceKind {
    /// A machine.
    Machine,
    /// A disk that is no machine's.
    Disk,
    /// A public address.
    Address,
    /// A network interface.
    NetworkInterface,
    /// A security group, a firewall rule, a network security group.
    Firewall,
    /// A network with its subnets.
    Network,
    /// A key pair.
    Key,
    /// A request for a spot machine.
    SpotRequest,
    /// A group of resources.
    Group,
}
