//! Every answer of the providers' tables: its class, how far it reaches, for how long.

use super::super::testing::offer;
use super::super::{Block, Lift, RULES, Scope, Types};
use crate::catalog::{Market, Offer, ProviderName};
use crate::provider::{ANSWERS, ErrorClass, ProviderError, QuotaNeed, classify};

/// What a row of the table is tried on: an offer of each provider, in a zone.
const AWS: &str = "aws us-east-1/us-east-1a g5.12xlarge spot 2";
const AWS_ON_DEMAND: &str = "aws us-east-1/us-east-1a g5.12xlarge on-demand 5";
const GCP: &str = "gcp us-central1/us-central1-a g2-standard-24 spot 1";
const AZURE: &str = "azure eastus/1 Standard_NC48ads_A100_v4 on-demand 7";
const AZURE_SPOT: &str = "azure eastus/1 Standard_NC48ads_A100_v4 spot 3";

/// Offer, code, message; then: region, zone, types, market, seconds, what lifts it. `-` is everything; the last but one is `-` where
/// it holds until it is lifted, and the line ends after the message where nothing is blocked.
const ROWS: &[(&str, &str, &str, &str)] = &[
    (
        AWS,
        "InsufficientInstanceCapacity",
        "",
        "us-east-1 us-east-1a g5.12xlarge spot 180 time",
    ),
    (
        AWS,
        "UnfulfillableCapacity",
        "",
        "us-east-1 us-east-1a g5.12xlarge spot 180 time",
    ),
    (
        AWS_ON_DEMAND,
        "InsufficientHostCapacity",
        "",
        "us-east-1 us-east-1a g5.12xlarge on-demand 180 time",
    ),
    (
        AWS_ON_DEMAND,
        "InsufficientReservedInstanceCapacity",
        "",
        "us-east-1 us-east-1a g5.12xlarge on-demand 180 time",
    ),
    (
        AWS_ON_DEMAND,
        "ReservationCapacityExceeded",
        "",
        "us-east-1 us-east-1a g5.12xlarge on-demand 180 time",
    ),
    (
        AWS,
        "InsufficientCapacity",
        "",
        "us-east-1 us-east-1a g5.12xlarge spot 180 time",
    ),
    (AWS, "Unsupported", "", "us-east-1 us-east-1a g5.12xlarge - 86400 time"),
    (
        AWS_ON_DEMAND,
        "VcpuLimitExceeded",
        "",
        "us-east-1 - family:L-DB2E81BA on-demand 3600 quota",
    ),
    (
        AWS_ON_DEMAND,
        "InstanceLimitExceeded",
        "",
        "us-east-1 - family:L-DB2E81BA on-demand 3600 quota",
    ),
    (
        AWS,
        "MaxSpotInstanceCountExceeded",
        "",
        "us-east-1 - family:L-3819A6DF spot 3600 quota",
    ),
    (AWS, "MaxFleetCountExceeded", "", "us-east-1 - - - 600 quota"),
    (AWS, "VolumeLimitExceeded", "", "us-east-1 - - - 600 quota"),
    (AWS, "MaxIOPSLimitExceeded", "", "us-east-1 - - - 600 quota"),
    (AWS, "AddressLimitExceeded", "", "us-east-1 - - - 600 quota"),
    (
        AWS,
        "InsufficientFreeAddressesInSubnet",
        "",
        "us-east-1 us-east-1a - - 300 time",
    ),
    (
        AWS,
        "SpotMaxPriceTooLow",
        "",
        "us-east-1 us-east-1a g5.12xlarge spot 600 prices",
    ),
    (AWS, "RequestLimitExceeded", "", ""),
    (AWS, "EC2ThrottledException", "", ""),
    (AWS, "Throttling", "", ""),
    (AWS, "ThrottlingException", "", ""),
    (AWS, "TooManyRequestsException", "", ""),
    (AWS, "InternalError", "", "us-east-1 us-east-1a - - 60 time"),
    (AWS, "ServerInternal", "", "us-east-1 us-east-1a - - 60 time"),
    (AWS, "ServiceUnavailable", "", "us-east-1 us-east-1a - - 60 time"),
    (AWS, "Unavailable", "", "us-east-1 us-east-1a - - 60 time"),
    (AWS, "AuthFailure", "", "- - - - - check"),
    (AWS, "ExpiredToken", "", "- - - - - check"),
    (AWS, "ExpiredTokenException", "", "- - - - - check"),
    (AWS, "RequestExpired", "", "- - - - - check"),
    (AWS, "InvalidClientTokenId", "", "- - - - - check"),
    (AWS, "UnrecognizedClientException", "", "- - - - - check"),
    (AWS, "UnauthorizedOperation", "", "- - - - - check"),
    (AWS, "AccessDeniedException", "", "- - - - - check"),
    (
        AWS,
        "AuthFailure.ServiceLinkedRoleCreationNotPermitted",
        "",
        "- - - - - check",
    ),
    (AWS, "OptInRequired", "", "us-east-1 - - - - check"),
    (AWS, "InvalidParameterValue", "", ""),
    (AWS, "InvalidParameterCombination", "", ""),
    (AWS, "InvalidAMIID.NotFound", "", ""),
    (AWS, "InvalidSubnetID.NotFound", "", ""),
    (AWS, "InvalidUserData.Malformed", "", ""),
    (AWS, "InvalidInstanceType", "", ""),
    (AWS, "SomethingNew", "", "us-east-1 us-east-1a g5.12xlarge - 180 time"),
    (
        GCP,
        "ZONE_RESOURCE_POOL_EXHAUSTED",
        "",
        "us-central1 us-central1-a g2-standard-24 spot 1800 time",
    ),
    (
        GCP,
        "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
        "",
        "us-central1 us-central1-a g2-standard-24 spot 1800 time",
    ),
    (
        GCP,
        "insufficientCapacity",
        "",
        "us-central1 us-central1-a g2-standard-24 spot 1800 time",
    ),
    (
        GCP,
        "VM_MIN_COUNT_NOT_REACHED",
        "",
        "us-central1 us-central1-a g2-standard-24 spot 1800 time",
    ),
    (
        GCP,
        "UNSUPPORTED_OPERATION",
        "",
        "us-central1 us-central1-a - - 600 time",
    ),
    (GCP, "RESOURCE_NOT_FOUND", "", "us-central1 us-central1-a - - 600 time"),
    (
        GCP,
        "QUOTA_EXCEEDED",
        "Quota 'PREEMPTIBLE_NVIDIA_L4_GPUS' exceeded",
        "us-central1 - family:L4 spot 3600 quota",
    ),
    (GCP, "quotaExceeded", "", "us-central1 - family:L4 spot 3600 quota"),
    (
        GCP,
        "QUOTA_EXCEEDED",
        "Quota 'GPUS_ALL_REGIONS' exceeded. Limit: 0.0 globally.",
        "- - - - 3600 quota",
    ),
    (GCP, "IP_SPACE_EXHAUSTED", "", "us-central1 us-central1-a - - 30 time"),
    (
        GCP,
        "IP_SPACE_EXHAUSTED_WITH_DETAILS",
        "",
        "us-central1 us-central1-a - - 30 time",
    ),
    (GCP, "RESOURCE_OPERATION_RATE_EXCEEDED", "", ""),
    (GCP, "rateLimitExceeded", "", ""),
    (GCP, "RESOURCE_NOT_READY", "", ""),
    (GCP, "IAM_PERMISSION_DENIED", "", "- - - - - check"),
    (GCP, "SERVICE_DISABLED", "", "- - - - - check"),
    (GCP, "Odd", "Policy update access denied.", "- - - - - check"),
    (
        GCP,
        "Odd",
        "Zone 'x' is not found or access is unauthorized.",
        "us-central1 us-central1-a - - - check",
    ),
    (GCP, "VPC_NOT_FOUND", "", "us-central1 - - - 600 time"),
    (GCP, "SUBNET_NOT_FOUND_FOR_VPC", "", "us-central1 - - - 600 time"),
    (GCP, "invalid", "", ""),
    (
        AZURE,
        "ZonalAllocationFailed",
        "",
        "eastus 1 family:NCads_A100_v4>=48 - 3600 time",
    ),
    (
        AZURE,
        "AllocationFailed",
        "",
        "eastus 1 Standard_NC48ads_A100_v4 - 3600 time",
    ),
    (
        AZURE,
        "OverconstrainedZonalAllocationRequest",
        "",
        "eastus 1 Standard_NC48ads_A100_v4 on-demand 3600 time",
    ),
    (
        AZURE_SPOT,
        "OverconstrainedAllocationRequest",
        "",
        "eastus - Standard_NC48ads_A100_v4 spot 3600 time",
    ),
    (
        AZURE_SPOT,
        "SkuNotAvailable",
        "",
        "eastus - Standard_NC48ads_A100_v4 spot 3600 time",
    ),
    (
        AZURE,
        "SkuNotAvailable",
        "",
        "eastus - Standard_NC48ads_A100_v4 on-demand 82800 time",
    ),
    (
        AZURE,
        "NotAvailableForSubscription",
        "",
        "eastus - Standard_NC48ads_A100_v4 - - check",
    ),
    (
        AZURE,
        "OperationNotAllowed",
        "exceeding approved standardNCADSA100v4Family Cores quota. Current Limit: 0, Current Usage: 0",
        "eastus - family:NCads_A100_v4 on-demand 3600 quota",
    ),
    (
        AZURE,
        "OperationNotAllowed",
        "exceeding approved standardNCADSA100v4Family Cores quota. Current Limit: 24, Current Usage: 0",
        "eastus - family:NCads_A100_v4>=48 on-demand 600 quota",
    ),
    (
        AZURE_SPOT,
        "QuotaExceeded",
        "exceeding approved LowPriorityCores quota",
        "eastus - - spot 3600 quota",
    ),
    (
        AZURE,
        "QuotaExceeded",
        "exceeding approved Total Regional Cores quota",
        "eastus - - - 3600 quota",
    ),
    (AZURE, "PublicIPCountLimitReached", "", "eastus - - - 600 quota"),
    (
        AZURE_SPOT,
        "OperationNotAllowed",
        "The max price set is below the spot price",
        "eastus 1 Standard_NC48ads_A100_v4 spot 600 prices",
    ),
    (AZURE, "TooManyRequests", "", ""),
    (AZURE, "SubscriptionRequestsThrottled", "", ""),
    (AZURE, "ClientAuthenticationError", "", "- - - - - check"),
    (AZURE, "AuthenticationFailed", "", "- - - - - check"),
    (AZURE, "ExpiredAuthenticationToken", "", "- - - - - check"),
    (AZURE, "AuthorizationFailed", "", "- - - - - check"),
    (AZURE, "ReadOnlyDisabledSubscription", "", "- - - - - check"),
    (AZURE, "SubnetIsFull", "", "eastus - - - 300 time"),
    (AZURE, "InvalidParameter", "", ""),
    (AZURE, "GalleryImageNotFound", "", ""),
    (AZURE, "PropertyChangeNotAllowed", "", ""),
];

