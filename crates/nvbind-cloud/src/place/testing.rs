//! Offers for tests, written in one line.

use crate::catalog::{Catalog, Day, Market, Offer};

/// An offer as `provider region[/zone] type market price`, the figures from the catalog.
pub(super) fn offer(text: &str) -> Offer {
    let words: Vec<&str> = text.split(' ').collect();
    let [provider, place, instance_type, market, usd_h] = words[..] else {
        panic!("{text}")
    };
    let catalog = Catalog::embedded().unwrap();
    let instance = catalog.instance(instance_type).unwrap().instance.clone();
    assert_eq!(instance.provider.as_str(), provider, "{text}");
    let (region, zone) = match place.split_once('/') {
        Some((region, zone)) => (region, Some(zone.to_owned())),
        None => (place, None),
    };
    let market = match market {
        "spot" => Market::Spot,
        _ => Market::OnDemand,
    };
    Offer {
        region: region.to_owned(),
        zone,
        market,
        usd_h: usd_h.parse().unwrap(),
        date: Day::parse("2026-07-20"),
        ..instance.unsold(market)
    }
}
