//! The whole life of machines: ordered, seen, listed, deleted, with nothing left.

use crate::fixture::{A100, Cloud, OWNER, V100, order, reference, resource};
use nvbind_cloud::catalog::Market;
use nvbind_cloud::provider::{MachineState, Order, Provider, ResourceKind, TAG_DEPLOYMENT, TAG_OWNER, TAG_TOKEN};
use nvbind_testkit::wait_until;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The body of the order that the emulator has seen last.
fn body(cloud: &Cloud) -> Value {
    let log = cloud.emulator.log();
    let insert = log.iter().rfind(|call| call["call"] == "instances.insert");
    insert.unwrap()["body"].clone()
}

#[test]
fn a_spot_machine_lives_and_leaves_nothing() {
    let mut cloud = Cloud::start();
    let order = order(V100, Market::Spot);
    let start = Instant::now();
    let ordered = cloud.gcp.create(&order).unwrap();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!(
        (ordered.name.as_str(), ordered.region.as_str()),
        (order.name.as_str(), "us-central1")
    );
    assert_eq!(
        (ordered.instance_type.as_str(), ordered.market),
        (V100, Some(Market::Spot))
    );

    let running = cloud.wait_for(&order, MachineState::Running);
    assert!(
        running
            .address
            .as_ref()
            .is_some_and(|address| address.starts_with("192.0.2."))
    );
    assert!(
        running
            .private_address
            .as_ref()
            .is_some_and(|address| address.starts_with("10.128."))
    );
    assert!(running.created_at.is_some() && !running.is_interrupted);
    assert_eq!((running.id.clone(), running.zone.clone()), (ordered.id, ordered.zone));

    let list = cloud.gcp.list(OWNER, &["us-central1".to_owned()]).unwrap();
    let kinds: Vec<_> = list.iter().map(|resource| resource.kind).collect();
    assert_eq!(
        kinds,
        [ResourceKind::Machine, ResourceKind::Firewall, ResourceKind::Firewall],
        "{list:?}"
    );
    assert!(
        list.iter()
            .all(|resource| resource.tags[TAG_OWNER] == OWNER && resource.tags[TAG_DEPLOYMENT] == "train")
    );
    assert_eq!(list[0].tags[TAG_TOKEN], order.token);
    assert_eq!(
        (list[0].instance_type.as_deref(), list[0].market),
        (Some(V100), Some(Market::Spot))
    );
    assert_eq!(cloud.gcp.list("fedcba9876543210", &[]).unwrap(), []);
    assert!(
        cloud
            .gcp
            .list(OWNER, &["us-east1".to_owned()])
            .unwrap()
            .iter()
            .all(|found| found.kind == ResourceKind::Firewall)
    );

    for resource in &list {
        cloud.gcp.delete(resource).unwrap();
    }
    cloud.wait_until_gone(&order);
    wait_until("the end of everything", || cloud.emulator.everything().is_empty());
    for resource in &list {
        cloud.gcp.delete(resource).unwrap();
    }
    assert_eq!(cloud.gcp.list(OWNER, &[]).unwrap(), []);
}

#[test]
fn a_machine_on_demand_ends_by_itself() {
    let mut cloud = Cloud::start();
    let order = Order {
        zone: Some("us-central1-b".to_owned()),
        max_run_seconds: Some(30),
        ..order(A100, Market::OnDemand)
    };
    let machine = cloud.gcp.create(&order).unwrap();
    assert_eq!(
        (machine.zone.as_deref(), machine.market),
        (Some("us-central1-b"), Some(Market::OnDemand))
    );
    assert_eq!(machine.instance_type, A100);
    let body = body(&cloud);
    assert_eq!(body["scheduling"]["maxRunDuration"], json!({"seconds": "30"}));
    assert_eq!(body["scheduling"]["instanceTerminationAction"], "DELETE");
    assert_eq!(body["scheduling"]["provisioningModel"], "STANDARD");
    cloud.gcp.delete(&resource(&machine)).unwrap_or_else(|_| {
        cloud.wait_for(&order, MachineState::Running);
        cloud.gcp.delete(&resource(&machine)).unwrap();
    });
    cloud.delete_all();
}

