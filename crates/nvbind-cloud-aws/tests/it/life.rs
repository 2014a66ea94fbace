//! From the order to nothing left.

use super::*;
use nvbind_cloud::provider::{ErrorClass, TAG_DEPLOYMENT, TAG_TOKEN};
use serde_json::json;

#[test]
fn on_demand_from_the_order_to_nothing_left() {
    let mut cloud = Cloud::start();
    let order = order(1);
    let machine = cloud.create(&order);
    assert_eq!(
        (machine.state, machine.market),
        (MachineState::Pending, Some(Market::OnDemand))
    );
    assert_eq!((machine.name.as_str(), machine.region.as_str()), ("train-0-1", REGION));
    assert!(machine.created_at.is_some());

    let running = cloud.wait_for(&made(&order, &machine), MachineState::Running);
    assert!(
        running.address.is_some() && running.private_address.is_some(),
        "{running:?}"
    );
    assert_eq!((running.ended_because, running.is_interrupted), (None, false));

    let seen = &cloud.emulator.machines()[0];
    assert_eq!(seen["shutdown"], "terminate");
    assert_eq!(seen["imds"], "required");
    assert_eq!(seen["disk_gib"], json!([100]));
    assert_eq!(
        cloud.kinds(),
        [ResourceKind::Machine, ResourceKind::Firewall, ResourceKind::Key]
    );
    for thing in cloud.emulator.everything() {
        assert_eq!(thing["tags"][TAG_OWNER], OWNER, "{thing}");
        assert_eq!(thing["tags"][TAG_DEPLOYMENT], "train", "{thing}");
        if ["machine", "disk", "network-interface"].contains(&thing["kind"].as_str().unwrap()) {
            assert_eq!(thing["tags"][TAG_TOKEN], order.token.as_str(), "{thing}");
        }
    }

    let group = cloud.list().into_iter().find(|one| one.kind == ResourceKind::Firewall);
    let refusal = cloud.aws.delete(&group.unwrap()).unwrap_err();
    assert_eq!(
        (refusal.class, refusal.is_ambiguous),
        (ErrorClass::Transient, false),
        "{refusal:?}"
    );

    cloud.aws.delete(&resource(&machine)).unwrap();
    let gone = cloud.wait_for(&made(&order, &machine), MachineState::Gone);
    assert!(gone.ended_because.is_some() && !gone.is_interrupted, "{gone:?}");
    assert_eq!(cloud.kinds(), [ResourceKind::Firewall, ResourceKind::Key]);
    cloud.aws.delete(&resource(&machine)).unwrap();
    cloud.clear();
}

#[test]
fn a_spot_machine_that_is_taken_back_says_so() {
    let mut cloud = Cloud::start();
    let order = spot_order(1);
    let machine = cloud.create(&order);
    assert_eq!(machine.market, Some(Market::Spot));
    // The request for it has been cancelled: nothing is left of it beside the machine.
    assert_eq!(
        cloud.kinds(),
        [ResourceKind::Machine, ResourceKind::Firewall, ResourceKind::Key]
    );

    cloud.wait_for(&made(&order, &machine), MachineState::Running);
    cloud.emulator.interrupt(&machine.id, 0.5);
    let gone = cloud.wait_for(&made(&order, &machine), MachineState::Gone);
    assert!(gone.is_interrupted, "{gone:?}");
    assert!(gone.ended_because.unwrap().contains("SpotInstanceTermination"));
    cloud.clear();
}

#[test]
fn a_machine_that_dies_silently_was_not_interrupted() {
    let mut cloud = Cloud::start();
    let order = spot_order(1);
    let machine = cloud.create(&order);
    cloud.emulator.kill(&machine.id);
    let gone = cloud.wait_for(&made(&order, &machine), MachineState::Gone);
    assert!(!gone.is_interrupted, "{gone:?}");
    cloud.clear();
}

