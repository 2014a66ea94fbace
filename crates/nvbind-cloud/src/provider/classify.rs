//! What a provider's code means. One table: the sources are Karpenter's providers (pkg/errors, commonerrorhandlers), the
//! providers' API references, and what SkyPilot and dstack have learned.

use super::ErrorClass;
use super::ErrorClass::{
    Credentials, Invalid, NetworkSetup, NoCapacity, NotFound, NotOffered, Permission, Quota, SpotPriceTooLow,
    Throttled, Transient, Unknown,
};
use crate::catalog::ProviderName;
use crate::catalog::ProviderName::{Aws, Azure, Gcp};

/// A code of a provider and what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Whose code.
    pub provider: ProviderName,
    /// The code; one that ends in `*` stands for all that begin so.
    pub code: &'static str,
    /// Words that the message must have, whatever their case; empty where the code is enough.
    pub words: &'static str,
    /// What it means.
    pub class: ErrorClass,
}

const fn answer(provider: ProviderName, code: &'static str, words: &'static str, class: ErrorClass) -> Answer {
    Answer {
        provider,
        code,
        words,
        class,
    }
}

/// Every known answer; the first that fits counts.
pub const ANSWERS: &[Answer] = &[
    answer(Aws, "InsufficientInstanceCapacity", "", NoCapacity),
    answer(Aws, "UnfulfillableCapacity", "", NoCapacity),
    answer(Aws, "InsufficientHostCapacity", "", NoCapacity),
    answer(Aws, "InsufficientReservedInstanceCapacity", "", NoCapacity),
    answer(Aws, "ReservationCapacityExceeded", "", NoCapacity),
    answer(Aws, "InsufficientCapacity", "", NoCapacity),
    answer(Aws, "Unsupported", "", NotOffered),
    answer(Aws, "VcpuLimitExceeded", "", Quota),
    answer(Aws, "InstanceLimitExceeded", "", Quota),
    answer(Aws, "MaxSpotInstanceCountExceeded", "", Quota),
    answer(Aws, "MaxFleetCountExceeded", "", Quota),
    answer(Aws, "VolumeLimitExceeded", "", Quota),
    answer(Aws, "MaxIOPSLimitExceeded", "", Quota),
    answer(Aws, "AddressLimitExceeded", "", Quota),
    answer(Aws, "InsufficientFreeAddressesInSubnet", "", NetworkSetup),
    answer(Aws, "SecurityGroupLimitExceeded", "", NetworkSetup),
    answer(Aws, "RulesPerSecurityGroupLimitExceeded", "", NetworkSetup),
    answer(Aws, "VPCIdNotSpecified", "", NetworkSetup),
    answer(Aws, "MissingInput", "", NetworkSetup),
    answer(Aws, "SpotMaxPriceTooLow", "", SpotPriceTooLow),
    answer(Aws, "RequestLimitExceeded", "", Throttled),
    answer(Aws, "EC2ThrottledException", "", Throttled),
    answer(Aws, "Throttling*", "", Throttled),
    answer(Aws, "TooManyRequestsException", "", Throttled),
    answer(Aws, "InternalError", "", Transient),
    answer(Aws, "InternalFailure", "", Transient),
    answer(Aws, "ServerInternal", "", Transient),
    answer(Aws, "ServiceUnavailable", "", Transient),
    answer(Aws, "Unavailable", "", Transient),
    answer(Aws, "DependencyViolation", "", Transient),
    answer(Aws, "VolumeInUse", "", Transient),
    answer(Aws, "InvalidNetworkInterface.InUse", "", Transient),
    answer(Aws, "InvalidIPAddress.InUse", "", Transient),
    answer(Aws, "AuthFailure.ServiceLinkedRoleCreationNotPermitted", "", Permission),
    answer(Aws, "AuthFailure", "", Credentials),
    answer(Aws, "ExpiredToken*", "", Credentials),
    answer(Aws, "RequestExpired", "", Credentials),
    answer(Aws, "InvalidClientTokenId", "", Credentials),
    answer(Aws, "UnrecognizedClientException", "", Credentials),
    answer(Aws, "SignatureDoesNotMatch", "", Credentials),
    answer(Aws, "InvalidSignatureException", "", Credentials),
    answer(Aws, "IncompleteSignature*", "", Credentials),
    answer(Aws, "MissingAuthenticationToken*", "", Credentials),
    answer(Aws, "UnauthorizedOperation", "", Permission),
    answer(Aws, "AccessDenied*", "", Permission),
    answer(Aws, "OptInRequired", "", Permission),
    answer(Aws, "PendingVerification", "", Permission),
    answer(Aws, "Blocked", "", Permission),
    answer(Aws, "InvalidInstanceType", "", Invalid),
    answer(Aws, "InvalidParameter*", "", Invalid),
    answer(Aws, "InvalidAMIID.*", "", Invalid),
    answer(Aws, "InvalidUserData.Malformed", "", Invalid),
    answer(Aws, "InvalidSubnetID.NotFound", "", Invalid),
    answer(Aws, "InvalidBlockDeviceMapping", "", Invalid),
    answer(Aws, "ParameterNotFound", "", Invalid),
    answer(Aws, "InvalidInstanceID.*", "", NotFound),
    answer(Aws, "InvalidGroup.NotFound", "", NotFound),
    answer(Aws, "InvalidKeyPair.NotFound", "", NotFound),
    answer(Aws, "InvalidVolume.NotFound", "", NotFound),
    answer(Aws, "InvalidAllocationID.NotFound", "", NotFound),
    answer(Aws, "InvalidNetworkInterfaceID.NotFound", "", NotFound),
    answer(Aws, "InvalidPermission.NotFound", "", NotFound),
    answer(Aws, "InvalidSpotInstanceRequestID.NotFound", "", NotFound),
    answer(Aws, "NoSuchResourceException", "", NotFound),
    answer(Aws, "Idempotent*", "", Invalid),
    answer(Gcp, "*", "is not found or access is unauthorized", NotOffered),
    answer(Gcp, "*", "policy update access denied", Permission),
    answer(Gcp, "*", "does not exist in zone", NotOffered),
    answer(Gcp, "notFound", "/acceleratortypes/", NotOffered),
    answer(Gcp, "notFound", "/machinetypes/", NotOffered),
    answer(Gcp, "notFound", "/images/", Invalid),
    answer(Gcp, "notFound", "networks/", NetworkSetup),
    answer(Gcp, "ZONE_RESOURCE_POOL_EXHAUSTED*", "", NoCapacity),
    answer(Gcp, "insufficientCapacity", "", NoCapacity),
    answer(Gcp, "UNSUPPORTED_OPERATION", "", NoCapacity),
    answer(Gcp, "RESOURCE_NOT_FOUND", "", NoCapacity),
    answer(Gcp, "VM_MIN_COUNT_NOT_REACHED", "", NoCapacity),
    answer(Gcp, "QUOTA_EXCEEDED", "", Quota),
    answer(Gcp, "quotaExceeded", "", Quota),
    answer(Gcp, "IP_SPACE_EXHAUSTED*", "", NetworkSetup),
    answer(Gcp, "VPC_NOT_FOUND", "", NetworkSetup),
    answer(Gcp, "SUBNET_NOT_FOUND_FOR_VPC", "", NetworkSetup),
    answer(Gcp, "RESOURCE_OPERATION_RATE_EXCEEDED", "", Throttled),
    answer(Gcp, "RATE_LIMIT_EXCEEDED", "", Throttled),
    answer(Gcp, "rateLimitExceeded", "", Throttled),
    answer(Gcp, "userRateLimitExceeded", "", Throttled),
    answer(Gcp, "RESOURCE_NOT_READY", "", Transient),
    answer(Gcp, "resourceNotReady", "", Transient),
    answer(Gcp, "resourceInUseByAnotherResource", "", Transient),
    answer(Gcp, "backendError", "", Transient),
    answer(Gcp, "INTERNAL_ERROR", "", Transient),
    answer(Gcp, "IAM_PERMISSION_DENIED", "", Permission),
    answer(Gcp, "SERVICE_DISABLED", "", Permission),
    answer(Gcp, "accessNotConfigured", "", Permission),
    answer(Gcp, "forbidden", "", Permission),
    answer(Gcp, "authError", "", Credentials),
    answer(Gcp, "notFound", "", NotFound),
    answer(Gcp, "invalid*", "", Invalid),
    answer(Gcp, "badRequest", "", Invalid),
    answer(Azure, "ZonalAllocationFailed", "", NoCapacity),
    answer(Azure, "AllocationFailed", "", NoCapacity),
    answer(Azure, "OverconstrainedZonalAllocationRequest", "", NoCapacity),
    answer(Azure, "OverconstrainedAllocationRequest", "", NoCapacity),
    answer(Azure, "SkuNotAvailable", "", NotOffered),
    answer(Azure, "NotAvailableForSubscription", "", NotOffered),
    answer(Azure, "OperationNotAllowed", "max price", SpotPriceTooLow),
    answer(Azure, "OperationNotAllowed", "maxprice", SpotPriceTooLow),
    answer(Azure, "OperationNotAllowed", "quota", Quota),
    answer(Azure, "OperationNotAllowed", "is attached to vm", Transient),
    answer(Azure, "QuotaExceeded", "", Quota),
    answer(Azure, "PublicIPCountLimitReached", "", Quota),
    answer(Azure, "TooManyRequests", "", Throttled),
    answer(Azure, "SubscriptionRequestsThrottled", "", Throttled),
    answer(Azure, "OperationNotAllowed", "rate limit", Throttled),
    answer(Azure, "RetryableError", "", Transient),
    answer(Azure, "InternalServerError", "", Transient),
    answer(Azure, "InUse*", "", Transient),
    answer(Azure, "*InUse", "", Transient),
    answer(Azure, "PublicIPAddressCannotBeDeleted", "", Transient),
    answer(Azure, "NicReservedForAnotherVm", "", Transient),
    answer(Azure, "ResourceGroupBeingDeleted", "", Transient),
    answer(Azure, "AnotherOperationInProgress", "", Transient),
    answer(Azure, "ClientAuthenticationError", "", Credentials),
    answer(Azure, "AuthenticationFailed", "", Credentials),
    answer(Azure, "ExpiredAuthenticationToken", "", Credentials),
    answer(Azure, "InvalidAuthenticationToken*", "", Credentials),
    answer(Azure, "AuthorizationFailed", "", Permission),
    answer(Azure, "LinkedAuthorizationFailed", "", Permission),
    answer(Azure, "RequestDisallowedByPolicy", "", Permission),
    answer(Azure, "MissingSubscriptionRegistration", "", Permission),
    answer(Azure, "SubscriptionNotFound", "", Permission),
    answer(Azure, "ReadOnlyDisabledSubscription", "", Permission),
    answer(Azure, "SubnetIsFull", "", NetworkSetup),
    answer(Azure, "ResourceNotFound", "", NotFound),
    answer(Azure, "ResourceGroupNotFound", "", NotFound),
    answer(Azure, "NotFound", "", NotFound),
    answer(Azure, "InvalidParameter", "", Invalid),
    answer(Azure, "GalleryImageNotFound", "", Invalid),
    answer(Azure, "PlatformImageNotFound", "", Invalid),
    answer(Azure, "PropertyChangeNotAllowed", "", Invalid),
];

