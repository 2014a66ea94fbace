//! One look: only those offers are laid out that can be among the best, since laying out all of them takes longer than the look.

use super::index::sort_word;
use super::query::Query;
use super::{Choice, Facts, OfferIndex, PlaceError, Survey};
use crate::catalog::{Offer, ProviderName};
use crate::requirements::{Requirements, Strategy};

/// The cheapest offers that are laid out at first, beside all hosts, and how many times as many whenever these did not settle it.
const FIRST: usize = 512;
const MORE: usize = 8;

/// The best `count` offers for these requirements, as [`Survey::place`] finds them.
pub(super) fn choices(
    requirements: &Requirements,
    offers: &[Offer],
    facts: &Facts<'_>,
    count: usize,
) -> Result<Vec<Choice>, PlaceError> {
    let (nothing, no_facts) = (OfferIndex::of_some(offers, &[]), Facts::default());
    let bare = Survey::new(&nothing, &no_facts);
    let bare = Query::new(&bare, requirements)?;
    let mut size = match requirements.strategy {
        Strategy::CostAware => FIRST,
        _ => usize::MAX,
    };
    loop {
        let list = Shortlist::new(&bare, offers, size);
        let index = OfferIndex::of_some(offers, &list.numbers());
        let survey = Survey::new(&index, facts);
        let query = Query::new(&survey, requirements)?;
        let choices = match list.next {
            Some(next) => query.choices_below(count, offers[next as u32 as usize].usd_h),
            None => Some(query.choices(count)),
        };
        if let Some(choices) = choices {
            return Ok(choices);
        }
        size *= MORE;
    }
}

/// The cheapest offers of machines that will do, and all such hosts.
struct Shortlist {
    hosts: Vec<u32>,
    /// As words to sort by.
    clouds: Vec<u128>,
    /// The first that has no place in the list.
    next: Option<u128>,
}

impl Shortlist {
    fn new(query: &Query<'_>, offers: &[Offer], size: usize) -> Self {
        let mut list = Self {
            hosts: Vec::new(),
            clouds: Vec::new(),
            next: None,
        };
        for (number, offer) in (0_u32..).zip(offers) {
            let word = sort_word(offer.usd_h, number);
            let is_host = offer.provider == ProviderName::Hosts;
            if !is_host && list.next.is_some_and(|next| word >= next) || !query.suits(offer, number) {
                continue;
            }
            match is_host {
                true => list.hosts.push(number),
                false => list.clouds.push(word),
            }
            // Seldom enough that it does not matter.
            if list.clouds.len() >= size.saturating_mul(4) {
                list.shorten(size);
            }
        }
        list.shorten(size);
        list
    }

    fn shorten(&mut self, size: usize) {
        if self.clouds.len() > size {
            self.next = Some(*self.clouds.select_nth_unstable(size).1);
            self.clouds.truncate(size);
        }
    }

    /// The numbers of the offers, rising.
    fn numbers(&self) -> Vec<u32> {
        let clouds = self.clouds.iter().map(|word| *word as u32);
        let mut numbers: Vec<u32> = self.hosts.iter().copied().chain(clouds).collect();
        numbers.sort_unstable();
        numbers
    }
}