fn refused(offer: &Offer, code: &str, message: &str) -> ProviderError {
    let class = classify(offer.provider, 0, code, message);
    ProviderError::new(class, code, message)
}

/// A block as the table writes it.
fn written(block: Option<&Block>) -> String {
    let Some(block) = block else {
        return String::new();
    };
    let Scope {
        region,
        zone,
        types,
        market,
        ..
    } = &block.scope;
    let types = match types {
        Types::All => "-".to_owned(),
        Types::One(name) => name.clone(),
        Types::Family { name, from_vcpus: 0 } => format!("family:{name}"),
        Types::Family { name, from_vcpus } => format!("family:{name}>={from_vcpus}"),
    };
    let or_all = |text: Option<&str>| text.unwrap_or("-").to_owned();
    let seconds = block.until.map(|until| (until - 1000).to_string());
    let lift = match block.lift {
        Lift::Time => "time",
        Lift::Quota => "quota",
        Lift::Prices => "prices",
        Lift::Check => "check",
    };
    [
        or_all(region.as_deref()),
        or_all(zone.as_deref()),
        types,
        or_all(market.map(Market::as_str)),
        or_all(seconds.as_deref()),
        lift.to_owned(),
    ]
    .join(" ")
}

#[test]
fn every_answer_reaches_as_far_as_the_table_says() {
    for (text, code, message, expected) in ROWS {
        let offer = offer(text);
        let block = Block::of(&refused(&offer, code, message), &offer, None, 1000);
        assert_eq!(written(block.as_ref()), *expected, "{code} {message}");
        if let Some(block) = block {
            assert_eq!(block.scope.provider, offer.provider);
            assert!(block.scope.covers(&offer), "{code}");
            assert_eq!((block.code.as_str(), block.why.as_str()), (*code, *message));
        }
    }
}

