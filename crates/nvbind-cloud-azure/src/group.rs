//! What all machines of a deployment in a region share: a resource group with a network and its firewall.

use crate::arm::{Call, Progress, Service};
use crate::id::{Group, NETWORK, RESOURCES, SUBNET};
use nvbind_cloud::provider::{ErrorClass, Order, ProviderError, TAG_DEPLOYMENT, TAG_OWNER};
use serde_json::{Value, json};
use std::time::Duration;

/// Addresses of the network, and of the subnet that the machines are in: 4091 of them, beside Azure's own five.
const NETWORK_ADDRESSES: &str = "10.71.0.0/16";
const SUBNET_ADDRESSES: &str = "10.71.0.0/20";

/// How long a network may take to be made; it takes a few seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes the group, its firewall and its network, or finds them made: a PUT of what is there changes nothing.
pub(crate) async fn prepare(arm: &Service, group: &Group, order: &Order) -> Result<(), ProviderError> {
    let body = json!({ "location": order.region, "tags": tags(order) });
    arm.send(&Call::put(&group.id, RESOURCES, body)).await?;
    let firewall = make(arm, Call::put(group.firewall(), NETWORK, firewall(order)));
    let network = make(arm, Call::put(group.network(), NETWORK, network(order)));
    let (firewall, network) = tokio::join!(firewall, network);
    firewall.and(network).map_err(ProviderError::leaving_something)
}

async fn make(arm: &Service, call: Call) -> Result<(), ProviderError> {
    let answer = arm.send(&call).await?;
    match arm.follow(&answer, PATIENCE).await? {
        Progress::Done => Ok(()),
        Progress::Failed(error) => Err(error),
        Progress::Running => Err(ProviderError::new(
            ErrorClass::Transient,
            "NetworkNotReady",
            format!("the network is not ready after {} s", PATIENCE.as_secs()),
        )),
    }
}

/// Tags of what belongs to a deployment and to none of its machines.
fn tags(order: &Order) -> Value {
    json!({ TAG_OWNER: order.owner, TAG_DEPLOYMENT: order.deployment })
}

/// Port 22 from where the order says. All traffic inside the network is allowed and all other from outside refused by the rules that
/// every group has (`AllowVnetInBound`, `DenyAllInBound`: <https://learn.microsoft.com/azure/virtual-network/network-security-groups-overview>).
fn firewall(order: &Order) -> Value {
    let rule = json!({
        "name": "ssh",
        "properties": {
            "priority": 100, "direction": "Inbound", "access": "Allow", "protocol": "Tcp",
            "sourceAddressPrefixes": order.allow_from, "sourcePortRange": "*",
            "destinationAddressPrefix": "*", "destinationPortRange": "22",
        },
    });
    let rules: Vec<Value> = if order.allow_from.is_empty() {
        Vec::new()
    } else {
        vec![rule]
    };
    json!({ "location": order.region, "tags": tags(order), "properties": { "securityRules": rules } })
}

fn network(order: &Order) -> Value {
    json!({
        "location": order.region,
        "tags": tags(order),
        "properties": {
            "addressSpace": { "addressPrefixes": [NETWORK_ADDRESSES] },
            "subnets": [{ "name": SUBNET, "properties": { "addressPrefix": SUBNET_ADDRESSES } }],
        },
    })
}
