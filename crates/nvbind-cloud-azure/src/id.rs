//! Resource Manager's ids (paths), and the versions of its interfaces.

use nvbind_cloud::provider::{Order, ResourceKind};

/// Version of Microsoft.Compute's interface: that of the published models the requests are checked against
/// (azure-mgmt-compute 39.0.0).
pub(crate) const COMPUTE: &str = "2026-04-01";
/// ... of its list of machine types.
pub(crate) const SKUS: &str = "2021-07-01";
/// ... of its disks.
pub(crate) const DISKS: &str = "2026-03-02";
/// ... of Microsoft.Network (azure-mgmt-network 33.1.0).
pub(crate) const NETWORK: &str = "2026-03-01";
/// ... of Microsoft.Network where a machine brings its own interface along: one of the two that Microsoft.Compute knows (`NetworkApiVersion`).
pub(crate) const NETWORK_OF_MACHINE: &str = "2022-11-01";
/// ... of resource groups and resource providers (azure-mgmt-resource 26.0.0).
pub(crate) const RESOURCES: &str = "2025-04-01";
/// ... of subscriptions (<https://learn.microsoft.com/rest/api/resources/subscriptions>).
pub(crate) const SUBSCRIPTIONS: &str = "2022-12-01";
/// ... of permissions (<https://learn.microsoft.com/rest/api/authorization/permissions>).
pub(crate) const PERMISSIONS: &str = "2022-04-01";
/// ... of Microsoft.ComputeSchedule (azure-mgmt-computeschedule 1.1.0).
pub(crate) const SCHEDULES: &str = "2025-05-01";
/// ... of Cost Management (azure-mgmt-costmanagement 5.0.0).
pub(crate) const COSTS: &str = "2025-03-01";

/// Types of resources, what they are to nvbind, and the version of the interface that deletes them.
pub(crate) const KINDS: [(&str, ResourceKind, &str); 6] = [
    ("Microsoft.Compute/virtualMachines", ResourceKind::Machine, COMPUTE),
    ("Microsoft.Compute/disks", ResourceKind::Disk, DISKS),
    ("Microsoft.Network/publicIPAddresses", ResourceKind::Address, NETWORK),
    (
        "Microsoft.Network/networkInterfaces",
        ResourceKind::NetworkInterface,
        NETWORK,
    ),
    (
        "Microsoft.Network/networkSecurityGroups",
        ResourceKind::Firewall,
        NETWORK,
    ),
    ("Microsoft.Network/virtualNetworks", ResourceKind::Network, NETWORK),
];

/// Names inside the resource group of a deployment in a region.
pub(crate) const FIREWALL: &str = "nvbind-firewall";
pub(crate) const VNET: &str = "nvbind-network";
pub(crate) const SUBNET: &str = "nodes";

/// The resource group of a deployment in a region: what is in it goes with it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Group {
    pub(crate) id: String,
}

impl Group {
    /// That of an order.
    pub(crate) fn of(subscription: &str, order: &Order) -> Self {
        let name = format!("{}-{}", order.shared_name(), order.region);
        Self {
            id: format!("{}/resourceGroups/{name}", subscription_id(subscription)),
        }
    }

    pub(crate) fn machine(&self, name: &str) -> String {
        format!("{}/providers/Microsoft.Compute/virtualMachines/{name}", self.id)
    }

    pub(crate) fn machines(&self) -> String {
        format!("{}/providers/Microsoft.Compute/virtualMachines", self.id)
    }

    pub(crate) fn firewall(&self) -> String {
        format!(
            "{}/providers/Microsoft.Network/networkSecurityGroups/{FIREWALL}",
            self.id
        )
    }

    pub(crate) fn network(&self) -> String {
        format!("{}/providers/Microsoft.Network/virtualNetworks/{VNET}", self.id)
    }

    pub(crate) fn subnet(&self) -> String {
        format!("{}/subnets/{SUBNET}", self.network())
    }
}

pub(crate) fn subscription_id(subscription: &str) -> String {
    format!("/subscriptions/{subscription}")
}

/// What kind of thing a type is; Azure does not keep the case of types and ids.
pub(crate) fn kind_of(resource_type: &str) -> Option<ResourceKind> {
    let found = KINDS
        .iter()
        .find(|(known, _, _)| known.eq_ignore_ascii_case(resource_type));
    found.map(|(_, kind, _)| *kind)
}

/// The version of the interface that deletes such a thing.
pub(crate) fn version_for(kind: ResourceKind) -> Option<&'static str> {
    if kind == ResourceKind::Group {
        return Some(RESOURCES);
    }
    let found = KINDS.iter().find(|(_, known, _)| *known == kind);
    found.map(|(_, _, version)| *version)
}
