//! How machines end that nobody has deleted.

use crate::fixture::{A100, Cloud, V100, order, resource};
use nvbind_cloud::catalog::Market;
use nvbind_cloud::provider::{MachineState, Order, Provider};
use nvbind_testkit::wait_until;
use serde_json::json;

#[test]
fn a_spot_machine_that_was_taken_back_is_told_as_interrupted() {
    let mut cloud = Cloud::start();
    let order = order(V100, Market::Spot);
    let id = cloud.gcp.create(&order).unwrap().id;
    cloud.wait_for(&order, MachineState::Running);
    cloud.emulator.interrupt(&id, 0.2);
    let gone = cloud.wait_for(&order, MachineState::Gone);
    assert!(gone.is_interrupted, "{gone:?}");
    assert_eq!(
        gone.ended_because.as_deref(),
        Some("compute.instances.preempted: Instance was preempted.")
    );
    // Its disk went with it, since the order says so.
    let left: Vec<_> = cloud
        .emulator
        .everything()
        .iter()
        .map(|thing| thing["kind"].clone())
        .collect();
    assert_eq!(left, ["firewall", "firewall"]);
    cloud.gcp.delete(&resource(&gone)).unwrap();
    cloud.delete_all();
}

#[test]
fn a_spot_machine_that_was_only_stopped_is_told_so_and_can_be_deleted() {
    let mut cloud = Cloud::start();
    let order = order(A100, Market::Spot);
    let id = cloud.gcp.create(&order).unwrap().id;
    cloud.wait_for(&order, MachineState::Running);
    cloud
        .emulator
        .post("/_x/interrupt", &json!({"id": id, "seconds": 0.1, "action": "STOP"}));
    let stopped = cloud.wait_for(&order, MachineState::Stopped);
    assert!(stopped.is_interrupted && stopped.address.is_none(), "{stopped:?}");
    let disks = |cloud: &Cloud| {
        cloud
            .emulator
            .everything()
            .iter()
            .filter(|thing| thing["kind"] == "disk")
            .count()
    };
    assert_eq!(disks(&cloud), 1);
    cloud.gcp.delete(&resource(&stopped)).unwrap();
    wait_until("the end of its disk", || disks(&cloud) == 0);
    // What became of it is known even then.
    assert!(cloud.wait_for(&order, MachineState::Gone).is_interrupted);
    cloud.delete_all();
}

#[test]
fn a_failed_host_is_no_interruption() {
    let mut cloud = Cloud::start();
    let order = order(A100, Market::OnDemand);
    let id = cloud.gcp.create(&order).unwrap().id;
    cloud.wait_for(&order, MachineState::Running);
    cloud.emulator.kill(&id);
    let stopped = cloud.wait_for(&order, MachineState::Stopped);
    assert!(!stopped.is_interrupted);
    assert!(
        stopped
            .ended_because
            .is_some_and(|because| because.contains("host error"))
    );
    cloud.delete_all();
}

#[test]
fn what_was_deleted_on_purpose_is_unknown() {
    let mut cloud = Cloud::start();
    let order = Order {
        zone: Some("us-central1-c".to_owned()),
        ..order(A100, Market::Spot)
    };
    let machine = cloud.gcp.create(&order).unwrap();
    cloud.wait_for(&order, MachineState::Running);
    cloud.gcp.delete(&resource(&machine)).unwrap();
    cloud.wait_until_gone(&order);
}

#[test]
fn an_order_that_failed_unseen_is_told_with_its_reason() {
    let mut cloud = Cloud::start();
    let order = order(A100, Market::Spot);
    cloud.emulator.rule(
        &json!({"call": "instances.insert", "when": "operation", "do": "error", "status": 503,
        "code": "ZONE_RESOURCE_POOL_EXHAUSTED", "message": "The zone does not have enough resources available."}),
    );
    cloud
        .emulator
        .rule(&json!({"call": "instances.insert", "when": "after", "do": "drop", "count": 3}));
    assert!(cloud.gcp.create(&order).unwrap_err().is_ambiguous);
    let gone = cloud.wait_for(&order, MachineState::Gone);
    assert!(!gone.is_interrupted);
    assert!(
        gone.ended_because
            .is_some_and(|because| because.starts_with("ZONE_RESOURCE_POOL_EXHAUSTED"))
    );
}