#[test]
fn what_nobody_deletes_is_deleted_by_google() {
    let mut cloud = Cloud::start();
    // The shortest time that Google takes is half a minute; the emulator is told of a shorter one by hand.
    let order = order(A100, Market::Spot);
    cloud.gcp.create(&order).unwrap();
    let mut body = body(&cloud);
    body["name"] = json!("short-lived");
    body["scheduling"]["maxRunDuration"] = json!({"seconds": "1"});
    cloud
        .emulator
        .post("/compute/v1/projects/nvbind-test/zones/us-central1-a/instances", &body);
    let is_there = |cloud: &Cloud| {
        cloud
            .emulator
            .everything()
            .iter()
            .any(|thing| thing["name"] == "short-lived")
    };
    assert!(is_there(&cloud));
    wait_until("the end of its time", || !is_there(&cloud));
    assert_eq!(cloud.emulator.machines().len(), 1);
}

#[test]
fn an_order_says_all_that_a_machine_needs() {
    let mut cloud = Cloud::start();
    let order = order(V100, Market::Spot);
    let zone = cloud.gcp.create(&order).unwrap().zone.unwrap();
    let body = body(&cloud);
    assert_eq!(body["machineType"], format!("zones/{zone}/machineTypes/n1-highmem-8"));
    let gpus =
        json!([{"acceleratorType": format!("zones/{zone}/acceleratorTypes/nvidia-tesla-v100"), "acceleratorCount": 1}]);
    assert_eq!(body["guestAccelerators"], gpus);
    assert_eq!(
        body["scheduling"],
        json!({"provisioningModel": "SPOT", "instanceTerminationAction": "DELETE", "onHostMaintenance": "TERMINATE",
               "automaticRestart": false, "maxRunDuration": {"seconds": "86400"}})
    );
    let labels = json!({"nvbind-owner": OWNER, "nvbind-deployment": "train", "nvbind-node": "0",
                        "nvbind-attempt": order.attempt.to_string(), "nvbind-token": order.token});
    assert_eq!(
        (&body["labels"], &body["disks"][0]["initializeParams"]["labels"]),
        (&labels, &labels)
    );
    assert_eq!(body["disks"][0]["autoDelete"], true);
    assert_eq!(body["disks"][0]["initializeParams"]["diskSizeGb"], "100");
    let items = body["metadata"]["items"].as_array().unwrap();
    let item = |key: &str| items.iter().find(|item| item["key"] == key).unwrap()["value"].clone();
    assert_eq!(
        item("ssh-keys"),
        "nvbind:ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIexample nvbind"
    );
    assert_eq!(
        (item("enable-oslogin"), item("block-project-ssh-keys")),
        (json!("FALSE"), json!("TRUE"))
    );
    assert_eq!(body.get("serviceAccounts"), None);
    // The token as Google wants it, beside the name that nothing else has.
    let log = cloud.emulator.log();
    let insert = log.iter().find(|call| call["call"] == "instances.insert").unwrap();
    assert_eq!(insert["requestId"].as_str().unwrap().replace('-', ""), order.token);
}

#[test]
fn newer_machines_get_the_disk_and_the_network_card_that_they_take() {
    let mut cloud = Cloud::start();
    for (instance_type, disk, card) in [
        ("g2-standard-4", "pd-balanced", None),
        ("a2-ultragpu-1g", "pd-balanced", None),
        ("a3-highgpu-1g", "pd-balanced", Some("GVNIC")),
        ("a3-ultragpu-8g", "hyperdisk-balanced", Some("GVNIC")),
        ("g4-standard-48", "hyperdisk-balanced", Some("GVNIC")),
        ("a4-highgpu-8g", "hyperdisk-balanced", Some("GVNIC")),
    ] {
        let machine = cloud.gcp.create(&order(instance_type, Market::Spot)).unwrap();
        assert_eq!(machine.instance_type, instance_type);
        let body = body(&cloud);
        let kind = body["disks"][0]["initializeParams"]["diskType"].as_str().unwrap();
        assert!(kind.ends_with(&format!("/{disk}")), "{instance_type}: {kind}");
        assert_eq!(
            body["networkInterfaces"][0]["nicType"].as_str(),
            card,
            "{instance_type}"
        );
        assert_eq!(body.get("guestAccelerators"), None, "{instance_type}");
    }
}

