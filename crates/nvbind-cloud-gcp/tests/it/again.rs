//! The same order again never makes a second machine, whatever was lost in between.

use crate::fixture::{A100, Cloud, OWNER, order, reference, resource};
use nvbind_cloud::catalog::Market;
use nvbind_cloud::provider::{ErrorClass, MachineState, Order, Provider};
use serde_json::json;

/// An answer that is lost each time that it is asked for.
fn lose_answers(cloud: &Cloud, call: &str) {
    cloud
        .emulator
        .rule(&json!({"call": call, "when": "after", "do": "drop", "count": 3}));
}

#[test]
fn the_same_order_finds_the_same_machine() {
    let mut cloud = Cloud::start();
    let order = order(A100, Market::Spot);
    let first = cloud.gcp.create(&order).unwrap();
    let second = cloud.gcp.create(&order).unwrap();
    cloud.restart();
    let third = cloud.gcp.create(&order).unwrap();
    assert_eq!((&first.id, &first.zone), (&second.id, &second.zone));
    assert_eq!((&first.id, &first.zone), (&third.id, &third.zone));
    assert_eq!(cloud.emulator.machines().len(), 1);
}

#[test]
fn a_single_lost_answer_is_asked_for_again() {
    let mut cloud = Cloud::start();
    cloud
        .emulator
        .rule(&json!({"call": "instances.insert", "when": "after", "do": "drop"}));
    cloud.gcp.create(&order(A100, Market::Spot)).unwrap();
    assert_eq!(
        (
            cloud.emulator.machines().len(),
            cloud.emulator.calls("instances.insert")
        ),
        (1, 2)
    );
}

#[test]
fn a_machine_whose_answer_was_lost_is_found() {
    let mut cloud = Cloud::start();
    let order = order(A100, Market::Spot);
    lose_answers(&cloud, "instances.insert");
    let error = cloud.gcp.create(&order).unwrap_err();
    assert_eq!(
        (error.class, error.is_ambiguous),
        (ErrorClass::Transient, true),
        "{error:?}"
    );
    cloud.restart();
    let found = cloud.wait_for(&order, MachineState::Running);
    assert_eq!(cloud.gcp.create(&order).unwrap().id, found.id);
    assert_eq!(cloud.emulator.machines().len(), 1);
}

#[test]
fn a_machine_that_lists_do_not_show_yet_is_not_made_twice() {
    let mut cloud = Cloud::with(&[("NVBIND_EMULATED_INVISIBLE_SECONDS", "2")]);
    let order = order(A100, Market::Spot);
    lose_answers(&cloud, "instances.insert");
    assert!(cloud.gcp.create(&order).unwrap_err().is_ambiguous);
    let again = cloud.gcp.create(&order).unwrap();
    assert_eq!(cloud.emulator.machines().len(), 1);
    assert_eq!(cloud.wait_for(&order, MachineState::Running).id, again.id);
}

#[test]
fn an_order_that_is_still_being_carried_out_is_pending() {
    let mut cloud = Cloud::with(&[("NVBIND_EMULATED_PENDING_SECONDS", "60")]);
    let order = order(A100, Market::Spot);
    lose_answers(&cloud, "instances.insert");
    assert!(cloud.gcp.create(&order).unwrap_err().is_ambiguous);
    // Nothing of it can be seen yet but the order.
    let hidden = json!({"do": "error", "status": 404, "code": "notFound", "message": "was not found", "count": -1});
    for call in ["instances.get", "instances.delete"] {
        let mut rule = hidden.clone();
        rule["call"] = json!(call);
        cloud.emulator.rule(&rule);
    }
    let placed = Order {
        zone: cloud.describe(&order).unwrap().zone,
        ..order
    };
    let pending = cloud.describe(&placed).unwrap();
    assert_eq!((pending.state, &pending.id), (MachineState::Pending, &placed.name));
    let error = cloud.gcp.delete(&resource(&pending)).unwrap_err();
    let found = (error.class, error.code.as_str());
    assert_eq!(found, (ErrorClass::Transient, "resourceNotReady"), "{error:?}");
}

