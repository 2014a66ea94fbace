//! How far a refusal reaches and for how long: one table.
//!
//! Scopes and times of AWS and Azure are those of Karpenter's providers (pkg/errors, commonerrorhandlers), of GCP those of CloudPilot's, where they
//! have one; what SkyPilot and dstack learned fills the rest.

use crate::catalog::ProviderName::{Aws, Azure, Gcp};
use crate::catalog::{Market, Offer, ProviderName};
use crate::provider::ErrorClass::{
    Credentials, Invalid, NetworkSetup, NoCapacity, NotFound, NotOffered, Permission, Quota, SpotPriceTooLow,
    Throttled, Transient, Unknown,
};
use crate::provider::{ErrorClass, ProviderError};
use serde::{Deserialize, Serialize};

/// How far a refusal reaches. A zone that nobody named stands for the whole region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Nothing is left alone: the same call again, or the end.
    Nothing,
    /// The type in the zone, on the market.
    TypeZoneMarket,
    /// The type in the zone, on both markets.
    TypeZone,
    /// The type in all zones, on the market.
    TypeRegionMarket,
    /// The type in all zones, on both markets.
    TypeRegion,
    /// All that share the quota.
    FamilyRegionMarket,
    /// All that share the quota and are as large or larger.
    FamilyRegionMarketFromSize,
    /// All of the family in the zone that are as large or larger, on both markets.
    FamilyZoneFromSize,
    /// The whole market in the region.
    MarketRegion,
    /// The zone.
    Zone,
    /// The region.
    Region,
    /// The provider.
    Provider,
}

/// What ends a block before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lift {
    /// Nothing.
    Time,
    /// A quota or what is used of it has changed.
    Quota,
    /// Prices were read anew.
    Prices,
    /// `nvbind cloud check` found the account in order.
    Check,
}

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    /// Whose answers; `None` for all.
    pub provider: Option<ProviderName>,
    /// The kind of refusal.
    pub class: ErrorClass,
    /// The code; one that ends in `*` stands for all that begin so.
    pub code: &'static str,
    /// Words that the message must have, whatever their case.
    pub words: &'static str,
    /// The market that was ordered; `None` for both.
    pub market: Option<Market>,
    /// How far it reaches.
    pub reach: Reach,
    /// For how long, in seconds; `None` until it is lifted.
    pub seconds: Option<u64>,
    /// What ends it before.
    pub lift: Lift,
}

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;

const fn rule(provider: ProviderName, class: ErrorClass, code: &'static str, reach: Reach, seconds: u64) -> Rule {
    Rule {
        provider: Some(provider),
        class,
        code,
        words: "",
        market: None,
        reach,
        seconds: Some(seconds),
        lift: Lift::Time,
    }
}

/// What holds for everybody where nothing nearer fits.
const fn common(class: ErrorClass, reach: Reach, seconds: u64) -> Rule {
    Rule {
        provider: None,
        ..rule(ProviderName::Hosts, class, "*", reach, seconds)
    }
}

impl Rule {
    const fn words(self, words: &'static str) -> Self {
        Self { words, ..self }
    }

    const fn on(self, market: Market) -> Self {
        Self {
            market: Some(market),
            ..self
        }
    }

    const fn until(self, lift: Lift) -> Self {
        Self {
            seconds: None,
            lift,
            ..self
        }
    }

    const fn or(self, lift: Lift) -> Self {
        Self { lift, ..self }
    }
}

