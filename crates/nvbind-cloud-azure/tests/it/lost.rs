//! Answers that are lost, orders that are sent twice.

use crate::cloud::{Cloud, azure, order, refusal, spot};
use nvbind_cloud::provider::{ErrorClass, MachineState, Order, Provider, ResourceKind};
use serde_json::{Value, json};

#[test]
fn the_same_order_twice_is_one_machine() {
    let mut cloud = Cloud::start();
    let first = cloud.create(&order(1));
    let second = cloud.create(&order(1));
    assert_eq!(second.id, first.id);
    // So it is for a process that starts anew.
    let third = azure(&cloud.emulator).create(&order(1)).unwrap();
    assert_eq!(third.id, first.id);
    assert_eq!(cloud.emulator.machines().len(), 1);
    assert_eq!(cloud.emulator.calls("PUT virtualMachines"), 1);
}

#[test]
fn another_order_does_not_get_a_machine_of_that_name() {
    let mut cloud = Cloud::start();
    cloud.create(&order(1));
    let other = Order {
        token: "f".repeat(32),
        ..order(1)
    };
    let error = cloud.azure.create(&other).unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Invalid, "NameTaken"));
    assert_eq!(cloud.describe(&other), None);
    assert_eq!(cloud.emulator.machines().len(), 1);
}

/// Each of these has the machine made, and its answer lost.
fn losses() -> Vec<Value> {
    let call = "PUT virtualMachines";
    vec![
        json!({ "call": call, "when": "after", "do": "drop" }),
        json!({ "call": call, "when": "after", "do": "error", "status": 500, "code": "InternalServerError", "message": "m" }),
        json!({ "call": call, "when": "after", "do": "error", "status": 504, "code": "GatewayTimeout", "message": "m" }),
        json!({ "call": "GET operations", "when": "before", "do": "drop", "count": 9 }),
    ]
}

#[test]
fn a_lost_answer_is_ambiguous_and_its_machine_is_found() {
    for rule in losses() {
        let mut cloud = Cloud::start();
        // The network is made, so the rule is for the machine.
        cloud.create(&order(2));
        cloud.rule(&rule);
        let error = cloud.azure.create(&spot(1)).unwrap_err();
        assert_eq!(
            (error.class, error.is_ambiguous),
            (ErrorClass::Transient, true),
            "{rule}: {error:?}"
        );
        assert!(cloud.describe(&spot(1)).is_some(), "{rule}");
        cloud.emulator.reset();
        let again = cloud.create(&spot(1));
        assert_eq!(again.name, spot(1).name);
        cloud.wait_for(&spot(1), MachineState::Running);
        assert_eq!(cloud.emulator.machines().len(), 2, "{rule}");
        assert_eq!(cloud.delete_all(), 0, "{rule}");
    }
}

#[test]
fn an_order_that_was_not_carried_out_is_ambiguous_until_it_is_looked_for() {
    let mut cloud = Cloud::start();
    cloud.rule(&json!({ "call": "PUT virtualMachines", "when": "before", "do": "drop" }));
    let error = cloud.azure.create(&order(1)).unwrap_err();
    assert_eq!(
        (error.class, error.is_ambiguous),
        (ErrorClass::Transient, true),
        "{error:?}"
    );
    assert_eq!(cloud.describe(&order(1)), None);
    cloud.create(&order(1));
    assert_eq!(cloud.emulator.machines().len(), 1);
}

#[test]
fn a_cut_before_the_machine_leaves_no_machine() {
    for call in ["PUT resourceGroups", "PUT virtualNetworks", "PUT networkSecurityGroups"] {
        for when in ["before", "after"] {
            let mut cloud = Cloud::start();
            cloud.rule(&json!({ "call": call, "when": when, "do": "drop" }));
            let error = cloud.azure.create(&order(1)).unwrap_err();
            assert_eq!(error.class, ErrorClass::Transient, "{call} {when}: {error:?}");
            assert_eq!(cloud.emulator.machines().len(), 0, "{call} {when}");
            cloud.create(&order(1));
            assert_eq!(cloud.of_kind(ResourceKind::Machine).len(), 1, "{call} {when}");
        }
    }
}

#[test]
fn a_deletion_whose_answer_is_lost_can_be_asked_for_again() {
    let mut cloud = Cloud::start();
    cloud.create(&order(1));
    let machine = cloud.of_kind(ResourceKind::Machine).remove(0);
    cloud.rule(&json!({ "call": "DELETE virtualMachines", "when": "after", "do": "drop" }));
    let error = cloud.azure.delete(&machine).unwrap_err();
    assert!(error.is_ambiguous, "{error:?}");
    cloud.azure.delete(&machine).unwrap();
    assert_eq!(cloud.delete_all(), 0);
}

#[test]
fn a_failed_order_that_cannot_be_given_back_is_ambiguous() {
    let mut cloud = Cloud::start();
    cloud.rule(&refusal(
        "operation PUT virtualMachines",
        0,
        "ZonalAllocationFailed",
        "no room",
    ));
    cloud.rule(&refusal("DELETE virtualMachines", 500, "InternalServerError", "later"));
    let error = cloud.azure.create(&spot(1)).unwrap_err();
    assert_eq!(
        (error.class, error.is_ambiguous),
        (ErrorClass::NoCapacity, true),
        "{error:?}"
    );
    assert_eq!(
        cloud.of_kind(ResourceKind::Machine).len(),
        1,
        "it is there to be given back"
    );
    assert_eq!(cloud.delete_all(), 0);
}

#[test]
fn credentials_that_run_out_in_the_middle_leave_a_group_that_is_looked_for() {
    // Nothing is made before the group is.
    for (call, is_left) in [
        ("PUT resourceGroups", false),
        ("PUT networkSecurityGroups", true),
        ("PUT virtualNetworks", true),
        ("PUT virtualMachines", true),
    ] {
        let mut cloud = Cloud::start();
        cloud.rule(
            &json!({ "call": call, "do": "error", "status": 401, "code": "ExpiredAuthenticationToken",
            "message": "The access token has expired", "count": -1 }),
        );
        let error = cloud.azure.create(&order(1)).unwrap_err();
        assert_eq!(
            (error.class, error.has_left),
            (ErrorClass::Credentials, is_left),
            "{call}: {error:?}"
        );
        assert_eq!(cloud.emulator.everything().is_empty(), !is_left, "{call}");
        cloud.emulator.reset();
        assert_eq!(cloud.delete_all(), 0, "{call}");
    }
}
