//! A machine from its order to its end.

use crate::cloud::{Cloud, REGION, azure, by_name, order, refusal, spot};
use nvbind_cloud::catalog::Market;
use nvbind_cloud::provider::{
    ErrorClass, MachineState, Order, Provider, Resource, ResourceKind, TAG_DEPLOYMENT, TAG_OWNER, TAG_TOKEN,
};
use nvbind_testkit::wait_until;
use serde_json::json;
use std::time::Instant;

/// The kinds of all that is listed, sorted: firewall and network are made side by side.
fn kinds(cloud: &mut Cloud) -> Vec<ResourceKind> {
    let mut kinds: Vec<ResourceKind> = cloud.list().into_iter().map(|resource| resource.kind).collect();
    kinds.sort();
    kinds
}

#[test]
fn a_machine_on_demand_is_made_found_and_leaves_nothing() {
    let mut cloud = Cloud::start();
    let order = order(1);
    let start = Instant::now();
    let made = cloud.create(&order);
    eprintln!("first machine of a deployment: {:?}", start.elapsed());
    assert_eq!(
        (made.state, made.name.as_str()),
        (MachineState::Pending, "nvbind-train-0-1")
    );
    let running = cloud.wait_for(&order, MachineState::Running);
    assert_eq!(running.id, made.id);
    assert!(
        running
            .address
            .as_deref()
            .is_some_and(|address| address.starts_with("192.0.2.")),
        "{running:?}"
    );
    assert!(
        running
            .private_address
            .as_deref()
            .is_some_and(|address| address.starts_with("10.71."))
    );
    assert_eq!(
        (running.market, running.region.as_str(), running.zone.as_deref()),
        (Some(Market::OnDemand), REGION, None)
    );
    assert!(running.created_at.is_some() && !running.is_interrupted && running.ended_because.is_none());
    let mut reference = by_name(&order);
    reference.id = Some(made.id.clone());
    assert_eq!(cloud.azure.describe(&reference), Ok(Some(running)));

    let listed = cloud.list();
    use ResourceKind::{Address, Disk, Firewall, Group, Machine, Network, NetworkInterface};
    assert_eq!(
        kinds(&mut cloud),
        [Machine, Disk, Address, NetworkInterface, Firewall, Network, Group]
    );
    for resource in &listed {
        assert_eq!(
            resource.tags.get(TAG_DEPLOYMENT).map(String::as_str),
            Some("train"),
            "{resource:?}"
        );
        assert!(
            resource.tags.contains_key(TAG_OWNER) && resource.region == REGION,
            "{resource:?}"
        );
    }
    let machine = &listed[0];
    assert_eq!(machine.tags.get(TAG_TOKEN), Some(&order.token));
    assert_eq!(
        (machine.state, machine.market),
        (Some(MachineState::Running), Some(Market::OnDemand))
    );

    cloud.azure.delete(machine).unwrap();
    assert!(
        cloud
            .describe(&order)
            .is_none_or(|machine| machine.state == MachineState::Stopping)
    );
    wait_until("the end of the machine", || cloud.describe(&order).is_none());
    let left = kinds(&mut cloud);
    assert_eq!(
        left,
        [Firewall, Network, Group],
        "disk, address and interface go with the machine"
    );
    cloud.azure.delete(machine).unwrap();
    assert_eq!(cloud.delete_all(), 0);
}

#[test]
fn a_spot_machine_is_evicted_with_all_that_is_its() {
    let mut cloud = Cloud::start();
    let order = spot(1);
    cloud.create(&order);
    let running = cloud.wait_for(&order, MachineState::Running);
    assert_eq!(
        (running.market, running.zone.as_deref()),
        (Some(Market::Spot), Some("2"))
    );
    cloud.emulator.post(
        "/_x/defer",
        &json!({ "name": "DELETE virtualMachines", "seconds": 1.0 }),
    );
    cloud.emulator.interrupt(&running.id, 0.2);
    let going = cloud.wait_for(&order, MachineState::Stopping);
    assert!(going.is_interrupted && going.ended_because.is_some(), "{going:?}");
    wait_until("the eviction", || cloud.describe(&order).is_none());
    let left = kinds(&mut cloud);
    assert_eq!(
        left,
        [ResourceKind::Firewall, ResourceKind::Network, ResourceKind::Group]
    );
    assert_eq!(cloud.delete_all(), 0);
}

