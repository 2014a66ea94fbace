//! Every refusal of Google's that is known, over the wire: as the failure of an operation that was accepted, and as the answer to the call.

use crate::fixture::{A100, Cloud, V100, order};
use nvbind_cloud::catalog::Market;
use nvbind_cloud::provider::ErrorClass::{
    self, Credentials, Invalid, NetworkSetup, NoCapacity, NotOffered, Permission, Quota, Throttled, Transient,
};
use nvbind_cloud::provider::{MachineState, Order, Provider};
use serde_json::json;
use std::time::{Duration, Instant};

/// HTTP status, code, message, and what it means.
type Row = (u16, &'static str, &'static str, ErrorClass);

/// Failures of operations, which come with HTTP 200.
const OF_OPERATIONS: &[Row] = &[
    (
        503,
        "ZONE_RESOURCE_POOL_EXHAUSTED",
        "The zone 'us-central1-a' does not have enough resources available to fulfill the request.",
        NoCapacity,
    ),
    (
        503,
        "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
        "(resource type:compute)",
        NoCapacity,
    ),
    (503, "insufficientCapacity", "not enough", NoCapacity),
    (
        400,
        "UNSUPPORTED_OPERATION",
        "Instance was preempted while it was being created.",
        NoCapacity,
    ),
    (404, "RESOURCE_NOT_FOUND", "The resource was not found", NoCapacity),
    (
        400,
        "VM_MIN_COUNT_NOT_REACHED",
        "Requested minimum count of 1 VMs could not be created.",
        NoCapacity,
    ),
    (
        403,
        "QUOTA_EXCEEDED",
        "Quota 'NVIDIA_V100_GPUS' exceeded.  Limit: 1.0 in region us-central1.",
        Quota,
    ),
    (
        403,
        "quotaExceeded",
        "Quota 'GPUS_ALL_REGIONS' exceeded.  Limit: 0.0 globally.",
        Quota,
    ),
    (
        400,
        "IP_SPACE_EXHAUSTED",
        "IP space of subnetwork is exhausted.",
        NetworkSetup,
    ),
    (
        400,
        "IP_SPACE_EXHAUSTED_WITH_DETAILS",
        "IP space of subnetwork 'default' is exhausted.",
        NetworkSetup,
    ),
    (
        403,
        "RESOURCE_OPERATION_RATE_EXCEEDED",
        "Operation rate exceeded for resource.",
        Throttled,
    ),
    (400, "RESOURCE_NOT_READY", "The resource is not ready", Transient),
    (403, "IAM_PERMISSION_DENIED", "Permission denied", Permission),
    (400, "CONDITION", "Policy update access denied.", Permission),
    (
        404,
        "ODD",
        "The resource 'projects/p/zones/z' is not found or access is unauthorized.",
        NotOffered,
    ),
    (404, "VPC_NOT_FOUND", "no VPC", NetworkSetup),
    (404, "SUBNET_NOT_FOUND_FOR_VPC", "no subnet", NetworkSetup),
    (500, "INTERNAL_ERROR", "Internal error", Transient),
    (
        400,
        "invalid",
        "Requested disk size cannot be smaller than the image size",
        Invalid,
    ),
    (418, "SOMETHING_NEW", "nobody knows", ErrorClass::Unknown),
];