/// Every rule; the first that fits counts.
pub const RULES: &[Rule] = &[
    // AWS. A quota is looked at anew after an hour even when nobody has told of a change.
    rule(Aws, NoCapacity, "*", Reach::TypeZoneMarket, 3 * MINUTE),
    rule(Aws, NotOffered, "*", Reach::TypeZone, 24 * HOUR),
    rule(Aws, Quota, "VcpuLimitExceeded", Reach::FamilyRegionMarket, HOUR).or(Lift::Quota),
    rule(Aws, Quota, "InstanceLimitExceeded", Reach::FamilyRegionMarket, HOUR).or(Lift::Quota),
    rule(
        Aws,
        Quota,
        "MaxSpotInstanceCountExceeded",
        Reach::FamilyRegionMarket,
        HOUR,
    )
    .or(Lift::Quota),
    rule(Aws, Quota, "*", Reach::Region, 10 * MINUTE).or(Lift::Quota),
    rule(
        Aws,
        NetworkSetup,
        "InsufficientFreeAddressesInSubnet",
        Reach::Zone,
        5 * MINUTE,
    ),
    rule(Aws, Permission, "OptInRequired", Reach::Region, 0).until(Lift::Check),
    // GCP.
    rule(Gcp, NoCapacity, "UNSUPPORTED_OPERATION", Reach::Zone, 10 * MINUTE),
    rule(Gcp, NoCapacity, "RESOURCE_NOT_FOUND", Reach::Zone, 10 * MINUTE),
    rule(Gcp, NoCapacity, "*", Reach::TypeZoneMarket, 30 * MINUTE),
    rule(Gcp, NotOffered, "*", Reach::Zone, 0)
        .words("not found or access is unauthorized")
        .until(Lift::Check),
    rule(Gcp, Quota, "*", Reach::Provider, HOUR)
        .words("gpus_all_regions")
        .or(Lift::Quota),
    rule(Gcp, Quota, "*", Reach::FamilyRegionMarket, HOUR).or(Lift::Quota),
    rule(Gcp, NetworkSetup, "IP_SPACE_EXHAUSTED*", Reach::Zone, 30),
    // Azure.
    rule(
        Azure,
        NoCapacity,
        "ZonalAllocationFailed",
        Reach::FamilyZoneFromSize,
        HOUR,
    ),
    rule(
        Azure,
        NoCapacity,
        "OverconstrainedZonalAllocationRequest",
        Reach::TypeZoneMarket,
        HOUR,
    ),
    rule(
        Azure,
        NoCapacity,
        "OverconstrainedAllocationRequest",
        Reach::TypeRegionMarket,
        HOUR,
    ),
    rule(Azure, NoCapacity, "*", Reach::TypeZone, HOUR),
    rule(Azure, NotOffered, "NotAvailableForSubscription", Reach::TypeRegion, 0).until(Lift::Check),
    rule(Azure, NotOffered, "*", Reach::TypeRegionMarket, HOUR).on(Market::Spot),
    rule(Azure, NotOffered, "*", Reach::TypeRegionMarket, 23 * HOUR).on(Market::OnDemand),
    rule(Azure, Quota, "*", Reach::MarketRegion, HOUR)
        .words("lowprioritycores")
        .or(Lift::Quota),
    rule(Azure, Quota, "*", Reach::Region, HOUR)
        .words("total regional cores")
        .or(Lift::Quota),
    rule(Azure, Quota, "PublicIPCountLimitReached", Reach::Region, 10 * MINUTE).or(Lift::Quota),
    rule(Azure, Quota, "*", Reach::FamilyRegionMarket, HOUR)
        .words("current limit: 0")
        .or(Lift::Quota),
    rule(Azure, Quota, "*", Reach::FamilyRegionMarketFromSize, 10 * MINUTE).or(Lift::Quota),
    rule(Azure, NetworkSetup, "SubnetIsFull", Reach::Region, 5 * MINUTE),
    // Everybody.
    common(NoCapacity, Reach::TypeZoneMarket, 3 * MINUTE),
    common(Quota, Reach::FamilyRegionMarket, HOUR).or(Lift::Quota),
    common(SpotPriceTooLow, Reach::TypeZoneMarket, 10 * MINUTE).or(Lift::Prices),
    common(NotOffered, Reach::TypeRegion, 24 * HOUR),
    common(Throttled, Reach::Nothing, 0),
    common(Transient, Reach::Zone, MINUTE),
    common(Credentials, Reach::Provider, 0).until(Lift::Check),
    common(Permission, Reach::Provider, 0).until(Lift::Check),
    common(NetworkSetup, Reach::Region, 10 * MINUTE),
    common(Invalid, Reach::Nothing, 0),
    common(NotFound, Reach::Nothing, 0),
    common(Unknown, Reach::TypeZone, 3 * MINUTE),
];

/// GCP's word for a machine that is on its way: it is waited for, and its zone is as good as before.
const WAITED_FOR: [&str; 2] = ["RESOURCE_NOT_READY", "resourceNotReady"];

/// The rule for a refusal of an offer.
pub(super) fn rule_for(error: &ProviderError, offer: &Offer) -> Option<&'static Rule> {
    if offer.provider == Gcp && WAITED_FOR.contains(&error.code.as_str()) {
        return None;
    }
    let message = error.message.to_ascii_lowercase();
    let limit_0 = error.quota.as_ref().and_then(|quota| quota.limit) == Some(0.0);
    RULES.iter().find(|rule| {
        let same_code = match rule.code.strip_suffix('*') {
            Some(start) => error.code.starts_with(start),
            None => rule.code == error.code,
        };
        let same_words = message.contains(rule.words) || (limit_0 && rule.words == "current limit: 0");
        rule.class == error.class
            && rule.provider.is_none_or(|provider| provider == offer.provider)
            && rule.market.is_none_or(|market| market == offer.market)
            && same_code
            && same_words
    })
}
