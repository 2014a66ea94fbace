//! One order, one machine: whatever is lost on the way.

use super::*;
use nvbind_cloud::provider::ErrorClass;
use serde_json::json;
use std::time::{Duration, Instant};

fn ids(cloud: &Cloud) -> Vec<String> {
    let machines = cloud.emulator.machines();
    let id = |machine: &serde_json::Value| machine["id"].as_str().unwrap_or_default().to_owned();
    machines.iter().map(id).collect()
}

#[test]
fn the_same_order_again_is_the_same_machine() {
    let mut cloud = Cloud::start();
    for order in [order(1), spot_order(2)] {
        let machine = cloud.create(&order);
        assert_eq!(cloud.create(&order).id, machine.id);
        // Another program, after a crash of this one.
        cloud.aws = provider(&cloud.emulator.url());
        assert_eq!(cloud.create(&order).id, machine.id);
    }
    assert_eq!(ids(&cloud).len(), 2);
    cloud.clear();
}

#[test]
fn a_lost_answer_is_asked_for_again() {
    let mut cloud = Cloud::start();
    cloud
        .emulator
        .rule(&json!({"call": "RunInstances", "when": "after", "do": "drop"}));
    let machine = cloud.create(&order(1));
    assert_eq!(cloud.emulator.calls("RunInstances"), 2);
    assert_eq!(ids(&cloud), [machine.id]);
    cloud.clear();
}

#[test]
fn a_machine_whose_answers_were_all_lost_is_found_by_its_order() {
    for fault in [
        json!({"do": "drop"}),
        json!({"do": "error", "status": 500, "code": "InternalError"}),
    ] {
        let mut cloud = Cloud::start();
        let mut rule = json!({"call": "RunInstances", "when": "after", "count": -1});
        rule.as_object_mut().unwrap().extend(fault.as_object().unwrap().clone());
        cloud.emulator.rule(&rule);
        let order = order(1);
        let refusal = cloud.aws.create(&order).unwrap_err();
        assert_eq!(
            (refusal.class, refusal.is_ambiguous),
            (ErrorClass::Transient, true),
            "{refusal:?}"
        );
        assert_eq!(cloud.emulator.calls("RunInstances"), 3);
        let found = cloud.describe(&ordered(&order)).unwrap();
        assert_eq!(ids(&cloud), std::slice::from_ref(&found.id));
        cloud.emulator.reset();
        assert_eq!(cloud.create(&order).id, found.id);
        assert_eq!(ids(&cloud).len(), 1);
        cloud.clear();
    }
}

#[test]
fn a_launch_that_hangs_is_given_up_and_found() {
    let mut cloud = Cloud::start();
    cloud
        .emulator
        .rule(&json!({"call": "RunInstances", "when": "after", "do": "delay", "seconds": 25}));
    let order = order(1);
    let start = Instant::now();
    let refusal = cloud.aws.create(&order).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(24), "{:?}", start.elapsed());
    assert_eq!(
        (refusal.class, refusal.is_ambiguous),
        (ErrorClass::Transient, true),
        "{refusal:?}"
    );
    assert_eq!(cloud.create(&order).id, cloud.describe(&ordered(&order)).unwrap().id);
    assert_eq!(ids(&cloud).len(), 1);
    cloud.clear();
}

#[test]
fn a_new_machine_that_is_not_shown_yet_is_neither_doubled_nor_left() {
    let mut cloud = Cloud::start_with(&[("NVBIND_EMULATED_INVISIBLE_SECONDS", "0.5")]);
    let order = order(1);
    let machine = cloud.create(&order);
    assert_eq!(cloud.describe(&made(&order, &machine)).unwrap().id, machine.id);
    let second = super::order(2);
    let machine_of_second = cloud.create(&second);
    assert_eq!(cloud.describe(&ordered(&second)).unwrap().id, machine_of_second.id);
    assert_eq!(cloud.create(&second).id, machine_of_second.id);
    assert_eq!(ids(&cloud).len(), 2);
    // Given back before it is shown: `delete` must not take it for gone.
    let third = cloud.create(&super::order(3));
    cloud.aws.delete(&resource(&third)).unwrap();
    wait_until("the end of the third machine", || !ids(&cloud).contains(&third.id));
    cloud.clear();
}

#[test]
fn a_machine_that_was_never_made_is_none() {
    let mut cloud = Cloud::start();
    assert_eq!(cloud.describe(&ordered(&order(1))), None);
    let unknown = MachineRef {
        id: Some("i-00000000000000000".to_owned()),
        ..ordered(&order(1))
    };
    assert_eq!(cloud.describe(&unknown), None);
}

#[test]
fn the_order_of_a_machine_that_has_ended_makes_no_other() {
    let mut cloud = Cloud::start();
    let order = order(1);
    let machine = cloud.create(&order);
    cloud.aws.delete(&resource(&machine)).unwrap();
    cloud.wait_for(&made(&order, &machine), MachineState::Gone);
    let again = cloud.create(&order);
    assert_eq!((again.id, again.state), (machine.id, MachineState::Gone));
    assert_eq!(ids(&cloud), Vec::<String>::new());
    cloud.clear();
}

#[test]
fn an_order_that_would_read_otherwise_today_is_still_the_same_machine() {
    let mut cloud = Cloud::start();
    let machine = cloud.create(&order(1));
    // As when the newest image has changed since.
    let other = Order {
        image: Some("ami-0a11ce00000000003".to_owned()),
        ..order(1)
    };
    assert_eq!(cloud.create(&other).id, machine.id);
    assert_eq!(ids(&cloud).len(), 1);
    cloud.clear();
}

#[test]
fn nodes_of_a_deployment_that_start_at_once_share_one_group_and_one_key() {
    let mut cloud = Cloud::start();
    let url = cloud.emulator.url();
    let nodes: Vec<_> = (1..=3)
        .map(|number| {
            let url = url.clone();
            std::thread::spawn(move || provider(&url).create(&order(number)))
        })
        .collect();
    for node in nodes {
        node.join().unwrap().unwrap();
    }
    let machine = ResourceKind::Machine;
    assert_eq!(
        cloud.kinds(),
        [machine, machine, machine, ResourceKind::Firewall, ResourceKind::Key]
    );
    cloud.clear();
}