#[test]
fn every_rule_and_every_answer_is_in_the_table() {
    let rules: Vec<_> = ROWS
        .iter()
        .filter_map(|(text, code, message, _)| {
            let offer = offer(text);
            super::super::reach::rule_for(&refused(&offer, code, message), &offer)
        })
        .collect();
    // What no provider's own rule leaves over is for providers to come: those are tried below.
    let own = RULES.iter().filter(|rule| rule.provider.is_some());
    for rule in own {
        assert!(rules.contains(&rule), "{rule:?}");
    }
    for answer in ANSWERS {
        let code = answer.code.replace('*', "");
        let provider = match answer.provider {
            ProviderName::Aws => AWS,
            ProviderName::Gcp => GCP,
            _ => AZURE,
        };
        let offer = offer(provider);
        let error = refused(&offer, &code, answer.words);
        let is_nothing = [ErrorClass::Throttled, ErrorClass::Invalid, ErrorClass::NotFound].contains(&error.class);
        let is_waited_for = ["RESOURCE_NOT_READY", "resourceNotReady"].contains(&code.as_str());
        assert_eq!(
            Block::of(&error, &offer, None, 0).is_none(),
            is_nothing || is_waited_for,
            "{answer:?}"
        );
    }
}

#[test]
fn a_limit_of_0_is_known_without_words() {
    let offer = offer(AZURE);
    let mut error = refused(&offer, "QuotaExceeded", "quota exceeded");
    error.quota = Some(QuotaNeed {
        name: "standardNCADSA100v4Family".to_owned(),
        limit: Some(0.0),
        need: Some(48.0),
    });
    let block = Block::of(&error, &offer, None, 1000);
    assert_eq!(
        written(block.as_ref()),
        "eastus - family:NCads_A100_v4 on-demand 3600 quota"
    );
}