#[test]
fn machines_of_a_deployment_share_a_network_that_stays_while_one_uses_it() {
    let mut cloud = Cloud::start();
    cloud.create(&order(1));
    let start = Instant::now();
    cloud.create(&spot(2));
    eprintln!("second machine: {:?}", start.elapsed());
    assert_eq!(cloud.emulator.calls("PUT virtualNetworks"), 1);
    // Another process finds them made.
    azure(&cloud.emulator).create(&order(3)).unwrap();
    assert_eq!(cloud.of_kind(ResourceKind::Network).len(), 1);
    assert_eq!(cloud.of_kind(ResourceKind::Machine).len(), 3);
    for kind in [
        ResourceKind::Network,
        ResourceKind::Firewall,
        ResourceKind::NetworkInterface,
        ResourceKind::Address,
        ResourceKind::Disk,
        ResourceKind::Group,
    ] {
        let resource = cloud.of_kind(kind).remove(0);
        let error = cloud.azure.delete(&resource).unwrap_err();
        assert_eq!(error.class, ErrorClass::Transient, "{kind:?}: {error}");
    }
    assert_eq!(cloud.delete_all(), 0);
}

#[test]
fn what_is_left_is_given_back_piece_by_piece() {
    let mut cloud = Cloud::start();
    cloud.create(&order(1));
    let machine = cloud.of_kind(ResourceKind::Machine).remove(0);
    cloud.azure.delete(&machine).unwrap();
    wait_until("the end of the machine", || {
        cloud.of_kind(ResourceKind::Machine).is_empty()
    });
    for kind in [ResourceKind::Firewall, ResourceKind::Network, ResourceKind::Group] {
        let resource = cloud.of_kind(kind).remove(0);
        cloud.azure.delete(&resource).unwrap();
    }
    wait_until("the end of the group", || cloud.emulator.everything().is_empty());
    let unknown = Resource {
        kind: ResourceKind::Key,
        ..machine
    };
    assert_eq!(cloud.azure.delete(&unknown).unwrap_err().class, ErrorClass::Invalid);
}

#[test]
fn a_group_that_somebody_deleted_is_made_again() {
    let mut cloud = Cloud::start();
    cloud.create(&order(1));
    let mut other = azure(&cloud.emulator);
    for kind in [ResourceKind::Machine, ResourceKind::Group] {
        let resource = cloud.of_kind(kind).remove(0);
        other.delete(&resource).unwrap();
    }
    wait_until("the end of the group", || cloud.emulator.everything().is_empty());
    cloud.create(&order(2));
    cloud.wait_for(&order(2), MachineState::Running);
}

#[test]
fn a_group_on_its_way_out_is_no_lasting_fault() {
    let mut cloud = Cloud::start();
    cloud.create(&order(1));
    cloud.emulator.post(
        "/_x/defer",
        &json!({ "name": "DELETE virtualMachines", "seconds": 0.0 }),
    );
    let group = cloud.of_kind(ResourceKind::Group).remove(0);
    let machine = cloud.of_kind(ResourceKind::Machine).remove(0);
    cloud.azure.delete(&machine).unwrap();
    cloud.azure.delete(&group).unwrap();
    let mut answers = vec![cloud.azure.create(&order(2))];
    wait_until("the new group", || {
        if answers.last().is_some_and(Result::is_err) {
            answers.push(cloud.azure.create(&order(2)));
        }
        answers.last().is_some_and(Result::is_ok)
    });
    for error in answers.into_iter().filter_map(Result::err) {
        assert_eq!(error.class, ErrorClass::Transient, "{error:?}");
    }
    cloud.wait_for(&order(2), MachineState::Running);
}

fn for_seconds(attempt: u32, seconds: u64) -> Order {
    Order {
        max_run_seconds: Some(seconds),
        ..order(attempt)
    }
}

#[test]
fn a_machine_ends_by_itself_when_its_time_is_over() {
    let mut cloud = Cloud::start();
    let order = for_seconds(1, 3);
    cloud.create(&order);
    assert_eq!(
        cloud.emulator.calls("POST register"),
        1,
        "the service is registered with the subscription once"
    );
    let stopped = cloud.wait_for(&order, MachineState::Stopped);
    assert_eq!(
        (stopped.ended_because.as_deref(), stopped.is_interrupted),
        (Some("its time was over"), false)
    );
    // As the documentation says: disk and address stay, and are listed.
    assert_eq!(cloud.of_kind(ResourceKind::Disk).len(), 1);
    assert_eq!(
        cloud.of_kind(ResourceKind::Machine)[0].state,
        Some(MachineState::Stopped)
    );
    cloud.create(&for_seconds(2, 3600));
    assert_eq!(cloud.emulator.calls("POST register"), 1);
    assert_eq!(cloud.delete_all(), 0);
}

