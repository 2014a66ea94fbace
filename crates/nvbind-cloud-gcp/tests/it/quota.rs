//! What is left of the quotas.

use crate::fixture::{A100, Cloud, V100, order};
use nvbind_cloud::catalog::Market;
use nvbind_cloud::provider::{ErrorClass, MachineState, Provider, Quota, QuotaUnit};
use serde_json::json;

fn named<'a>(quotas: &'a [Quota], name: &str) -> &'a Quota {
    let found: Vec<_> = quotas.iter().filter(|quota| quota.name == name).collect();
    assert_eq!(found.len(), 1, "{name}: {quotas:?}");
    found[0]
}

#[test]
fn limits_and_what_is_used_are_told_by_family_and_market() {
    let mut cloud = Cloud::start();
    for (region, metric, limit) in [
        ("us-central1", "NVIDIA_V100_GPUS", 8),
        ("us-central1", "PREEMPTIBLE_NVIDIA_A100_GPUS", 16),
        ("us-central1", "NVIDIA_H100", 24),
        ("us-east1", "NVIDIA_H100", 0),
        ("", "GPUS_ALL_REGIONS", 32),
    ] {
        cloud.emulator.post(
            "/_x/quota",
            &json!({"region": region, "metric": metric, "limit": limit}),
        );
    }
    for (instance_type, market) in [
        (V100, Market::OnDemand),
        (A100, Market::Spot),
        ("a3-highgpu-8g", Market::Spot),
    ] {
        let order = order(instance_type, market);
        cloud.gcp.create(&order).unwrap();
        cloud.wait_for(&order, MachineState::Running);
    }
    let quotas = cloud.gcp.quotas("us-central1").unwrap();
    let v100 = named(&quotas, "NVIDIA_V100_GPUS");
    // Without a quota of its own spot counts against the other one.
    assert_eq!(
        (v100.limit, v100.used, v100.left(), v100.market, v100.unit),
        (8.0, 1.0, 7.0, None, QuotaUnit::Gpus)
    );
    assert!(v100.instance_types.contains(&V100.to_owned()) && !v100.instance_types.contains(&A100.to_owned()));
    assert_eq!(
        (v100.region.as_str(), v100.title.as_str()),
        ("us-central1", "NVIDIA V100 GPUs")
    );
    let spot = named(&quotas, "PREEMPTIBLE_NVIDIA_A100_GPUS");
    assert_eq!((spot.limit, spot.used, spot.market), (16.0, 8.0, Some(Market::Spot)));
    let on_demand = named(&quotas, "NVIDIA_A100_GPUS");
    assert_eq!((on_demand.used, on_demand.market), (0.0, Some(Market::OnDemand)));
    assert!(on_demand.instance_types.iter().all(|name| !name.contains("ultragpu")));
    let h100 = named(&quotas, "GPUS_PER_GPU_FAMILY NVIDIA_H100");
    assert_eq!(
        (h100.limit, h100.used, h100.region.as_str()),
        (24.0, 8.0, "us-central1")
    );
    assert_eq!(
        h100.instance_types,
        ["a3-highgpu-1g", "a3-highgpu-2g", "a3-highgpu-4g", "a3-highgpu-8g"]
    );
    let all = named(&quotas, "GPUS_ALL_REGIONS");
    assert_eq!((all.limit, all.used, all.region.as_str()), (32.0, 17.0, ""));
    let elsewhere = cloud.gcp.quotas("us-east1").unwrap();
    assert_eq!(named(&elsewhere, "GPUS_PER_GPU_FAMILY NVIDIA_H100").left(), 0.0);
}

#[test]
fn the_name_in_a_refusal_is_that_of_the_quota() {
    let mut cloud = Cloud::start();
    cloud.emulator.post(
        "/_x/quota",
        &json!({"region": "us-central1", "metric": "NVIDIA_B200", "limit": 0}),
    );
    let refused = cloud
        .gcp
        .create(&order("a4-highgpu-8g", Market::Spot))
        .unwrap_err()
        .quota
        .unwrap();
    let quotas = cloud.gcp.quotas("us-central1").unwrap();
    let quota = named(&quotas, &refused.name);
    assert_eq!((quota.limit, refused.limit, refused.need), (0.0, Some(0.0), Some(8.0)));
}

#[test]
fn without_the_api_of_new_families_the_rest_is_told() {
    let mut cloud = Cloud::start();
    cloud.emulator.rule(
        &json!({"call": "quotaInfos.get", "do": "error", "status": 403, "code": "SERVICE_DISABLED",
        "message": "Cloud Quotas API has not been used in project 1 before or it is disabled."}),
    );
    let quotas = cloud.gcp.quotas("us-central1").unwrap();
    assert!(
        quotas
            .iter()
            .all(|quota| !quota.name.starts_with("GPUS_PER_GPU_FAMILY"))
    );
    assert!(quotas.iter().any(|quota| quota.name == "NVIDIA_T4_GPUS"));
}

#[test]
fn a_region_that_is_not_there_is_told() {
    let mut cloud = Cloud::start();
    let error = cloud.gcp.quotas("moon-north1").unwrap_err();
    assert_eq!(error.class, ErrorClass::NotFound);
}
