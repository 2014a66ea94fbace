//! Why not the others?

use super::query::Query;
use super::{Choice, Conflict, Facts, OfferIndex, PlaceError, Refusal, Survey};
use crate::catalog::{Catalog, Market, Offer, Status};
use crate::requirements::Requirements;

/// An offer that will not do.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    /// Number of the offer in the list that was given.
    pub offer: usize,
    /// Why.
    pub refusal: Refusal,
}

impl Survey<'_> {
    /// Every offer: those that will do, the best first, and the others with the reason, those that
    /// come nearest first, and of those alike the cheapest.
    pub fn explain(&self, requirements: &Requirements) -> Result<(Vec<Choice>, Vec<Refused>), PlaceError> {
        Conflict::in_words(requirements)?;
        let query = Query::new(self, requirements)?;
        let choices = query.choices(usize::MAX);
        let keys = self.index.keys.iter().enumerate();
        let refused = keys.filter_map(|(at, key)| {
            let refusal = query.refuse(at)?;
            Some(Refused {
                offer: key.offer as usize,
                refusal,
            })
        });
        let mut refused: Vec<Refused> = refused.collect();
        refused.sort_by_cached_key(|refused| refused.refusal.distance());
        Ok((choices, refused))
    }
}

/// What a catalog knows and nobody rents out, with the reason, of what would do otherwise: retired machines, and those that are not
/// sold on demand or on spot.
pub fn missing(catalog: &Catalog, requirements: &Requirements) -> Result<Vec<(Offer, Refusal)>, PlaceError> {
    let mut offers = Vec::new();
    let mut refusals = Vec::new();
    for instance in catalog.instances() {
        for market in [Market::OnDemand, Market::Spot] {
            let refusal = match (instance.status, instance.price(market)) {
                (Status::Retired, _) => Refusal::Retired {
                    note: instance.note.clone(),
                },
                (_, None) => Refusal::NotSold { market },
                (_, Some(_)) => continue,
            };
            offers.push(instance.unsold(market));
            refusals.push(refusal);
        }
    }
    // Price and place mean nothing here.
    let needs = Requirements {
        max_price_usd_h: None,
        budget_usd: None,
        deadline_hours: None,
        regions: Vec::new(),
        zones: Vec::new(),
        residency: Vec::new(),
        max_latency_ms: None,
        ..requirements.clone()
    };
    let index = OfferIndex::new(offers);
    let facts = Facts::default();
    let survey = Survey::new(&index, &facts);
    let query = Query::new(&survey, &needs)?;
    let fitting = (0..index.keys.len()).filter(|at| query.refuse(*at).is_none());
    let fitting = fitting.map(|at| index.keys[at].offer as usize);
    Ok(fitting
        .map(|offer| (index.offers[offer].clone(), refusals[offer].clone()))
        .collect())
}