/// Answers to the call itself.
const OF_CALLS: &[Row] = &[
    (
        403,
        "quotaExceeded",
        "Quota 'NVIDIA_A100_GPUS' exceeded.  Limit: 0.0 in region us-central1.",
        Quota,
    ),
    (403, "rateLimitExceeded", "Rate Limit Exceeded", Throttled),
    (403, "userRateLimitExceeded", "User Rate Limit Exceeded", Throttled),
    (
        403,
        "RATE_LIMIT_EXCEEDED",
        "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute'",
        Throttled,
    ),
    (429, "tooMany", "slow down", Throttled),
    (401, "authError", "Invalid Credentials", Credentials),
    (401, "required", "Login Required.", Credentials),
    (
        403,
        "forbidden",
        "Required 'compute.instances.create' permission for 'projects/p/zones/z/instances/i'",
        Permission,
    ),
    (
        403,
        "SERVICE_DISABLED",
        "Compute Engine API has not been used in project p before or it is disabled.",
        Permission,
    ),
    (403, "accessNotConfigured", "Access Not Configured.", Permission),
    (
        403,
        "IAM_PERMISSION_DENIED",
        "Permission 'compute.instances.create' denied",
        Permission,
    ),
    (
        403,
        "forbidden",
        "The zone is not found or access is unauthorized.",
        NotOffered,
    ),
    (
        400,
        "invalid",
        "Invalid value for field 'resource.machineType': Machine type with name 'a2-highgpu-8g' does not exist in zone 'us-central1-a'.",
        NotOffered,
    ),
    (
        404,
        "notFound",
        "The resource 'projects/p/zones/z/acceleratorTypes/nvidia-tesla-v100' was not found",
        NotOffered,
    ),
    (
        404,
        "notFound",
        "The resource 'projects/p/global/networks/default' was not found",
        NetworkSetup,
    ),
    (
        404,
        "notFound",
        "The resource 'projects/p/global/images/family/gone' was not found",
        Invalid,
    ),
    (
        400,
        "invalid",
        "Requested disk size cannot be smaller than the image size",
        Invalid,
    ),
    (400, "badRequest", "no", Invalid),
    (400, "resourceNotReady", "The resource is not ready", Transient),
    (503, "insufficientCapacity", "not enough", NoCapacity),
    (500, "internalError", "Internal error", Transient),
    (503, "backendError", "Backend Error", Transient),
];

fn create_after(cloud: &mut Cloud, when: &str, row: &Row, count: u32) -> nvbind_cloud::provider::ProviderError {
    let (status, code, message, _) = row;
    let order = order(A100, Market::Spot);
    cloud.emulator.rule(
        &json!({"call": "instances.insert", "when": when, "do": "error", "status": status, "code": code,
        "message": message, "count": count}),
    );
    let error = cloud.gcp.create(&order).expect_err(code);
    cloud.emulator.reset();
    error
}

#[test]
fn every_failure_of_an_operation_is_understood() {
    let mut cloud = Cloud::start();
    for row in OF_OPERATIONS {
        let error = create_after(&mut cloud, "operation", row, 1);
        let (status, code, message, class) = row;
        assert_eq!((error.class, error.code.as_str()), (*class, *code), "{error:?}");
        assert!(
            error
                .message
                .starts_with(&message.split_whitespace().collect::<Vec<_>>().join(" ")),
            "{error:?}"
        );
        assert!(
            error.request_id.as_ref().is_some_and(|id| id.starts_with("operation-")),
            "{error:?}"
        );
        // A refusal is sure; a fault of Google's own, half way through, is not.
        assert_eq!(error.is_ambiguous, *class == Transient && *status >= 500, "{error:?}");
    }
    assert!(cloud.emulator.machines().is_empty());
}

#[test]
fn every_refused_call_is_understood() {
    let mut cloud = Cloud::start();
    for row in OF_CALLS {
        let error = create_after(&mut cloud, "before", row, 3);
        let (status, code, _, class) = row;
        assert_eq!((error.class, error.code.as_str()), (*class, *code), "{error:?}");
        assert!(
            error.message.contains("(zone us-central1-") || error.message.contains("us-central1-a"),
            "{error:?}"
        );
        assert_eq!(error.is_ambiguous, *status >= 500 && *class != NoCapacity, "{error:?}");
    }
    assert!(cloud.emulator.machines().is_empty());
}

#[test]
fn a_quota_is_named_with_its_limit_and_what_was_needed() {
    let mut cloud = Cloud::start();
    cloud.emulator.post(
        "/_x/quota",
        &json!({"region": "us-central1", "metric": "NVIDIA_A100_GPUS", "limit": 4}),
    );
    let quota = cloud
        .gcp
        .create(&order(A100, Market::OnDemand))
        .unwrap_err()
        .quota
        .unwrap();
    assert_eq!(
        (quota.name.as_str(), quota.limit, quota.need),
        ("NVIDIA_A100_GPUS", Some(4.0), Some(8.0))
    );

    cloud.emulator.post(
        "/_x/quota",
        &json!({"region": "us-central1", "metric": "PREEMPTIBLE_NVIDIA_A100_GPUS", "limit": 2}),
    );
    let quota = cloud.gcp.create(&order(A100, Market::Spot)).unwrap_err().quota.unwrap();
    assert_eq!(
        (quota.name.as_str(), quota.limit),
        ("PREEMPTIBLE_NVIDIA_A100_GPUS", Some(2.0))
    );

    cloud.emulator.post(
        "/_x/quota",
        &json!({"region": "us-central1", "metric": "NVIDIA_H100", "limit": 0}),
    );
    let quota = cloud
        .gcp
        .create(&order("a3-highgpu-8g", Market::OnDemand))
        .unwrap_err()
        .quota
        .unwrap();
    assert_eq!(
        (quota.name.as_str(), quota.limit),
        ("GPUS_PER_GPU_FAMILY NVIDIA_H100", Some(0.0))
    );

    cloud.emulator.post(
        "/_x/quota",
        &json!({"region": "", "metric": "GPUS_ALL_REGIONS", "limit": 0}),
    );
    let error = cloud.gcp.create(&order(V100, Market::OnDemand)).unwrap_err();
    let quota = error.quota.clone().unwrap();
    assert_eq!(
        (error.class, quota.name.as_str(), quota.limit, quota.need),
        (Quota, "GPUS_ALL_REGIONS", Some(0.0), Some(1.0))
    );

    // Without Google's details the message tells as much.
    let row = (
        403,
        "QUOTA_EXCEEDED",
        "Quota 'NVIDIA_T4_GPUS' exceeded.  Limit: 1.0 in region us-east1.",
        Quota,
    );
    let quota = create_after(&mut cloud, "operation", &row, 1).quota.unwrap();
    assert_eq!((quota.name.as_str(), quota.limit), ("NVIDIA_T4_GPUS", Some(1.0)));
}

