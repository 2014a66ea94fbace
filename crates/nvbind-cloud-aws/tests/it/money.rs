//! Prices, quotas, the bill.

use super::*;
use nvbind_cloud::provider::{ErrorClass, LivePrice, PriceQuery};
use serde_json::json;
use std::time::SystemTime;

fn prices(cloud: &mut Cloud, regions: &[&str], instance_types: &[&str]) -> Vec<LivePrice> {
    let text = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    let query = PriceQuery {
        regions: text(regions),
        instance_types: text(instance_types),
    };
    cloud.aws.prices(&query).unwrap_or_else(|error| panic!("{error:?}"))
}

#[test]
fn prices_are_those_of_plain_linux_machines_that_are_sold() {
    let mut cloud = Cloud::start();
    let found = prices(
        &mut cloud,
        &[REGION, "us-west-2"],
        &["p4d.24xlarge", "g5.xlarge", "p3.2xlarge"],
    );
    let fixed = |name: &str, region: &str| {
        let is_it = |price: &&LivePrice| price.instance_type == name && price.region == region && price.zone.is_none();
        let mut found = found.iter().filter(is_it).map(|price| price.usd_h);
        (found.next(), found.next())
    };
    assert_eq!(fixed("p4d.24xlarge", REGION), (Some(21.9576), None));
    assert_eq!(fixed("g5.xlarge", REGION), (Some(1.006), None));
    assert_eq!(fixed("g5.xlarge", "us-west-2"), (Some(1.1066), None));
    // Retired: it still has a price, but nobody sells it.
    assert!(
        found.iter().all(|price| price.instance_type != "p3.2xlarge"),
        "{found:?}"
    );

    let spot: Vec<_> = found.iter().filter(|price| price.market == Market::Spot).collect();
    assert!(spot.len() > 6, "{found:?}");
    for price in spot {
        let (fixed, _) = fixed(&price.instance_type, &price.region);
        // At the price on demand there is none.
        assert!(price.usd_h < fixed.unwrap() && price.zone.is_some(), "{price:?}");
    }
}

#[test]
fn prices_of_many_types_come_page_by_page() {
    let mut cloud = Cloud::start();
    let catalog = nvbind_cloud::catalog::Catalog::embedded().unwrap();
    let aws = catalog.instances().iter().filter(|one| one.provider.as_str() == "aws");
    let names: Vec<&str> = aws.map(|one| one.instance_type.as_str()).collect();
    let found = prices(&mut cloud, &[REGION], &names);
    let spot = found.iter().filter(|price| price.market == Market::Spot).count();
    assert!(spot > 100, "{spot}");
    assert!(cloud.emulator.calls("DescribeSpotPriceHistory") > 2);
}

#[test]
fn quotas_count_what_runs_and_a_launch_above_them_is_refused_by_name() {
    let mut cloud = Cloud::start();
    cloud.emulator.post(
        "/_x/quota",
        &json!({"region": REGION, "code": "L-417A185B", "value": 100}),
    );
    let machine = cloud.create(&order(1));
    cloud.wait_for(&made(&order(1), &machine), MachineState::Running);
    cloud.create(&spot_order(2));

    let quotas = cloud.aws.quotas(REGION).unwrap();
    let quota = |name: &str| quotas.iter().find(|quota| quota.name == name).unwrap();
    let on_demand = quota("L-417A185B");
    assert_eq!((on_demand.limit, on_demand.used, on_demand.left()), (100.0, 96.0, 4.0));
    assert!(on_demand.instance_types.contains(&"p5.48xlarge".to_owned()));
    assert_eq!(quota("L-7212CCBC").used, 96.0);
    assert_eq!(quota("L-3819A6DF").used, 0.0);
    assert!(
        quotas.iter().all(|quota| quota.name != "L-1216C47A"),
        "none of our types is a standard one"
    );

    let refusal = cloud.aws.create(&order(3)).unwrap_err();
    let need = refusal.quota.unwrap();
    assert_eq!(refusal.class, ErrorClass::Quota);
    assert_eq!(
        (need.name.as_str(), need.limit, need.need),
        ("L-417A185B", Some(100.0), Some(96.0))
    );
    cloud.clear();
}

#[test]
fn the_bill_is_by_deployment_and_day() {
    let mut cloud = Cloud::start();
    let machine = cloud.create(&order(1));
    cloud.wait_for(&made(&order(1), &machine), MachineState::Running);
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let lines = cloud.aws.bill(OWNER, now - 3 * 86_400, now).unwrap();
    assert!(!lines.is_empty());
    for line in &lines {
        assert_eq!((line.deployment.as_str(), line.day % 86_400), ("train", 0), "{line:?}");
        assert!(
            line.usd > 0.0 && line.usd < 1.0 && now - line.day < 2 * 86_400,
            "{line:?}"
        );
    }
    assert_eq!(cloud.aws.bill("somebody-else", now - 86_400, now), Ok(Vec::new()));
}
