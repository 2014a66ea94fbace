//! An instance of Compute Engine, and what became of one, as nvbind's machine.

use crate::fault;
use crate::kind::MachineType;
use google_cloud_compute_v1::model::instance::Status;
use google_cloud_compute_v1::model::scheduling::ProvisioningModel;
use google_cloud_compute_v1::model::{Instance, Operation, operation};
use google_cloud_wkt::Timestamp;
use nvbind_cloud::catalog::Market;
use nvbind_cloud::provider::{Machine, MachineState};

/// Type of the operation by which Google takes a spot machine back.
const PREEMPTED: &str = "compute.instances.preempted";
/// Type of the operation that tells of a broken host.
const HOST_ERROR: &str = "compute.instances.hostError";

/// An instance as nvbind's machine.
pub(crate) fn machine(instance: &Instance) -> Machine {
    let name = instance.name.clone().unwrap_or_default();
    let zone = last_part(instance.zone.as_deref()).to_owned();
    let outside = instance.network_interfaces.first();
    Machine {
        id: name.clone(),
        name,
        region: region_of(&zone).to_owned(),
        zone: Some(zone),
        instance_type: catalog_name(instance),
        market: Some(market(instance)),
        state: state(instance.status.as_ref()),
        address: outside
            .and_then(|network| network.access_configs.first())
            .and_then(|access| access.nat_ip.clone()),
        private_address: outside.and_then(|network| network.network_ip.clone()),
        created_at: seconds(instance.creation_timestamp.as_deref()),
        ended_because: instance.status_message.clone().filter(|message| !message.is_empty()),
        is_interrupted: false,
    }
}

/// The catalog's name of its machine type.
pub(crate) fn catalog_name(instance: &Instance) -> String {
    let name = last_part(instance.machine_type.as_deref());
    let gpus = instance.guest_accelerators.first().map(|gpus| {
        let count = gpus.accelerator_count.and_then(|count| u32::try_from(count).ok());
        (count.unwrap_or(0), last_part(gpus.accelerator_type.as_deref()))
    });
    MachineType::catalog_name(name, gpus)
}

/// How it is sold.
pub(crate) fn market(instance: &Instance) -> Market {
    let scheduling = instance.scheduling.as_ref();
    let is_spot = scheduling.is_some_and(|scheduling| {
        scheduling.provisioning_model == Some(ProvisioningModel::Spot) || scheduling.preemptible == Some(true)
    });
    if is_spot { Market::Spot } else { Market::OnDemand }
}

/// What it is doing.
pub(crate) fn state(status: Option<&Status>) -> MachineState {
    match status {
        Some(Status::Running | Status::Repairing) => MachineState::Running,
        Some(Status::Stopping | Status::PendingStop | Status::Suspending | Status::Deprovisioning) => {
            MachineState::Stopping
        }
        Some(Status::Terminated | Status::Stopped | Status::Suspended) => MachineState::Stopped,
        _ => MachineState::Pending,
    }
}

/// Whether the provider took it back, and why it ended, by the operations on it.
pub(crate) fn end(operations: &[Operation]) -> Option<(bool, String)> {
    let of_type = |wanted: &str| {
        let is_it = |operation: &&Operation| operation.operation_type.as_deref() == Some(wanted);
        operations.iter().find(is_it)
    };
    let told = |operation: &Operation, otherwise: &str| {
        let message = operation.status_message.clone().filter(|message| !message.is_empty());
        message.unwrap_or_else(|| otherwise.to_owned())
    };
    if let Some(operation) = of_type(PREEMPTED) {
        return Some((
            true,
            format!("{PREEMPTED}: {}", told(operation, "Instance was preempted.")),
        ));
    }
    if let Some(operation) = of_type(HOST_ERROR) {
        return Some((false, format!("{HOST_ERROR}: {}", told(operation, "The host failed."))));
    }
    of_type("insert")
        .and_then(fault::of_operation)
        .map(|error| (false, error.to_string()))
}

/// Whether one of them makes the machine at this time.
pub(crate) fn is_being_made(operations: &[Operation]) -> bool {
    let is_it = |operation: &Operation| {
        operation.operation_type.as_deref() == Some("insert")
            && operation
                .status
                .as_ref()
                .is_some_and(|status| *status != operation::Status::Done)
    };
    operations.iter().any(is_it)
}

/// The zone that operations on a machine were in.
pub(crate) fn zone_of(operations: &[Operation]) -> Option<&str> {
    operations
        .iter()
        .find_map(|operation| operation.zone.as_deref())
        .map(|zone| last_part(Some(zone)))
}

/// What an URL ends with, which is how Compute Engine names zones, types and the rest.
pub(crate) fn last_part(url: Option<&str>) -> &str {
    url.and_then(|url| url.rsplit('/').next()).unwrap_or_default()
}

/// The region of a zone.
pub(crate) fn region_of(zone: &str) -> &str {
    zone.rsplit_once('-').map_or(zone, |(region, _)| region)
}

/// Seconds since 1970 of a time as Compute Engine writes it.
pub(crate) fn seconds(timestamp: Option<&str>) -> Option<u64> {
    let timestamp = Timestamp::try_from(timestamp?).ok()?;
    u64::try_from(timestamp.seconds()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_times_are_read_as_google_writes_them() {
        assert_eq!(
            last_part(Some(
                "https://www.googleapis.com/compute/v1/projects/p/zones/us-east1-b"
            )),
            "us-east1-b"
        );
        assert_eq!(region_of("northamerica-northeast1-a"), "northamerica-northeast1");
        assert_eq!(seconds(Some("2026-11-29T03:00:00.123-08:00")), Some(1_795_950_000));
        assert_eq!(seconds(Some("yesterday")), None);
    }

    #[test]
    fn every_status_of_an_instance_has_a_state() {
        for (status, expected) in [
            ("PENDING", MachineState::Pending),
            ("PROVISIONING", MachineState::Pending),
            ("STAGING", MachineState::Pending),
            ("RUNNING", MachineState::Running),
            ("REPAIRING", MachineState::Running),
            ("STOPPING", MachineState::Stopping),
            ("PENDING_STOP", MachineState::Stopping),
            ("SUSPENDING", MachineState::Stopping),
            ("DEPROVISIONING", MachineState::Stopping),
            ("TERMINATED", MachineState::Stopped),
            ("STOPPED", MachineState::Stopped),
            ("SUSPENDED", MachineState::Stopped),
        ] {
            assert_eq!(state(Some(&Status::from(status))), expected, "{status}");
        }
    }
}