#[test]
fn the_reason_beside_a_wrapper_counts() {
    let mut cloud = Cloud::start();
    cloud.emulator.rule(
        &json!({"call": "instances.insert", "when": "operation", "do": "error", "status": 400,
        "code": "VM_MIN_COUNT_NOT_REACHED", "message": "Requested minimum count of 1 VMs could not be created.",
        "beside": [["QUOTA_EXCEEDED", "Quota 'GPUS_ALL_REGIONS' exceeded.  Limit: 0.0 globally."]]}),
    );
    let error = cloud.gcp.create(&order(A100, Market::Spot)).unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (Quota, "QUOTA_EXCEEDED"));
}

#[test]
fn want_of_machines_is_asked_for_once() {
    let mut cloud = Cloud::start();
    for (when, status) in [("operation", 503), ("before", 503)] {
        let order = order(A100, Market::Spot);
        cloud.emulator.rule(
            &json!({"call": "instances.insert", "when": when, "do": "error", "status": status,
            "code": "ZONE_RESOURCE_POOL_EXHAUSTED", "message": "none", "count": 1, "match": {"zone": "*"}}),
        );
        let start = Instant::now();
        let error = cloud.gcp.create(&order).unwrap_err();
        assert_eq!((error.class, error.is_ambiguous), (NoCapacity, false), "{error:?}");
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
        assert_eq!(cloud.emulator.calls("instances.insert"), 1);
        // The same order again is the same request: what has failed stays failed, and no machine comes of it.
        if when == "operation" {
            assert_eq!(cloud.gcp.create(&order).unwrap_err().class, NoCapacity);
        }
        assert!(cloud.emulator.machines().is_empty());
        cloud.emulator.reset();
    }
}

#[test]
fn throttling_is_tried_again_for_a_moment_and_then_told() {
    let mut cloud = Cloud::start();
    let throttle = |cloud: &Cloud, count: u32, retry_after: Option<f64>| {
        let rule = json!({"call": "instances.insert", "do": "error", "status": 403, "code": "rateLimitExceeded",
            "message": "Rate Limit Exceeded", "count": count, "retry_after": retry_after});
        cloud.emulator.rule(&rule);
    };
    throttle(&cloud, 2, None);
    cloud.gcp.create(&order(A100, Market::Spot)).unwrap();
    assert_eq!(cloud.emulator.calls("instances.insert"), 3);

    cloud.emulator.reset();
    throttle(&cloud, 9, None);
    let error = cloud.gcp.create(&order(A100, Market::Spot)).unwrap_err();
    assert_eq!(
        (error.class, error.retry_after_seconds, error.is_ambiguous),
        (Throttled, None, false)
    );
    assert_eq!(cloud.emulator.calls("instances.insert"), 3);

    // A long pause is the caller's.
    cloud.emulator.reset();
    throttle(&cloud, 9, Some(17.0));
    let error = cloud.gcp.create(&order(A100, Market::Spot)).unwrap_err();
    assert_eq!((error.class, error.retry_after_seconds), (Throttled, Some(17.0)));
    assert_eq!(cloud.emulator.calls("instances.insert"), 1);
}

