//! Every code of Azure's, over the wire: at once, and inside an operation that was accepted.

use crate::cloud::{A100, Cloud, REGION, SECRET, azure_with, order, refusal, spot};
use nvbind_cloud::provider::ErrorClass::{
    Credentials, Invalid, NetworkSetup, NoCapacity, NotOffered, Permission, Quota, SpotPriceTooLow, Throttled,
    Transient, Unknown,
};
use nvbind_cloud::provider::{ErrorClass, Order, Provider, QuotaNeed, ResourceKind};
use nvbind_testkit::wait_until;
use serde_json::json;
use std::time::Instant;

const FAMILY: &str = "Operation could not be completed as it results in exceeding approved standardNCADSA100v4Family Cores quota. Additional details - \
                      Deployment Model: Resource Manager, Location: eastus, Current Limit: 0, Current Usage: 0, Additional Required: 24, (Minimum) New \
                      Limit Required: 24.";
const SPOT: &str = "Operation could not be completed as it results in exceeding approved LowPriorityCores quota. Additional details - Deployment Model: \
                    Resource Manager, Location: eastus, Current Limit: 3, Current Usage: 1, Additional Required: 4, (Minimum) New Limit Required: 5.";
const REGIONAL: &str = "Operation could not be completed as it results in exceeding approved Total Regional Cores quota. Additional details - Deployment \
                        Model: Resource Manager, Location: eastus, Current Limit: 10, Current Usage: 8, Additional Required: 4, (Minimum) New Limit \
                        Required: 12.";
const ADDRESSES: &str = "Cannot create more than 10 public IP addresses for this subscription in this region.";
const PRICE: &str = "The max price provided is lower than the current Azure Spot price.";

/// Status, code, message and class of a refusal.
const CODES: [(u16, &str, &str, ErrorClass); 38] = [
    (409, "ZonalAllocationFailed", "no room in the zone", NoCapacity),
    (409, "AllocationFailed", "no room", NoCapacity),
    (
        409,
        "OverconstrainedZonalAllocationRequest",
        "too many wishes",
        NoCapacity,
    ),
    (409, "OverconstrainedAllocationRequest", "too many wishes", NoCapacity),
    (409, "SkuNotAvailable", "not available in location 'eastus'", NotOffered),
    (409, "NotAvailableForSubscription", "restricted", NotOffered),
    (409, "OperationNotAllowed", FAMILY, Quota),
    (409, "OperationNotAllowed", SPOT, Quota),
    (409, "OperationNotAllowed", REGIONAL, Quota),
    (409, "QuotaExceeded", FAMILY, Quota),
    (400, "PublicIPCountLimitReached", ADDRESSES, Quota),
    (409, "OperationNotAllowed", PRICE, SpotPriceTooLow),
    (429, "TooManyRequests", "slow down", Throttled),
    (429, "SubscriptionRequestsThrottled", "slow down", Throttled),
    (429, "OperationNotAllowed", "rate limit", Throttled),
    (429, "Odd", "slow down", Throttled),
    (401, "ClientAuthenticationError", "who?", Credentials),
    (401, "AuthenticationFailed", "who?", Credentials),
    (401, "ExpiredAuthenticationToken", "too late", Credentials),
    (401, "InvalidAuthenticationTokenTenant", "wrong tenant", Credentials),
    (401, "Odd", "who?", Credentials),
    (
        403,
        "AuthorizationFailed",
        "The client does not have authorization to perform action",
        Permission,
    ),
    (
        403,
        "LinkedAuthorizationFailed",
        "no permission for the linked subnet",
        Permission,
    ),
    (403, "RequestDisallowedByPolicy", "a policy forbids it", Permission),
    (409, "ReadOnlyDisabledSubscription", "read-only", Permission),
    (
        409,
        "MissingSubscriptionRegistration",
        "not registered to use namespace",
        Permission,
    ),
    (403, "Odd", "no", Permission),
    (400, "SubnetIsFull", "no address left", NetworkSetup),
    (400, "InvalidParameter", "wrong", Invalid),
    (400, "GalleryImageNotFound", "no image", Invalid),
    (404, "PlatformImageNotFound", "no image", Invalid),
    (409, "PropertyChangeNotAllowed", "as it is", Invalid),
    (500, "InternalServerError", "our fault", Transient),
    (503, "ServiceUnavailable", "our fault", Transient),
    (429, "RetryableError", "once more", Transient),
    (409, "AnotherOperationInProgress", "once more", Transient),
    (409, "NicReservedForAnotherVm", "in 180 s", Transient),
    (409, "SomethingNew", "nobody knows", Unknown),
];

