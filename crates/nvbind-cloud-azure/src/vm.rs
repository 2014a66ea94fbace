//! A virtual machine: as it is ordered, and as Azure shows it.

use crate::error::{ErrorBody, of_body};
use crate::id::{Group, NETWORK_OF_MACHINE};
use azure_core::time::parse_rfc3339;
use nvbind_cloud::catalog::Market;
use nvbind_cloud::provider::{ErrorClass, Machine, MachineState, Order, ProviderError};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// The image that is taken where the order names none: Ubuntu with NVIDIA's driver, CUDA and InfiniBand, by Microsoft
/// (<https://learn.microsoft.com/azure/virtual-machines/azure-hpc-vm-images>).
const IMAGE: &str = "microsoft-dsvm:ubuntu-hpc:2204:latest";

/// Kind of the boot disk: every machine type takes it.
const DISK: &str = "StandardSSD_LRS";

/// Tag with the second since 1970 at which the machine's time is over, where the order limits it.
pub(crate) const TAG_END: &str = "nvbind-end";

/// The body of the call that makes a machine with its interface, public address and disk, all of which go when it goes.
pub(crate) fn body(group: &Group, order: &Order) -> Result<Value, ProviderError> {
    let tags = tags(order);
    let delete = "Delete";
    let address = json!({
        "name": format!("{}-ip", order.name),
        "sku": { "name": "Standard", "tier": "Regional" },
        "tags": tags,
        "properties": { "publicIPAllocationMethod": "Static", "deleteOption": delete },
    });
    let interface = json!({
        "name": format!("{}-nic", order.name),
        "tags": tags,
        "properties": {
            "primary": true, "deleteOption": delete,
            "networkSecurityGroup": { "id": group.firewall() },
            "ipConfigurations": [{
                "name": "primary",
                "properties": { "primary": true, "subnet": { "id": group.subnet() }, "publicIPAddressConfiguration": address },
            }],
        },
    });
    let key_path = format!("/home/{}/.ssh/authorized_keys", order.user);
    let mut properties = json!({
        "hardwareProfile": { "vmSize": order.instance_type },
        "storageProfile": {
            "imageReference": image(order)?,
            "osDisk": {
                "name": format!("{}-disk", order.name), "createOption": "FromImage", "diskSizeGB": order.disk_gib,
                "managedDisk": { "storageAccountType": DISK }, "deleteOption": delete,
            },
        },
        "osProfile": {
            "computerName": order.name, "adminUsername": order.user,
            "linuxConfiguration": {
                "disablePasswordAuthentication": true,
                "ssh": { "publicKeys": [{ "path": key_path, "keyData": order.public_key }] },
            },
        },
        "networkProfile": { "networkApiVersion": NETWORK_OF_MACHINE, "networkInterfaceConfigurations": [interface] },
    });
    if order.market == Market::Spot {
        properties["priority"] = json!("Spot");
        properties["evictionPolicy"] = json!(delete);
        // Up to the price on demand: never taken back for the price alone.
        properties["billingProfile"] = json!({ "maxPrice": -1 });
    }
    let mut body = json!({ "location": order.region, "tags": tags, "properties": properties });
    if let Some(zone) = &order.zone {
        body["zones"] = json!([zone]);
    }
    Ok(body)
}

fn tags(order: &Order) -> Value {
    let mut tags: Map<String, Value> = order
        .tags()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    if let Some(seconds) = order.max_run_seconds {
        tags.insert(TAG_END.to_owned(), json!((now() + seconds).to_string()));
    }
    Value::Object(tags)
}