#[test]
fn a_block_covers_what_it_names_and_no_more() {
    let (here, sold) = (offer(AZURE), offer(AZURE_SPOT));
    let block = |offer: &Offer, code: &str| Block::of(&refused(offer, code, ""), offer, None, 0).unwrap();
    let failed = block(&here, "ZonalAllocationFailed");
    let larger = offer("azure eastus/1 Standard_NC96ads_A100_v4 on-demand 14");
    let smaller = offer("azure eastus/1 Standard_NC24ads_A100_v4 on-demand 3");
    let elsewhere = offer("azure eastus/2 Standard_NC96ads_A100_v4 on-demand 14");
    let open = offer("azure eastus Standard_NC96ads_A100_v4 on-demand 14");
    assert!(failed.scope.covers(&larger) && failed.scope.covers(&sold));
    assert!(!failed.scope.covers(&smaller) && !failed.scope.covers(&elsewhere));
    assert!(!failed.scope.covers(&open), "another zone may have it");
    assert!(failed.holds(3599) && !failed.holds(3600));
    let aws = offer(AWS);
    let quota = block(&aws, "MaxSpotInstanceCountExceeded");
    assert!(quota.scope.covers(&offer("aws us-east-1/us-east-1b g6.xlarge spot 1")));
    assert!(!quota.scope.covers(&offer("aws us-east-1 g6.xlarge on-demand 1")));
    assert!(!quota.scope.covers(&offer("aws us-east-1 p5.48xlarge spot 30")));
    let credentials = block(&aws, "ExpiredToken");
    assert!(credentials.scope.covers(&offer("aws eu-west-1 p5.48xlarge spot 30")));
    assert!(credentials.holds(u64::MAX) && !credentials.scope.covers(&here));
}

#[test]
fn a_zone_that_was_ordered_is_the_one_that_is_blocked() {
    let open = offer("aws us-east-1 g5.12xlarge spot 2");
    let error = refused(&open, "InsufficientInstanceCapacity", "");
    let block = Block::of(&error, &open, Some("us-east-1c"), 0).unwrap();
    assert_eq!(block.scope.zone.as_deref(), Some("us-east-1c"));
    let whole = Block::of(&error, &open, None, 0).unwrap();
    assert!(whole.scope.zone.is_none() && whole.scope.covers(&open));
}

#[test]
fn a_block_is_kept_as_text() {
    let offer = offer(AZURE);
    let block = Block::of(&refused(&offer, "ZonalAllocationFailed", "no"), &offer, None, 7).unwrap();
    let text = serde_json::to_string(&block).unwrap();
    assert_eq!(serde_json::from_str::<Block>(&text).unwrap(), block);
}
