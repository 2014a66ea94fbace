//! Every code of AWS that nvbind knows, over the wire.

use super::*;
use nvbind_cloud::provider::ErrorClass::{
    self, Credentials, Invalid, NetworkSetup, NoCapacity, NotOffered, Permission, Quota, SpotPriceTooLow, Throttled,
    Transient,
};
use serde_json::json;

/// Code, HTTP status, class, whether the launch may have had its effect.
const CODES: &[(&str, u16, ErrorClass, bool)] = &[
    // EC2 answers "no capacity" with status 500: that is an answer all the same.
    ("InsufficientInstanceCapacity", 500, NoCapacity, false),
    ("UnfulfillableCapacity", 500, NoCapacity, false),
    ("InsufficientHostCapacity", 500, NoCapacity, false),
    ("InsufficientReservedInstanceCapacity", 500, NoCapacity, false),
    ("ReservationCapacityExceeded", 400, NoCapacity, false),
    ("InsufficientCapacity", 500, NoCapacity, false),
    ("Unsupported", 400, NotOffered, false),
    ("VcpuLimitExceeded", 400, Quota, false),
    ("InstanceLimitExceeded", 400, Quota, false),
    ("MaxSpotInstanceCountExceeded", 400, Quota, false),
    ("MaxFleetCountExceeded", 400, Quota, false),
    ("VolumeLimitExceeded", 400, Quota, false),
    ("MaxIOPSLimitExceeded", 400, Quota, false),
    ("AddressLimitExceeded", 400, Quota, false),
    ("InsufficientFreeAddressesInSubnet", 400, NetworkSetup, false),
    ("SpotMaxPriceTooLow", 400, SpotPriceTooLow, false),
    ("RequestLimitExceeded", 503, Throttled, false),
    ("EC2ThrottledException", 503, Throttled, false),
    ("Throttling", 400, Throttled, false),
    ("ThrottlingException", 400, Throttled, false),
    ("TooManyRequestsException", 429, Throttled, false),
    ("Odd", 429, Throttled, false),
    ("InternalError", 500, Transient, true),
    ("ServerInternal", 500, Transient, true),
    ("ServiceUnavailable", 503, Transient, true),
    ("Unavailable", 503, Transient, true),
    ("Odd", 502, Transient, true),
    ("AuthFailure", 401, Credentials, false),
    ("ExpiredToken", 400, Credentials, false),
    ("ExpiredTokenException", 400, Credentials, false),
    ("RequestExpired", 400, Credentials, false),
    ("InvalidClientTokenId", 403, Credentials, false),
    ("UnrecognizedClientException", 400, Credentials, false),
    ("UnauthorizedOperation", 403, Permission, false),
    ("AccessDeniedException", 400, Permission, false),
    (
        "AuthFailure.ServiceLinkedRoleCreationNotPermitted",
        403,
        Permission,
        false,
    ),
    ("OptInRequired", 401, Permission, false),
    ("InvalidParameterValue", 400, Invalid, false),
    ("InvalidParameterCombination", 400, Invalid, false),
    ("InvalidAMIID.NotFound", 400, Invalid, false),
    ("InvalidAMIID.Malformed", 400, Invalid, false),
    ("InvalidSubnetID.NotFound", 400, Invalid, false),
    ("InvalidUserData.Malformed", 400, Invalid, false),
    ("InvalidInstanceType", 400, Invalid, false),
];

#[test]
fn every_code_lands_in_its_class_with_aws_own_words() {
    let mut cloud = Cloud::start();
    for (number, (code, status, class, is_ambiguous)) in (1..).zip(CODES.iter().copied()) {
        cloud.emulator.reset();
        let rule = json!({"call": "RunInstances", "count": -1, "status": status, "code": code, "message": "the very words, 7 < 8"});
        cloud.emulator.rule(&rule);
        let refusal = cloud.aws.create(&order(number)).unwrap_err();
        assert_eq!(
            (refusal.class, refusal.is_ambiguous),
            (class, is_ambiguous),
            "{code}: {refusal:?}"
        );
        assert_eq!(
            (refusal.code.as_str(), refusal.message.as_str()),
            (code, "the very words, 7 < 8")
        );
        assert!(refusal.request_id.is_some(), "{refusal:?}");
        assert_eq!(refusal.quota.is_some(), class == Quota, "{refusal:?}");
        let calls = if matches!(class, Throttled | Transient) { 3 } else { 1 };
        assert_eq!(cloud.emulator.calls("RunInstances"), calls, "{code}");
    }
    assert_eq!(cloud.emulator.machines(), Vec::<serde_json::Value>::new());
}