/// What a code, a message and an HTTP status mean; the status decides where the code is not known.
pub fn classify(provider: ProviderName, status: u16, code: &str, message: &str) -> ErrorClass {
    let message = message.to_ascii_lowercase();
    let known = ANSWERS
        .iter()
        .find(|answer| answer.provider == provider && is_like(answer.code, code) && message.contains(answer.words));
    match (known, status) {
        (Some(answer), _) => answer.class,
        (None, 401) => Credentials,
        (None, 403) => Permission,
        (None, 404) => NotFound,
        (None, 429) => Throttled,
        (None, 400) => Invalid,
        (None, 500..=599) => Transient,
        _ => Unknown,
    }
}

/// Whether a code is that of the table, where a star at either end stands for anything.
fn is_like(known: &str, code: &str) -> bool {
    match (known.strip_prefix('*'), known.strip_suffix('*')) {
        (Some(end), _) => code.ends_with(end),
        (None, Some(start)) => code.starts_with(start),
        (None, None) => known == code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_code_lands_in_its_class() {
        for answer in ANSWERS {
            let code = answer.code.replace('*', "");
            let class = classify(answer.provider, 0, &code, answer.words);
            assert_eq!(class, answer.class, "{answer:?}");
        }
    }

    #[test]
    fn an_unknown_code_goes_by_its_status() {
        assert_eq!(classify(Aws, 503, "Odd", ""), Transient);
        assert_eq!(classify(Gcp, 401, "odd", ""), Credentials);
        assert_eq!(classify(Azure, 409, "Odd", ""), Unknown);
        assert_eq!(
            classify(
                Azure,
                409,
                "OperationNotAllowed",
                "exceeding approved LowPriorityCores Quota"
            ),
            Quota
        );
    }
}