#[test]
fn a_spot_request_that_could_not_be_cancelled_is_listed_and_can_go() {
    let mut cloud = Cloud::start();
    let rule = json!({"call": "CancelSpotInstanceRequests", "status": 403, "code": "UnauthorizedOperation"});
    cloud.emulator.rule(&rule);
    let machine = cloud.create(&spot_order(1));
    let requests = cloud.list().into_iter();
    let request = requests
        .into_iter()
        .find(|one| one.kind == ResourceKind::SpotRequest)
        .unwrap();
    assert_eq!(request.tags[TAG_OWNER], OWNER);
    cloud.aws.delete(&request).unwrap();
    cloud.aws.delete(&request).unwrap();
    assert_eq!(cloud.emulator.machines()[0]["id"], machine.id.as_str());
    assert!(!cloud.kinds().contains(&ResourceKind::SpotRequest));
    cloud.clear();
}

#[test]
fn the_zone_is_the_orders_and_the_image_fits_the_machine() {
    let mut cloud = Cloud::start();
    let zoned = Order {
        zone: Some("us-east-1b".to_owned()),
        ..order(1)
    };
    assert_eq!(cloud.create(&zoned).zone.as_deref(), Some("us-east-1b"));
    let arm = Order {
        instance_type: "g5g.xlarge".to_owned(),
        disk_gib: 8,
        ..order(2)
    };
    cloud.create(&arm);
    let machines = cloud.emulator.machines();
    assert_eq!(machines[0]["image"], "ami-0a11ce00000000001");
    assert_eq!(machines[1]["image"], "ami-0a11ce00000000002");
    // No disk is smaller than the image on it.
    assert_eq!(machines[1]["disk_gib"], json!([35]));
    cloud.clear();
}

#[test]
fn ssh_is_open_to_the_networks_of_the_newest_order_and_members_see_each_other() {
    let mut cloud = Cloud::start();
    cloud.create(&order(1));
    let rules = |cloud: &Cloud| {
        let things = cloud.emulator.everything();
        let group = things.iter().find(|thing| thing["kind"] == "firewall").unwrap().clone();
        let mut rules: Vec<String> = group["rules"]
            .as_array()
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        rules.sort();
        rules
    };
    assert_eq!(
        rules(&cloud),
        [r#"["-1",null,"",true]"#, r#"["tcp",22,"198.51.100.0/24",false]"#]
    );
    let moved = Order {
        allow_from: vec!["203.0.113.7/32".to_owned()],
        ..order(2)
    };
    cloud.create(&moved);
    assert_eq!(
        rules(&cloud),
        [r#"["-1",null,"",true]"#, r#"["tcp",22,"203.0.113.7/32",false]"#]
    );
    cloud.clear();
}

#[test]
fn what_another_nvbind_made_is_not_listed() {
    let mut cloud = Cloud::start();
    let theirs = Order {
        owner: "fedcba9876543210".to_owned(),
        ..order(1)
    };
    cloud.create(&theirs);
    assert_eq!(cloud.list(), []);
    assert_eq!(cloud.aws.list(&theirs.owner, &[REGION.to_owned()]).unwrap().len(), 3);
}

#[test]
fn a_machine_in_any_region_is_found_where_no_region_is_named() {
    let mut cloud = Cloud::start();
    let far = Order {
        region: "us-west-2".to_owned(),
        ..order(1)
    };
    cloud.create(&far);
    let found = cloud.aws.list(OWNER, &[]).unwrap();
    assert!(
        !found.is_empty() && found.iter().all(|one| one.region == "us-west-2"),
        "{found:?}"
    );
}

#[test]
fn shared_parts_that_were_removed_meanwhile_are_made_anew() {
    let mut cloud = Cloud::start();
    let machine = cloud.create(&order(1));
    cloud.aws.delete(&resource(&machine)).unwrap();
    cloud.clear();
    let machine = cloud.create(&order(2));
    assert_eq!(cloud.emulator.machines()[0]["id"], machine.id.as_str());
    assert_eq!(
        cloud.kinds(),
        [ResourceKind::Machine, ResourceKind::Firewall, ResourceKind::Key]
    );
    cloud.clear();
}