fn needed(message: &str) -> Option<QuotaNeed> {
    let need = |name: &str, limit, need| {
        Some(QuotaNeed {
            name: name.to_owned(),
            limit: Some(limit),
            need: Some(need),
        })
    };
    match message {
        FAMILY => need("standardNCADSA100v4Family", 0.0, 24.0),
        SPOT => need("lowPriorityCores", 3.0, 4.0),
        REGIONAL => need("cores", 10.0, 4.0),
        ADDRESSES => need("PublicIPAddresses", 10.0, 1.0),
        _ => None,
    }
}

#[test]
fn every_code_at_once_lands_in_its_class_and_leaves_no_machine() {
    let mut cloud = Cloud::start();
    cloud.create(&order(1));
    for (attempt, (status, code, message, class)) in CODES.into_iter().enumerate() {
        let order = order(u32::try_from(attempt).unwrap() + 2);
        cloud.emulator.reset();
        let mut rule = refusal("PUT virtualMachines", status, code, message);
        rule["count"] = json!(-1);
        rule["retry_after"] = json!(7);
        cloud.rule(&rule);
        let start = Instant::now();
        let error = cloud.azure.create(&order).unwrap_err();
        assert_eq!((error.class, error.code.as_str()), (class, code), "{error:?}");
        assert_eq!(error.message, message.split_whitespace().collect::<Vec<_>>().join(" "));
        assert_eq!(error.quota, needed(message), "{code}");
        assert_eq!(error.is_ambiguous, status >= 500, "{code}");
        assert_eq!(error.retry_after_seconds, Some(7.0), "{code}");
        assert!(start.elapsed().as_secs() < 2, "a wait of 7 s is the caller's: {code}");
    }
    assert_eq!(cloud.emulator.machines().len(), 1);
}

#[test]
fn every_code_inside_the_operation_lands_in_its_class_and_is_cleaned_up() {
    let mut cloud = Cloud::start();
    for (attempt, (_, code, message, class)) in CODES.into_iter().enumerate() {
        // Statuses are of answers: an operation has none.
        if matches!(code, "Odd" | "ServiceUnavailable") {
            continue;
        }
        let order = order(u32::try_from(attempt).unwrap() + 1);
        cloud.rule(&refusal("operation PUT virtualMachines", 0, code, message));
        let error = cloud.azure.create(&order).unwrap_err();
        assert_eq!(
            (error.class, error.code.as_str(), error.is_ambiguous),
            (class, code, false),
            "{error:?}"
        );
        assert_eq!(error.quota, needed(message), "{code}");
    }
    wait_until("the end of what was left", || {
        cloud.of_kind(ResourceKind::Machine).is_empty()
    });
    for kind in [
        ResourceKind::Disk,
        ResourceKind::Address,
        ResourceKind::NetworkInterface,
    ] {
        assert_eq!(cloud.of_kind(kind), [], "{kind:?}");
    }
    assert_eq!(cloud.delete_all(), 0);
}