#[test]
fn a_machine_that_no_zone_has_is_not_offered() {
    let mut cloud = Cloud::start();
    let nowhere = Order {
        region: "us-east4".to_owned(),
        ..order(A100, Market::Spot)
    };
    let error = cloud.gcp.create(&nowhere).unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (NotOffered, "NoZone"), "{error:?}");
    let elsewhere = Order {
        zone: Some("us-central1-f".to_owned()),
        ..order("a3-highgpu-8g", Market::Spot)
    };
    let error = cloud.gcp.create(&elsewhere).unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (NotOffered, "invalid"), "{error:?}");
    let unknown = cloud.gcp.create(&order("n1-highmem-8", Market::Spot)).unwrap_err();
    assert_eq!(
        (unknown.class, unknown.code.as_str()),
        (NotOffered, "UnknownMachineType")
    );
    let moon = Order {
        zone: Some("moon-north1-a".to_owned()),
        ..order(A100, Market::Spot)
    };
    assert_eq!(cloud.gcp.create(&moon).unwrap_err().class, NotOffered);
    assert!(cloud.emulator.machines().is_empty());
}

#[test]
fn a_disk_that_is_too_small_and_an_image_that_is_not_there_are_the_orders_fault() {
    let mut cloud = Cloud::start();
    let small = Order {
        disk_gib: 20,
        ..order(A100, Market::Spot)
    };
    let error = cloud.gcp.create(&small).unwrap_err();
    assert_eq!(error.class, Invalid);
    assert!(
        error.message.contains("cannot be smaller than the image size (50 GB)"),
        "{error:?}"
    );
    let image = Order {
        image: Some("projects/debian-cloud/global/images/family/debian-1".to_owned()),
        ..order(A100, Market::Spot)
    };
    assert_eq!(cloud.gcp.create(&image).unwrap_err().class, Invalid);
}

#[test]
fn a_firewall_that_cannot_be_made_stops_the_order_before_its_machine() {
    let mut cloud = Cloud::start();
    for (status, code, message, class) in [
        (
            404,
            "notFound",
            "The resource 'projects/p/global/networks/default' was not found",
            NetworkSetup,
        ),
        (
            403,
            "forbidden",
            "Required 'compute.firewalls.create' permission for 'projects/p/global/firewalls/f'",
            Permission,
        ),
        (
            403,
            "quotaExceeded",
            "Quota 'FIREWALLS' exceeded.  Limit: 100.0 globally.",
            Quota,
        ),
        (
            400,
            "invalid",
            "Invalid value for field 'resource.sourceRanges[0]'",
            NetworkSetup,
        ),
    ] {
        cloud.emulator.rule(&json!({"call": "firewalls.insert", "do": "error", "status": status, "code": code, "message": message, "count": 2}));
        let error = cloud.gcp.create(&order(A100, Market::Spot)).unwrap_err();
        assert_eq!(
            (error.class, error.code.as_str(), error.is_ambiguous),
            (class, code, false),
            "{error:?}"
        );
        cloud.emulator.reset();
    }
    assert_eq!(cloud.emulator.calls("instances.insert"), 0);
    assert!(cloud.emulator.machines().is_empty());
}

#[test]
fn faults_while_an_order_is_watched_leave_it_open() {
    let mut cloud = Cloud::with(&[("NVBIND_EMULATED_PENDING_SECONDS", "0.5")]);
    let order = order(A100, Market::Spot);
    let fault = json!({"call": "zoneOperations.get", "do": "error", "status": 500, "code": "backendError", "message": "Backend Error", "count": 3});
    cloud.emulator.rule(&fault);
    let error = cloud.gcp.create(&order).unwrap_err();
    assert_eq!((error.class, error.is_ambiguous), (Transient, true), "{error:?}");
    let machine = cloud.wait_for(&order, MachineState::Running);
    assert_eq!(cloud.gcp.create(&order).unwrap().id, machine.id);
}

#[test]
fn faults_of_reading_calls_are_passed_over() {
    let mut cloud = Cloud::start();
    for call in [
        "instances.aggregatedList",
        "firewalls.get",
        "machineTypes.aggregatedList",
    ] {
        cloud.emulator.rule(&json!({"call": call, "do": "drop", "count": 1}));
        cloud
            .emulator
            .rule(&json!({"call": call, "do": "error", "status": 503, "code": "backendError", "count": 1}));
    }
    cloud.gcp.create(&order(A100, Market::Spot)).unwrap();
    assert_eq!(cloud.emulator.machines().len(), 1);
}