/// `publisher:offer:sku:version`, or the id of an image, or a community gallery's.
fn image(order: &Order) -> Result<Value, ProviderError> {
    let image = match &order.image {
        Some(image) => image,
        None => match NOT_FOR
            .iter()
            .find(|(start, end, _)| is_like(&order.instance_type, start, end))
        {
            Some((_, _, why)) => return Err(other_image_needed(&order.instance_type, why)),
            None => IMAGE,
        },
    };
    if image.starts_with("/subscriptions/") {
        return Ok(json!({ "id": image }));
    }
    if image.starts_with("/CommunityGalleries/") {
        return Ok(json!({ "communityGalleryImageId": image }));
    }
    match image.split(':').collect::<Vec<_>>()[..] {
        [publisher, offer, sku, version] => {
            Ok(json!({ "publisher": publisher, "offer": offer, "sku": sku, "version": version }))
        }
        _ => Err(ProviderError::new(
            ErrorClass::Invalid,
            "InvalidImage",
            format!("'{image}' is no image of Azure: write publisher:offer:sku:version or the image's id"),
        )),
    }
}

/// Machine types (start and end of the name) that the default image is not for.
const NOT_FOR: [(&str, &str, &str); 2] = [
    // https://learn.microsoft.com/azure/virtual-machines/linux/n-series-driver-setup
    (
        "Standard_NV",
        "_A10_v5",
        "has a share of a GPU, which needs NVIDIA's GRID driver",
    ),
    ("Standard_ND", "_GB200_v6", "has processors of the Arm architecture"),
];

fn is_like(instance_type: &str, start: &str, end: &str) -> bool {
    instance_type.starts_with(start) && instance_type.ends_with(end)
}

fn other_image_needed(instance_type: &str, why: &str) -> ProviderError {
    ProviderError::new(
        ErrorClass::Invalid,
        "ImageNeeded",
        format!("{instance_type} {why}: the image {IMAGE} does not fit, name one that does"),
    )
}

