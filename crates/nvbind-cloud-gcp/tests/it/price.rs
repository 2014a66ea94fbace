//! Prices, put together from a price list that is full of traps.

use crate::fixture::{Cloud, V100};
use nvbind_cloud::catalog::Market;
use nvbind_cloud::provider::{ErrorClass, PriceQuery, Provider};
use serde_json::json;

fn query(regions: &[&str], types: &[&str]) -> PriceQuery {
    PriceQuery {
        regions: regions.iter().map(ToString::to_string).collect(),
        instance_types: types.iter().map(ToString::to_string).collect(),
    }
}

/// The price of one type in one region, asked for alone.
fn price(cloud: &mut Cloud, region: &str, instance_type: &str, market: Market) -> Option<f64> {
    let prices = cloud.gcp.prices(&query(&[region], &[instance_type])).unwrap();
    let found: Vec<_> = prices.iter().filter(|price| price.market == market).collect();
    assert!(
        found.len() <= 1
            && prices
                .iter()
                .all(|price| price.zone.is_none() && price.at > 1_700_000_000)
    );
    found.first().map(|price| price.usd_h)
}

#[test]
fn prices_are_put_together_as_google_bills_them() {
    // A page of the list has few entries, so that more than one is read.
    let mut cloud = Cloud::with(&[("NVBIND_EMULATED_PAGE", "25")]);
    let expected = |cores: f64, ram: f64, gpus: f64| Some(((cores + ram + gpus) * 1e6).round() / 1e6);
    // The figures on the left are those of the embedded catalog, which come from others' lists.
    assert!((price(&mut cloud, "us-central1", "a2-highgpu-1g", Market::OnDemand).unwrap() - 3.6734).abs() < 1e-3);
    assert!((price(&mut cloud, "us-central1", "a2-highgpu-8g", Market::OnDemand).unwrap() - 29.3871).abs() < 1e-2);
    assert!((price(&mut cloud, "us-central1", "a2-highgpu-1g", Market::Spot).unwrap() - 1.928).abs() < 1e-3);
    assert!((price(&mut cloud, "us-central1", V100, Market::OnDemand).unwrap() - 2.9532).abs() < 1e-3);
    assert!((price(&mut cloud, "us-central1", "g2-standard-4", Market::OnDemand).unwrap() - 0.7068).abs() < 1e-3);
    // With a local SSD of 375 GiB for each GPU.
    assert!((price(&mut cloud, "us-central1", "a2-ultragpu-1g", Market::OnDemand).unwrap() - 5.0688).abs() < 1e-3);
    let a3 = price(&mut cloud, "us-central1", "a3-highgpu-8g", Market::Spot);
    assert_eq!(
        a3,
        expected(208.0 * 0.0169, 1872.0 * 0.00147, 8.0 * 5.54 + 6000.0 * 0.048 / 730.0)
    );
    let mega = price(&mut cloud, "us-central1", "a3-megagpu-8g", Market::OnDemand);
    assert_eq!(
        mega,
        expected(208.0 * 0.030317, 1872.0 * 0.002653, 8.0 * 10.2 + 6000.0 * 0.08 / 730.0)
    );
    let t4 = price(
        &mut cloud,
        "europe-west4",
        "n1-standard-4+1xnvidia-tesla-t4",
        Market::OnDemand,
    );
    assert_eq!(
        t4,
        expected(4.0 * 0.031611 * 1.1, 15.0 * 0.004237 * 1.1, 0.35 * 1.1).map(|hour| (hour * 1e6).round() / 1e6)
    );
}

#[test]
fn what_cannot_be_bought_has_no_price() {
    let mut cloud = Cloud::start();
    // Not sold on demand, whatever the list says; on spot the price of a slice is an eighth of the machine, and marked wrongly.
    assert_eq!(
        price(&mut cloud, "us-central1", "a4-highgpu-8g", Market::OnDemand),
        None
    );
    assert_eq!(
        price(&mut cloud, "us-central1", "a4-highgpu-8g", Market::Spot),
        Some(32.6064)
    );
    assert_eq!(price(&mut cloud, "europe-west4", "a4-highgpu-8g", Market::Spot), None);
    assert_eq!(price(&mut cloud, "asia-southeast1", V100, Market::Spot), None);
    assert_eq!(
        cloud.gcp.prices(&query(&["us-central1"], &["p4d.24xlarge"])).unwrap(),
        []
    );
    assert_eq!(cloud.gcp.prices(&query(&[], &[V100])).unwrap(), []);
}

#[test]
fn many_are_asked_for_at_once_and_spot_is_never_dearer() {
    let mut cloud = Cloud::start();
    let types = [
        V100,
        "a2-highgpu-1g",
        "a2-ultragpu-8g",
        "a3-highgpu-8g",
        "g2-standard-96",
        "g4-standard-48",
    ];
    let prices = cloud
        .gcp
        .prices(&query(&["us-central1", "europe-west4"], &types))
        .unwrap();
    assert_eq!(prices.len(), types.len() * 2 * 2);
    for spot in prices.iter().filter(|price| price.market == Market::Spot) {
        let other = prices.iter().find(|price| {
            price.market == Market::OnDemand && price.region == spot.region && price.instance_type == spot.instance_type
        });
        assert!(other.is_some_and(|other| other.usd_h > spot.usd_h), "{spot:?}");
    }
    assert_eq!(cloud.emulator.calls("services.skus.list"), 1);
}

#[test]
fn a_price_list_that_may_not_be_read_is_an_error() {
    let mut cloud = Cloud::start();
    cloud.emulator.rule(
        &json!({"call": "services.skus.list", "do": "error", "status": 403, "code": "SERVICE_DISABLED",
        "message": "Cloud Billing API has not been used in project 1 before or it is disabled."}),
    );
    let error = cloud.gcp.prices(&query(&["us-central1"], &[V100])).unwrap_err();
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Permission, "SERVICE_DISABLED")
    );
    cloud
        .emulator
        .rule(&json!({"call": "services.skus.list", "do": "drop", "count": 1}));
    assert!(price(&mut cloud, "us-central1", V100, Market::Spot).is_some());
}