#[test]
fn a_refusal_of_the_network_is_told_before_there_is_a_machine() {
    let mut cloud = Cloud::start();
    cloud.rule(&refusal(
        "operation PUT virtualNetworks",
        0,
        "SubscriptionResourceCountExceeded",
        "no more networks",
    ));
    let error = cloud.azure.create(&order(1)).unwrap_err();
    assert_eq!(error.code, "SubscriptionResourceCountExceeded");
    cloud.rule(&refusal("PUT resourceGroups", 403, "AuthorizationFailed", "no"));
    assert_eq!(cloud.azure.create(&order(1)).unwrap_err().class, Permission);
    assert_eq!(cloud.emulator.calls("PUT virtualMachines"), 0);
}

#[test]
fn a_throttled_call_is_made_again_when_the_wait_is_short() {
    let mut cloud = Cloud::start();
    for call in ["PUT resourceGroups", "PUT virtualMachines", "GET virtualMachines"] {
        let mut rule = refusal(call, 429, "TooManyRequests", "slow down");
        (rule["count"], rule["retry_after"]) = (json!(2), json!(1));
        cloud.rule(&rule);
    }
    let start = Instant::now();
    cloud.create(&order(1));
    assert!(start.elapsed().as_secs() >= 4, "{:?}", start.elapsed());
    let mut rule = refusal("PUT virtualMachines", 429, "TooManyRequests", "slow down");
    (rule["count"], rule["retry_after"]) = (json!(3), json!(1));
    cloud.rule(&rule);
    let error = cloud.azure.create(&order(2)).unwrap_err();
    assert_eq!(
        (error.class, error.retry_after_seconds, error.is_ambiguous),
        (Throttled, Some(1.0), false)
    );
}

#[test]
fn a_read_that_failed_for_azures_reasons_is_made_again() {
    let mut cloud = Cloud::start();
    cloud.create(&order(1));
    for rule in [
        refusal("GET virtualMachines", 503, "ServiceUnavailable", "later"),
        json!({ "call": "GET virtualMachines", "do": "drop" }),
    ] {
        cloud.rule(&rule);
        assert!(cloud.describe(&order(1)).is_some());
    }
    let mut rule = refusal("GET virtualMachines", 503, "ServiceUnavailable", "later");
    rule["count"] = json!(-1);
    cloud.rule(&rule);
    let error = cloud.azure.describe(&crate::cloud::by_name(&order(1))).unwrap_err();
    assert_eq!((error.class, error.is_ambiguous), (Transient, false));
    assert!(error.request_id.is_some());
}

#[test]
fn bad_orders_are_refused_by_azures_own_models() {
    let mut cloud = Cloud::start();
    let with = |change: fn(&mut Order)| {
        let mut order = order(1);
        change(&mut order);
        order
    };
    for (order, class, code) in [
        (
            with(|order| order.instance_type = "Standard_NC4as_T5".to_owned()),
            Invalid,
            "InvalidParameter",
        ),
        (
            with(|order| order.zone = Some("9".to_owned())),
            NotOffered,
            "SkuNotAvailable",
        ),
        (
            with(|order| order.image = Some("a:b:c:latest".to_owned())),
            Invalid,
            "PlatformImageNotFound",
        ),
        (
            with(|order| order.image = Some("ubuntu".to_owned())),
            Invalid,
            "InvalidImage",
        ),
        (
            with(|order| order.user = "root".to_owned()),
            Invalid,
            "InvalidParameter",
        ),
        (
            with(|order| order.public_key = "no key".to_owned()),
            Invalid,
            "InvalidParameter",
        ),
        (
            with(|order| order.allow_from = vec!["everywhere".to_owned()]),
            Invalid,
            "SecurityRuleInvalidAddressPrefix",
        ),
        (
            with(|order| order.instance_type = "Standard_NV36ads_A10_v5".to_owned()),
            Invalid,
            "ImageNeeded",
        ),
    ] {
        let error = cloud.azure.create(&order).unwrap_err();
        assert_eq!((error.class, error.code.as_str()), (class, code), "{error:?}");
    }
    assert_eq!(cloud.emulator.machines().len(), 0);
    let own_image = with(|order| {
        order.instance_type = "Standard_NV36ads_A10_v5".to_owned();
        order.image = Some("/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/images/grid".to_owned());
    });
    cloud.create(&own_image);
}

