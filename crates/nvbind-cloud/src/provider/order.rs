//! What is ordered from a provider.

use crate::catalog::Market;
use serde::{Deserialize, Serialize};

/// Tag (label) whose value tells which nvbind state something belongs to.
pub const TAG_OWNER: &str = "nvbind-owner";
/// Tag that names the deployment.
pub const TAG_DEPLOYMENT: &str = "nvbind-deployment";
/// Tag with the number of the node in its deployment.
pub const TAG_NODE: &str = "nvbind-node";
/// Tag with the number of the attempt.
pub const TAG_ATTEMPT: &str = "nvbind-attempt";
/// Tag with the order's token.
pub const TAG_TOKEN: &str = "nvbind-token";

/// An order for one machine. It is written down before it is sent, and sent again as it is after a crash.
///
/// Names, tag values and the token are of `a-z`, `0-9` and `-`, so every provider takes them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// Which nvbind state this belongs to: the value of [`TAG_OWNER`].
    pub owner: String,
    /// Name of the deployment, at most 40 characters.
    pub deployment: String,
    /// Number of the node in its deployment, from 0 on.
    pub node: u32,
    /// Number of the attempt in its deployment, from 1 on.
    pub attempt: u32,
    /// Idempotency token: 32 hexadecimal digits, new for each attempt.
    pub token: String,
    /// Name of the machine, at most 60 characters, new for each attempt.
    pub name: String,
    /// Region.
    pub region: String,
    /// Zone; `None` leaves it to the provider.
    pub zone: Option<String>,
    /// The machine type, as the catalog names it.
    pub instance_type: String,
    /// How it is to be sold.
    pub market: Market,
    /// Size of the boot disk in GiB.
    pub disk_gib: u32,
    /// Image, as the provider names it; `None` stands for the provider's own one with NVIDIA's driver.
    pub image: Option<String>,
    /// Login name that the key is for.
    pub user: String,
    /// Public key in OpenSSH's form; no secret.
    pub public_key: String,
    /// Networks (CIDR) that may reach port 22.
    pub allow_from: Vec<String>,
    /// Seconds after which the provider ends the machine by itself, even when nvbind is gone.
    pub max_run_seconds: Option<u64>,
}

impl Order {
    /// The tags (labels) that everything made for this order carries.
    pub fn tags(&self) -> Vec<(&'static str, String)> {
        vec![
            (TAG_OWNER, self.owner.clone()),
            (TAG_DEPLOYMENT, self.deployment.clone()),
            (TAG_NODE, self.node.to_string()),
            (TAG_ATTEMPT, self.attempt.to_string()),
            (TAG_TOKEN, self.token.clone()),
        ]
    }

    /// The name of what all machines of this deployment in this region share: its network, firewall and key.
    pub fn shared_name(&self) -> String {
        shared_name(&self.owner, &self.deployment)
    }
}

/// As [`Order::shared_name`].
fn shared_name(owner: &str, deployment: &str) -> String {
    format!("nvbind-{}-{deployment}", &owner[..owner.len().min(8)])
}