#[test]
fn a_machine_that_cannot_be_given_an_end_is_given_back() {
    let mut cloud = Cloud::start();
    let call = "POST virtualMachinesSubmitDeallocate";
    cloud.rule(&refusal(
        call,
        403,
        "AuthorizationFailed",
        "does not have authorization",
    ));
    let error = cloud.azure.create(&for_seconds(1, 3600)).unwrap_err();
    assert_eq!(
        (error.class, error.is_ambiguous),
        (ErrorClass::Permission, false),
        "{error:?}"
    );
    wait_until("the end of the machine", || cloud.emulator.machines().is_empty());

    cloud.rule(&refusal(call, 503, "ServiceUnavailable", "later"));
    let error = cloud.azure.create(&for_seconds(2, 3600)).unwrap_err();
    assert_eq!(
        (error.class, error.is_ambiguous),
        (ErrorClass::Transient, true),
        "{error:?}"
    );
    assert_eq!(cloud.emulator.machines().len(), 1);
    let again = cloud.create(&for_seconds(2, 3600));
    assert_eq!(again.name, "nvbind-train-0-2");
    assert_eq!(cloud.emulator.machines().len(), 1);
    assert_eq!(cloud.delete_all(), 0);
}

/// When an operation was first answered, in seconds since 1970.
fn first(cloud: &Cloud, call: &str) -> f64 {
    let log = cloud.emulator.log();
    let entry = log.iter().find(|entry| entry["call"] == call);
    entry
        .and_then(|entry| entry["at"].as_f64())
        .unwrap_or_else(|| panic!("no {call}: {log:#?}"))
}

#[test]
fn the_first_order_of_a_subscription_does_not_wait_for_the_registration() {
    let mut cloud = Cloud::start();
    let registration = 2.0;
    cloud.emulator.post(
        "/_x/defer",
        &json!({ "name": "POST register", "seconds": registration }),
    );
    cloud.create(&for_seconds(1, 3600));
    let begin = first(&cloud, "POST token");
    let (ordered, ended) = (
        first(&cloud, "PUT virtualMachines") - begin,
        first(&cloud, "POST virtualMachinesSubmitDeallocate") - begin,
    );
    eprintln!("accepted after {ordered:.3} s, its end set after {ended:.3} s");
    assert!(ordered < 1.0 && ended >= registration, "{:#?}", cloud.emulator.log());
    assert_eq!(cloud.delete_all(), 0);
}

#[test]
fn an_end_is_set_as_soon_as_the_service_knows_the_machine() {
    let mut cloud = Cloud::start();
    let mut rule = refusal(
        "POST virtualMachinesSubmitDeallocate",
        404,
        "ResourceNotFound",
        "The Resource was not found.",
    );
    rule["count"] = json!(3);
    cloud.rule(&rule);
    cloud.create(&for_seconds(1, 3600));
    assert_eq!(cloud.emulator.calls("POST virtualMachinesSubmitDeallocate"), 4);
    assert_eq!(cloud.emulator.machines().len(), 1);
    assert_eq!(cloud.delete_all(), 0);
}

#[test]
fn a_refusal_after_the_watch_is_in_the_description() {
    let mut cloud = Cloud::start();
    cloud
        .emulator
        .post("/_x/defer", &json!({ "name": "PUT virtualMachines", "seconds": 5.0 }));
    cloud.rule(&refusal(
        "operation PUT virtualMachines",
        0,
        "AllocationFailed",
        "no room",
    ));
    let made = cloud.create(&spot(1));
    assert_eq!(made.state, MachineState::Pending);
    let failed = cloud.wait_for(&spot(1), MachineState::Stopped);
    assert_eq!(
        (failed.ended_because.as_deref(), failed.is_interrupted),
        (Some("AllocationFailed: no room"), false)
    );
    // The same order again gives it back and says why.
    let error = cloud.azure.create(&spot(1)).unwrap_err();
    assert_eq!((error.class, error.is_ambiguous), (ErrorClass::NoCapacity, false));
    wait_until("the end of the machine", || cloud.describe(&spot(1)).is_none());
    assert_eq!(cloud.delete_all(), 0);
}