/// A machine as Azure shows it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Vm {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) location: String,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
    #[serde(default)]
    zones: Vec<String>,
    properties: Properties,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Properties {
    provisioning_state: String,
    hardware_profile: HardwareProfile,
    priority: Option<String>,
    network_profile: NetworkProfile,
    instance_view: InstanceView,
    time_created: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct HardwareProfile {
    vm_size: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NetworkProfile {
    network_interfaces: Vec<Reference>,
}

#[derive(Debug, Clone, Deserialize)]
struct Reference {
    id: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct InstanceView {
    statuses: Vec<Status>,
}

/// `PowerState/running`, `ProvisioningState/failed/AllocationFailed`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    code: String,
    display_status: String,
    message: String,
}

/// What a power state means. What is `stopped` still costs as if it ran; what is `deallocated` costs its disk and address.
const POWER: [(&str, MachineState); 6] = [
    ("starting", MachineState::Pending),
    ("running", MachineState::Running),
    ("stopping", MachineState::Stopping),
    ("deallocating", MachineState::Stopping),
    ("stopped", MachineState::Stopped),
    ("deallocated", MachineState::Stopped),
];

impl Vm {
    /// As nvbind has it; the addresses are another call's.
    pub(crate) fn machine(&self) -> Machine {
        let state = self.state();
        let (ended_because, is_interrupted) = self.end(state);
        Machine {
            id: self.id.clone(),
            name: self.name.clone(),
            region: self.location.clone(),
            zone: self.zone(),
            instance_type: self.instance_type().to_owned(),
            market: Some(self.market()),
            state,
            address: None,
            private_address: None,
            created_at: self.created_at(),
            ended_because,
            is_interrupted,
        }
    }

    pub(crate) fn zone(&self) -> Option<String> {
        self.zones.first().cloned()
    }

    pub(crate) fn instance_type(&self) -> &str {
        &self.properties.hardware_profile.vm_size
    }

    pub(crate) fn market(&self) -> Market {
        match self.properties.priority.as_deref() {
            Some("Spot" | "Low") => Market::Spot,
            _ => Market::OnDemand,
        }
    }

    pub(crate) fn created_at(&self) -> Option<u64> {
        let time = parse_rfc3339(self.properties.time_created.as_deref()?).ok()?;
        u64::try_from(time.unix_timestamp()).ok()
    }

    /// Second since 1970 at which its time is over.
    pub(crate) fn ends_at(&self) -> Option<u64> {
        self.tags.get(TAG_END)?.parse().ok()
    }

    pub(crate) fn is_being_deleted(&self) -> bool {
        self.properties.provisioning_state.eq_ignore_ascii_case("deleting")
    }

    pub(crate) fn interface(&self) -> Option<&str> {
        let first = self.properties.network_profile.network_interfaces.first();
        first.map(|interface| interface.id.as_str())
    }

    pub(crate) fn state(&self) -> MachineState {
        match (self.provisioning().as_str(), self.power()) {
            ("deleting", _) => MachineState::Stopping,
            ("failed", None) => MachineState::Stopped,
            (_, Some(power)) => power,
            _ => MachineState::Pending,
        }
    }

    /// Why Azure could not make it.
    pub(crate) fn failure(&self) -> Option<ProviderError> {
        if self.provisioning() != "failed" {
            return None;
        }
        let failed = "provisioningstate/failed/";
        let statuses = &self.properties.instance_view.statuses;
        let status = statuses
            .iter()
            .find(|status| status.code.to_ascii_lowercase().starts_with(failed));
        let body = status.map(|status| ErrorBody {
            code: status.code[failed.len()..].to_owned(),
            message: if status.message.is_empty() {
                status.display_status.clone()
            } else {
                status.message.clone()
            },
            details: Vec::new(),
        });
        let unknown = || ErrorBody {
            code: "ProvisioningFailed".to_owned(),
            ..ErrorBody::default()
        };
        Some(of_body(0, &body.unwrap_or_else(unknown)))
    }

    fn provisioning(&self) -> String {
        self.properties.provisioning_state.to_ascii_lowercase()
    }

    fn power(&self) -> Option<MachineState> {
        let mut statuses = self.properties.instance_view.statuses.iter();
        let word = statuses.find_map(|status| status.code.strip_prefix("PowerState/"))?;
        POWER.iter().find(|(known, _)| *known == word).map(|(_, state)| *state)
    }

    /// Why it is down, and whether Azure took it back. Azure does not say so: a spot machine that goes down before its time is over,
    /// without a call of nvbind's, was evicted.
    fn end(&self, state: MachineState) -> (Option<String>, bool) {
        if !matches!(state, MachineState::Stopping | MachineState::Stopped) {
            return (None, false);
        }
        if let Some(failure) = self.failure() {
            return (Some(failure.to_string()), false);
        }
        if self.ends_at().is_some_and(|end| end <= now()) {
            return (Some("its time was over".to_owned()), false);
        }
        match self.market() {
            Market::Spot => (Some("evicted, or stopped by somebody else".to_owned()), true),
            Market::OnDemand => (None, false),
        }
    }
}

/// A network interface, with its public address where the call asked for that.
#[derive(Debug, Deserialize)]
pub(crate) struct Interface {
    properties: InterfaceProperties,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct InterfaceProperties {
    ip_configurations: Vec<IpConfiguration>,
}

#[derive(Debug, Deserialize)]
struct IpConfiguration {
    properties: IpProperties,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct IpProperties {
    #[serde(rename = "privateIPAddress")]
    private: Option<String>,
    #[serde(rename = "publicIPAddress")]
    public: Option<PublicAddress>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PublicAddress {
    properties: PublicProperties,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PublicProperties {
    #[serde(rename = "ipAddress")]
    address: Option<String>,
}

impl Interface {
    /// The address from outside, and that in its network.
    pub(crate) fn addresses(self) -> (Option<String>, Option<String>) {
        let first = self.properties.ip_configurations.into_iter().next();
        let first = first.map(|configuration| configuration.properties).unwrap_or_default();
        (first.public.unwrap_or_default().properties.address, first.private)
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
