//! What is left alone for a while after a refusal.

use super::quota_family;
use super::reach::{Lift, Reach, rule_for};
use crate::catalog::{Market, Offer, ProviderName};
use crate::provider::{ErrorClass, ProviderError};
use serde::{Deserialize, Serialize};

/// What is left alone, for how long, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// What it covers.
    pub scope: Scope,
    /// Seconds since 1970 until which it holds; `None` until what [`Block::lift`] says.
    pub until: Option<u64>,
    /// What ends it before its time.
    pub lift: Lift,
    /// What kind of refusal it comes from.
    pub class: ErrorClass,
    /// The provider's code.
    pub code: String,
    /// The provider's message.
    pub why: String,
}

/// What a block covers: all that fits everything it names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Scope {
    /// Provider.
    pub provider: ProviderName,
    /// Region; `None` for all.
    pub region: Option<String>,
    /// Zone; `None` for all.
    pub zone: Option<String>,
    /// Which machine types.
    pub types: Types,
    /// Market; `None` for both.
    pub market: Option<Market>,
}

/// Which machine types a block covers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Types {
    /// All.
    All,
    /// One.
    One(String),
    /// All that share a quota (see [`quota_family`]), from that many virtual CPUs on.
    Family {
        /// The family.
        name: String,
        /// Least virtual CPUs; 0 for all.
        from_vcpus: u32,
    },
}

impl Scope {
    /// Whether an offer is covered. One that leaves its zone to the provider is not covered by a block of a single zone.
    pub fn covers(&self, offer: &Offer) -> bool {
        self.covers_but_zone(offer) && self.zone.as_ref().is_none_or(|zone| offer.zone.as_ref() == Some(zone))
    }

    /// As [`Scope::covers`], whatever the zone.
    pub(super) fn covers_but_zone(&self, offer: &Offer) -> bool {
        self.provider == offer.provider
            && self.market.is_none_or(|market| market == offer.market)
            && self.region.as_ref().is_none_or(|region| *region == offer.region)
            && self.types.cover(offer)
    }
}

impl std::fmt::Display for Types {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::One(name) => f.write_str(name),
            Self::Family { name, from_vcpus: 0 } => f.write_str(name),
            Self::Family { name, from_vcpus } => write!(f, "{name} from {from_vcpus} vCPUs"),
        }
    }
}

impl Types {
    fn cover(&self, offer: &Offer) -> bool {
        match self {
            Self::All => true,
            Self::One(name) => *name == offer.instance_type,
            Self::Family { name, from_vcpus } => {
                offer.vcpus >= f64::from(*from_vcpus) && *name == family_of(offer, offer.market)
            }
        }
    }
}

/// The quota family of an offer on a market.
fn family_of(offer: &Offer, market: Market) -> String {
    quota_family(offer.provider, &offer.instance_type, offer.gpu, market)
}

impl Block {
    /// The block that a refusal of an offer leads to; `None` where nothing is to be left alone. `now` in seconds since 1970. `zone` is the one
    /// that was ordered, where that is more than the offer says.
    pub fn of(error: &ProviderError, offer: &Offer, zone: Option<&str>, now: u64) -> Option<Self> {
        let rule = rule_for(error, offer)?;
        let scope = scope(rule.reach, offer, zone.or(offer.zone.as_deref()))?;
        Some(Self {
            scope,
            until: rule.seconds.map(|seconds| now + seconds),
            lift: rule.lift,
            class: error.class,
            code: error.code.clone(),
            why: error.message.clone(),
        })
    }

    /// Whether it still holds at that time.
    pub fn holds(&self, now: u64) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// What a rule covers, from the offer that was refused.
fn scope(reach: Reach, offer: &Offer, zone: Option<&str>) -> Option<Scope> {
    let region = Some(offer.region.clone());
    let zone = zone.map(str::to_owned);
    let one = || Types::One(offer.instance_type.clone());
    let family = |from_vcpus: f64| Types::Family {
        name: family_of(offer, offer.market),
        from_vcpus: from_vcpus as u32,
    };
    let market = Some(offer.market);
    let (region, zone, types, market) = match reach {
        Reach::Nothing => return None,
        Reach::TypeZoneMarket => (region, zone, one(), market),
        Reach::TypeZone => (region, zone, one(), None),
        Reach::TypeRegionMarket => (region, None, one(), market),
        Reach::TypeRegion => (region, None, one(), None),
        Reach::FamilyRegionMarket => (region, None, family(0.0), market),
        Reach::FamilyRegionMarketFromSize => (region, None, family(offer.vcpus), market),
        Reach::FamilyZoneFromSize => (region, zone, family(offer.vcpus), None),
        Reach::MarketRegion => (region, None, Types::All, market),
        Reach::Zone => (region, zone, Types::All, None),
        Reach::Region => (region, None, Types::All, None),
        Reach::Provider => (None, None, Types::All, None),
    };
    Some(Scope {
        provider: offer.provider,
        region,
        zone,
        types,
        market,
    })
}
