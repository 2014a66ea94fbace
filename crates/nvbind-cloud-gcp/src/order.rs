//! An order as Compute Engine wants it.

use crate::kind::MachineType;
use google_cloud_compute_v1::model::scheduling::{InstanceTerminationAction, OnHostMaintenance, ProvisioningModel};
use google_cloud_compute_v1::model::{
    AcceleratorConfig, AccessConfig, AttachedDisk, AttachedDiskInitializeParams, Duration, Instance, Metadata,
    NetworkInterface, Scheduling, Tags, access_config, metadata, network_interface,
};
use nvbind_cloud::catalog::Market;
use nvbind_cloud::provider::Order;

/// The network that every project has at first.
pub(crate) const NETWORK: &str = "global/networks/default";

/// Google's own image with NVIDIA's driver in it.
const IMAGE: &str = "projects/deeplearning-platform-release/global/images/family/common-cu129-ubuntu-2204-nvidia-580";

/// The shortest and the longest `maxRunDuration` that Compute Engine takes, in seconds: half a minute and 120 days.
const RUN_SECONDS: (u64, u64) = (30, 120 * 24 * 3600);

/// The body of `instances.insert`.
pub(crate) fn instance(order: &Order, machine_type: &MachineType, zone: &str) -> Instance {
    Instance::new()
        .set_name(&order.name)
        .set_machine_type(format!("zones/{zone}/machineTypes/{}", machine_type.name))
        .set_labels(order.tags())
        .set_tags(Tags::new().set_items([order.shared_name()]))
        .set_disks([boot_disk(order, machine_type, zone)])
        .set_network_interfaces([network(machine_type)])
        .set_guest_accelerators(attached(machine_type, zone))
        .set_scheduling(scheduling(order))
        .set_metadata(Metadata::new().set_items(keys(order)))
}

/// The idempotency token in the form that Google wants: a UUID.
pub(crate) fn request_id(token: &str) -> String {
    let part = |from: usize, to: usize| token.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

/// Which of these zones an order goes to that names none: the same for the same token, so an order that is sent again does not go elsewhere.
/// Each zone has a number for each token, so one that comes or goes changes nothing for the rest.
pub(crate) fn choose_zone(token: &str, zones: &[String]) -> Option<String> {
    zones
        .iter()
        .max_by_key(|zone| hash(&format!("{token}/{zone}")))
        .cloned()
}

/// FNV-1a with the finish of MurmurHash3, which has every bit depend on every byte; the same in every version of nvbind.
fn hash(text: &str) -> u64 {
    let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, step);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

fn boot_disk(order: &Order, machine_type: &MachineType, zone: &str) -> AttachedDisk {
    let made_of = AttachedDiskInitializeParams::new()
        .set_source_image(order.image.as_deref().unwrap_or(IMAGE))
        .set_disk_size_gb(i64::from(order.disk_gib))
        .set_disk_type(format!("zones/{zone}/diskTypes/{}", machine_type.kind.disk))
        .set_labels(order.tags());
    AttachedDisk::new()
        .set_boot(true)
        .set_auto_delete(true)
        .set_initialize_params(made_of)
}

fn network(machine_type: &MachineType) -> NetworkInterface {
    let outside = AccessConfig::new()
        .set_name("External NAT")
        .set_type(access_config::Type::OneToOneNat);
    let network = NetworkInterface::new()
        .set_network(NETWORK)
        .set_access_configs([outside]);
    match machine_type.kind.has_gvnic {
        true => network.set_nic_type(network_interface::NicType::Gvnic),
        false => network,
    }
}

fn attached(machine_type: &MachineType, zone: &str) -> Option<AcceleratorConfig> {
    let (count, gpu) = machine_type.attached.as_ref()?;
    let config = AcceleratorConfig::new().set_accelerator_type(format!("zones/{zone}/acceleratorTypes/{gpu}"));
    Some(config.set_accelerator_count(i32::try_from(*count).unwrap_or(i32::MAX)))
}

/// A machine with GPUs cannot move to another host. One that was stopped is not to come back by itself: nvbind has replaced it by then.
/// What ends it deletes it, so that its disk is not paid for any more.
fn scheduling(order: &Order) -> Scheduling {
    let mut scheduling = Scheduling::new()
        .set_on_host_maintenance(OnHostMaintenance::Terminate)
        .set_automatic_restart(false)
        .set_provisioning_model(match order.market {
            Market::Spot => ProvisioningModel::Spot,
            Market::OnDemand => ProvisioningModel::Standard,
        });
    if order.market == Market::Spot || order.max_run_seconds.is_some() {
        scheduling = scheduling.set_instance_termination_action(InstanceTerminationAction::Delete);
    }
    if let Some(seconds) = order.max_run_seconds {
        let seconds = seconds.clamp(RUN_SECONDS.0, RUN_SECONDS.1);
        scheduling = scheduling.set_max_run_duration(Duration::new().set_seconds(seconds.cast_signed()));
    }
    scheduling
}

/// The user's key and no other: neither those of the project nor OS Login's, which would have ours ignored.
fn keys(order: &Order) -> Vec<metadata::Items> {
    let item = |key: &str, value: String| metadata::Items::new().set_key(key).set_value(value);
    vec![
        item("ssh-keys", format!("{}:{}", order.user, order.public_key.trim())),
        item("block-project-ssh-keys", "TRUE".to_owned()),
        item("enable-oslogin", "FALSE".to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_becomes_a_uuid() {
        assert_eq!(
            request_id("0123456789abcdef0123456789abcdef"),
            "01234567-89ab-cdef-0123-456789abcdef"
        );
    }

    #[test]
    fn a_zone_is_chosen_by_the_token_and_all_are_chosen_alike() {
        let zones = ["us-central1-a", "us-central1-b", "us-central1-c", "us-central1-f"].map(str::to_owned);
        let mut counts = std::collections::BTreeMap::new();
        for number in 0..4000 {
            let token = format!("{number:032x}");
            let zone = choose_zone(&token, &zones).unwrap();
            let without_others: Vec<_> = zones
                .iter()
                .filter(|other| **other == zone || other.ends_with('a'))
                .cloned()
                .collect();
            assert_eq!(choose_zone(&token, &without_others).as_ref(), Some(&zone));
            *counts.entry(zone).or_insert(0) += 1;
        }
        assert!(
            counts.len() == 4 && counts.values().all(|count| (850..1150).contains(count)),
            "{counts:?}"
        );
        assert_eq!(choose_zone("00", &[]), None);
    }
}