#[test]
fn a_quota_is_named_as_service_quotas_names_it() {
    let mut cloud = Cloud::start();
    let message = "You have requested more vCPU capacity than your current vCPU limit of 64 allows for the instance bucket that the specified instance type belongs to.";
    for (number, code, order, name, limit, need) in [
        (1, "VcpuLimitExceeded", order(1), "L-417A185B", Some(64.0), Some(96.0)),
        (
            2,
            "MaxSpotInstanceCountExceeded",
            spot_order(2),
            "L-7212CCBC",
            Some(64.0),
            Some(96.0),
        ),
        (
            3,
            "VolumeLimitExceeded",
            order(3),
            "VolumeLimitExceeded",
            Some(64.0),
            None,
        ),
    ] {
        cloud
            .emulator
            .rule(&json!({"call": "RunInstances", "status": 400, "code": code, "message": message}));
        let need_told = cloud.aws.create(&order).unwrap_err().quota.unwrap();
        assert_eq!(
            (need_told.name.as_str(), need_told.limit, need_told.need),
            (name, limit, need),
            "{number}"
        );
    }
}

#[test]
fn a_throttled_launch_comes_through_and_says_when_to_come_again() {
    let mut cloud = Cloud::start();
    let busy =
        json!({"call": "RunInstances", "status": 503, "code": "RequestLimitExceeded", "count": 2, "retry_after": 7});
    cloud.emulator.rule(&busy);
    cloud.create(&order(1));
    cloud.emulator.rule(
        &json!({"call": "RunInstances", "status": 503, "code": "RequestLimitExceeded", "count": -1, "retry_after": 7}),
    );
    let refusal = cloud.aws.create(&order(2)).unwrap_err();
    assert_eq!((refusal.class, refusal.retry_after_seconds), (Throttled, Some(7.0)));
}

#[test]
fn throttled_reading_comes_through() {
    let mut cloud = Cloud::start();
    let order = order(1);
    let machine = cloud.create(&order);
    cloud
        .emulator
        .rule(&json!({"call": "DescribeInstances", "status": 503, "code": "RequestLimitExceeded", "count": 2}));
    assert_eq!(cloud.describe(&made(&order, &machine)).unwrap().id, machine.id);
}

#[test]
fn what_ec2_itself_refuses() {
    let mut cloud = Cloud::start();
    let unknown = Order {
        instance_type: "zz9.bogus".to_owned(),
        ..order(1)
    };
    let elsewhere = Order {
        zone: Some("us-east-1e".to_owned()),
        ..order(2)
    };
    let imageless = Order {
        image: Some("ami-00000000000000000".to_owned()),
        ..order(3)
    };
    let user = Order {
        user: "eve; rm -rf /".to_owned(),
        ..order(4)
    };
    for (order, class, word) in [
        (unknown, Invalid, "zz9.bogus"),
        (elsewhere, NotOffered, "us-east-1e"),
        (imageless, Invalid, "ami-00000000000000000"),
        (user, Invalid, "login name"),
    ] {
        let refusal = cloud.aws.create(&order).unwrap_err();
        assert_eq!(refusal.class, class, "{refusal:?}");
        assert!(refusal.message.contains(word), "{refusal}");
    }
    assert_eq!(cloud.emulator.machines(), Vec::<serde_json::Value>::new());
}

#[test]
fn set_up_that_fails_makes_no_machine() {
    let mut cloud = Cloud::start();
    for (number, call) in [
        (1, "DescribeImages"),
        (2, "CreateSecurityGroup"),
        (3, "ImportKeyPair"),
        (4, "GetParameter"),
    ] {
        cloud
            .emulator
            .rule(&json!({"call": call, "status": 403, "code": "UnauthorizedOperation", "message": "no"}));
        // A program of its own: what one has found it keeps.
        cloud.aws = provider(&cloud.emulator.url());
        let image = (call == "DescribeImages").then(|| "ami-0a11ce00000000001".to_owned());
        let owner = format!("{number}123456789abcdef");
        let refusal = cloud
            .aws
            .create(&Order {
                image,
                owner,
                ..order(number)
            })
            .unwrap_err();
        assert_eq!(refusal.class, Permission, "{call}: {refusal:?}");
    }
    assert_eq!(cloud.emulator.machines(), Vec::<serde_json::Value>::new());
}