#[test]
fn azures_own_count_of_a_quota_is_read() {
    let mut cloud = Cloud::start();
    for (name, limit) in [("standardNCADSA100v4Family", 30), ("lowPriorityCores", 3)] {
        cloud
            .emulator
            .post("/_x/limit", &json!({ "region": REGION, "name": name, "limit": limit }));
    }
    let a100 = |attempt| Order {
        instance_type: A100.to_owned(),
        ..order(attempt)
    };
    cloud.create(&a100(1));
    let error = cloud.azure.create(&a100(2)).unwrap_err();
    let need = |name: &str, limit, need| QuotaNeed {
        name: name.to_owned(),
        limit: Some(limit),
        need: Some(need),
    };
    assert_eq!(error.quota, Some(need("standardNCADSA100v4Family", 30.0, 24.0)));
    let error = cloud.azure.create(&spot(3)).unwrap_err();
    assert_eq!(error.quota, Some(need("lowPriorityCores", 3.0, 4.0)));
    // The name is that of the list of quotas.
    let quotas = cloud.azure.quotas(REGION).unwrap();
    let of_family = quotas
        .iter()
        .find(|quota| quota.name == "standardNCADSA100v4Family")
        .unwrap();
    assert_eq!((of_family.limit, of_family.used, of_family.left()), (30.0, 24.0, 6.0));
}

#[test]
fn bad_credentials_are_told_from_a_bad_token_service() {
    let mut cloud = Cloud::start();
    let mut wrong = azure_with(&cloud.emulator, &[("AZURE_CLIENT_SECRET", "hunter2")]);
    let error = wrong.check().unwrap_err();
    assert_eq!(
        (error.class, error.code.as_str()),
        (Credentials, "AADSTS7000215"),
        "{error:?}"
    );
    assert!(!format!("{error:?}").contains("hunter2") && !format!("{wrong:?}").contains("hunter2"));
    let error = wrong.create(&order(1)).unwrap_err();
    assert_eq!((error.class, error.is_ambiguous), (Credentials, false));

    let mut rule = refusal("POST token", 503, "ServiceUnavailable", "later");
    rule["count"] = json!(-1);
    cloud.rule(&rule);
    let error = cloud.azure.check().unwrap_err();
    assert_eq!(error.class, Transient, "{error:?}");

    let mut nobody = azure_with(&cloud.emulator, &[("AZURE_SUBSCRIPTION_ID", "")]);
    let error = nobody.check().unwrap_err();
    assert_eq!((error.class, error.code.as_str()), (Credentials, "NoSubscription"));
    assert!(!format!("{:?}", cloud.azure).contains(SECRET));
}

#[test]
fn a_token_that_is_no_longer_taken_is_the_credentials_fault() {
    let mut cloud = Cloud::start();
    cloud.create(&order(1));
    let call = "GET virtualMachines";
    cloud.rule(&refusal(
        call,
        401,
        "ExpiredAuthenticationToken",
        "The access token has expired.",
    ));
    let error = cloud.azure.describe(&crate::cloud::by_name(&order(1))).unwrap_err();
    assert_eq!(error.class, Credentials);
    // The next call fetches a new one.
    let before = cloud.emulator.calls("POST token");
    assert!(cloud.describe(&order(1)).is_some());
    assert!(cloud.emulator.calls("POST token") <= before + 1);
}

#[test]
fn nobody_at_the_endpoint_is_transient_and_nothing_was_done() {
    let cloud = Cloud::start();
    // Nobody listens on port 9 of loopback.
    let mut azure = azure_with(&cloud.emulator, &[("NVBIND_AZURE_ENDPOINT", "http://127.0.0.1:9")]);
    let error = azure.create(&order(1)).unwrap_err();
    assert_eq!((error.class, error.is_ambiguous), (Transient, false), "{error:?}");
    let gone = cloud.emulator.machines();
    assert_eq!(gone.len(), 0);
}