#[test]
fn a_machine_that_lists_do_not_show_is_found_and_deleted_without_its_zone() {
    let mut cloud = Cloud::with(&[("NVBIND_EMULATED_INVISIBLE_SECONDS", "600")]);
    let order = order(A100, Market::Spot);
    lose_answers(&cloud, "instances.insert");
    assert!(cloud.gcp.create(&order).unwrap_err().is_ambiguous);
    let running = cloud.wait_for(&order, MachineState::Running);
    let unplaced = nvbind_cloud::provider::Resource {
        zone: None,
        ..resource(&running)
    };
    cloud.gcp.delete(&unplaced).unwrap();
    cloud.wait_until_gone(&order);
    assert!(cloud.emulator.machines().is_empty());
}

#[test]
fn a_name_that_is_ours_is_found_without_its_request() {
    let mut cloud = Cloud::start();
    let order = Order {
        zone: Some("us-central1-a".to_owned()),
        ..order(A100, Market::Spot)
    };
    let first = cloud.gcp.create(&order).unwrap();
    // As Google answers once it has forgotten the request, after some time.
    let taken = json!({"call": "instances.insert", "do": "error", "status": 409, "code": "alreadyExists", "message": "already exists"});
    cloud.emulator.rule(&taken);
    let second = cloud.gcp.create(&order).unwrap();
    assert_eq!((first.id, first.created_at), (second.id, second.created_at));
    assert_eq!(cloud.emulator.machines().len(), 1);
}

#[test]
fn a_name_that_is_another_orders_is_refused() {
    let mut cloud = Cloud::start();
    let first = Order {
        zone: Some("us-central1-a".to_owned()),
        ..order(A100, Market::Spot)
    };
    cloud.gcp.create(&first).unwrap();
    let second = Order {
        name: first.name.clone(),
        zone: first.zone.clone(),
        ..order(A100, Market::Spot)
    };
    let error = cloud.gcp.create(&second).unwrap_err();
    assert_eq!(
        (error.class, error.is_ambiguous),
        (ErrorClass::Invalid, false),
        "{error:?}"
    );
    assert_eq!(cloud.emulator.machines().len(), 1);
}

#[test]
fn two_programs_with_the_same_order_make_one_machine_and_one_firewall() {
    let mut cloud = Cloud::start();
    let orders: Vec<Order> = (0..4)
        .map(|node| Order {
            node,
            ..order(A100, Market::Spot)
        })
        .collect();
    let ids: Vec<_> = std::thread::scope(|scope| {
        let workers = orders.iter().chain(&orders).map(|order| {
            let command = crate::fixture::program(&cloud.emulator);
            scope.spawn(move || {
                let mut gcp = nvbind_cloud::provider::Remote::start(command).unwrap();
                gcp.create(order).unwrap().id
            })
        });
        let workers: Vec<_> = workers.collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    assert_eq!(ids[..4], ids[4..]);
    assert_eq!(cloud.emulator.machines().len(), 4);
    assert_eq!(cloud.gcp.list(OWNER, &[]).unwrap().len(), 6);
    cloud.delete_all();
}

#[test]
fn a_deleted_machine_stays_deleted_when_the_answer_is_lost() {
    let mut cloud = Cloud::start();
    let order = order(A100, Market::Spot);
    cloud.gcp.create(&order).unwrap();
    let machine = cloud.wait_for(&order, MachineState::Running);
    lose_answers(&cloud, "instances.delete");
    let error = cloud.gcp.delete(&resource(&machine)).unwrap_err();
    assert_eq!(
        (error.class, error.is_ambiguous),
        (ErrorClass::Transient, true),
        "{error:?}"
    );
    cloud.gcp.delete(&resource(&machine)).unwrap();
    cloud.wait_until_gone(&order);
    assert_eq!(cloud.gcp.describe(&reference(&order)).unwrap(), None);
    assert_eq!(cloud.emulator.machines().len(), 0);
}