#[test]
fn the_firewall_lets_in_whom_the_order_names_and_nobody_else() {
    let mut cloud = Cloud::start();
    let rule = |cloud: &Cloud, name: &str| {
        let all = cloud.emulator.everything();
        let found = all
            .iter()
            .find(|thing| thing["kind"] == "firewall" && thing["name"] == name);
        found.map(|rule| rule["detail"].clone())
    };
    let closed = Order {
        allow_from: Vec::new(),
        ..order(A100, Market::Spot)
    };
    cloud.gcp.create(&closed).unwrap();
    assert_eq!(rule(&cloud, "nvbind-01234567-train-ssh"), None);

    let first = order(A100, Market::Spot);
    cloud.gcp.create(&first).unwrap();
    let ssh = rule(&cloud, "nvbind-01234567-train-ssh").unwrap();
    assert_eq!(ssh["sourceRanges"], json!(["198.51.100.7/32"]));
    assert_eq!(ssh["allowed"], json!([{"IPProtocol": "tcp", "ports": ["22"]}]));
    assert_eq!(ssh["targetTags"], json!(["nvbind-01234567-train"]));
    let inside = rule(&cloud, "nvbind-01234567-train-all").unwrap();
    assert_eq!(
        (&inside["sourceTags"], &inside["targetTags"]),
        (&ssh["targetTags"], &ssh["targetTags"])
    );
    assert_eq!(body(&cloud)["tags"]["items"], ssh["targetTags"]);

    // The user has a new address by now.
    let moved = Order {
        allow_from: vec!["203.0.113.9/32".to_owned()],
        ..order(A100, Market::Spot)
    };
    cloud.gcp.create(&moved).unwrap();
    assert_eq!(
        rule(&cloud, "nvbind-01234567-train-ssh").unwrap()["sourceRanges"],
        json!(["203.0.113.9/32"])
    );
    assert_eq!(cloud.emulator.calls("firewalls.insert"), 2);
}

#[test]
fn what_was_left_behind_is_found_and_deleted() {
    let mut cloud = Cloud::start();
    let labels = json!({"nvbind-owner": OWNER, "nvbind-deployment": "old"});
    let base = "/compute/v1/projects/nvbind-test";
    let disk = json!({"name": "left-disk", "sizeGb": "100", "labels": labels});
    cloud
        .emulator
        .post(&format!("{base}/zones/europe-west4-a/disks"), &disk);
    let address = json!({"name": "left-address", "labels": labels});
    cloud
        .emulator
        .post(&format!("{base}/regions/europe-west4/addresses"), &address);
    let foreign = json!({"name": "nvbind-01234567-other-ssh", "description": "nvbind-owner=01234567ffffffff", "network": "global/networks/default"});
    cloud.emulator.post(&format!("{base}/global/firewalls"), &foreign);

    let list = cloud.gcp.list(OWNER, &["europe-west4".to_owned()]).unwrap();
    let found: Vec<_> = list
        .iter()
        .map(|resource| (resource.kind, resource.name.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            (ResourceKind::Disk, "left-disk"),
            (ResourceKind::Address, "left-address")
        ]
    );
    for resource in &list {
        cloud.gcp.delete(resource).unwrap();
    }
    wait_until("the end of both", || cloud.emulator.everything().len() == 1);
    assert_eq!(cloud.emulator.everything()[0]["name"], "nvbind-01234567-other-ssh");
}

#[test]
fn lists_of_many_pages_are_read_to_their_end() {
    let mut cloud = Cloud::with(&[("NVBIND_EMULATED_PAGE", "2")]);
    let orders: Vec<_> = (0..5).map(|_| order(A100, Market::Spot)).collect();
    for order in &orders {
        cloud.gcp.create(order).unwrap();
    }
    let list = cloud.gcp.list(OWNER, &[]).unwrap();
    let machines = list.iter().filter(|found| found.kind == ResourceKind::Machine).count();
    assert_eq!((machines, list.len()), (5, 7));
    for order in &orders {
        assert!(cloud.gcp.describe(&reference(order)).unwrap().is_some());
    }
}

#[test]
fn a_zone_is_chosen_among_those_that_have_the_machine() {
    let mut cloud = Cloud::start();
    for _ in 0..6 {
        let order = Order {
            region: "us-east1".to_owned(),
            ..order(V100, Market::Spot)
        };
        // Of b, c and d only c has V100s.
        assert_eq!(cloud.gcp.create(&order).unwrap().zone.as_deref(), Some("us-east1-c"));
    }
    assert_eq!(cloud.emulator.calls("machineTypes.aggregatedList"), 1);
}
