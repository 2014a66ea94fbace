//! Where a workload goes: ranked choices among offers, each with its reason, and why the others will not do.
//!
//! Plain functions over plain structs: [`place`] for one look, [`OfferIndex`] and [`Survey`] where many looks share the offers and
//! the facts.

mod all;
mod assign;
mod block;
mod cells;
mod conflict;
mod cost;
mod explain;
mod family;
mod history;
mod index;
mod query;
mod rank;
mod rates;
mod reach;
mod refusal;
mod relevant;
mod score;
mod shortlist;
mod survey;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use all::{Together, place_all};
pub use block::{Block, Scope, Types};
pub use conflict::Conflict;
pub use cost::{ASSUMED_WORK_HOURS, Cost, LOST_WORK_HOURS};
pub use explain::{Refused, missing};
pub use family::quota_family;
pub use history::{History, Outlook};
pub use index::OfferIndex;
pub use rates::{EXTRAS, Extras, egress_usd, transfer_hours};
pub use reach::{Lift, RULES, Reach, Rule};
pub use refusal::Refusal;
pub use survey::Survey;

use crate::catalog::{Offer, ProviderName, UnknownGpu};
use crate::provider::Quota;
use crate::requirements::Requirements;
use serde::Serialize;

/// What is known beside the offers. The default knows nothing.
#[derive(Debug, Clone, Default)]
pub struct Facts<'facts> {
    /// Seconds since 1970.
    pub now: u64,
    /// What is to be left alone; those that no longer hold do no harm.
    pub blocks: &'facts [Block],
    /// Quotas with what is used of them, as far as they were asked for.
    pub quotas: &'facts [(ProviderName, Quota)],
    /// Machines that are free of each offer, in the order of the offers; none given for no limit.
    pub rooms: &'facts [u32],
    /// Round trips that were measured.
    pub latencies: &'facts [Latency],
    /// What was seen of offers.
    pub history: &'facts [History],
    /// USD an hour of each of the user's own hosts; `None` takes the price of its offer.
    pub host_usd_h: Option<f64>,
    /// A cloud comes before the user's own hosts where it costs less than this share of the cheapest of them that fits: 0 for hosts
    /// first, always; 1 for the cheapest first.
    pub burst_below: f64,
    /// Age in days from which on a price is not believed; `None` believes all.
    pub stale_days: Option<i64>,
    /// How many placements were made before: whose turn it is with [`Strategy::RoundRobin`](crate::Strategy::RoundRobin).
    pub turn: u64,
}

/// A measured round trip.
#[derive(Debug, Clone, PartialEq, Serialize, serde::Deserialize)]
pub struct Latency {
    /// Provider.
    pub provider: ProviderName,
    /// Region.
    pub region: String,
    /// The user's name for the other end.
    pub site: String,
    /// Milliseconds.
    pub ms: f64,
}

/// Offers that will do, the best first.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Placement {
    /// The best, as many as were asked for.
    pub choices: Vec<Choice>,
}

/// An offer that will do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Choice {
    /// Number of the offer in the list that was given.
    pub offer: usize,
    /// The zone that was asked for, where the offer leaves it open.
    pub zone: Option<String>,
    /// What it is expected to cost.
    pub cost: Cost,
    /// Why it is here, in one line.
    pub reason: String,
}

/// Why there is no placement at all.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlaceError {
    /// There is no such GPU.
    #[error(transparent)]
    UnknownGpu(#[from] UnknownGpu),
    /// Two requirements contradict each other.
    #[error(transparent)]
    Conflict(#[from] Conflict),
}

impl PlaceError {
    /// The exit code of a command that ends with this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::UnknownGpu(error) => error.exit_code(),
            Self::Conflict(error) => error.exit_code(),
        }
    }
}

/// The best `count` offers for these requirements. An empty list of choices means that nothing fits now; [`Survey::explain`] tells why.
pub fn place(
    requirements: &Requirements,
    offers: &[Offer],
    facts: &Facts<'_>,
    count: usize,
) -> Result<Placement, PlaceError> {
    Conflict::in_words(requirements)?;
    let choices = shortlist::choices(requirements, offers, facts, count)?;
    if !choices.is_empty() {
        return Ok(Placement { choices });
    }
    // Why nothing fits, all offers together tell.
    let index = OfferIndex::new(offers);
    Survey::new(&index, facts).place(requirements, count)
}
