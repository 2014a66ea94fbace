//! Live prices are looked at before they are believed: a feed has been wrong before.
//!
//! Published catalogs had an H100 at less than half of its price elsewhere, an A100 on demand below its spot price, an H200 at half, and a
//! placeholder of 700 USD: rules that need no knowledge of the market catch all of these.

use super::prices::{Fetched, Prices, Quote};
use super::{Catalog, Instance, Market, ProviderName};
use crate::provider::LivePrice;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// Highest believable USD an hour of one GPU: several times that of the dearest (B300, 17.80 in 2026-07).
const CEILING_USD_GPU_H: f64 = 60.0;

/// Prices on demand of one machine type in all regions lie within that factor; the widest true spread seen is 1.3.
const REGIONS_FACTOR: f64 = 2.0;

/// A feed with more than that share of bad prices is not believed at all.
const BAD_SHARE: f64 = 0.2;

/// How far ahead of this machine's clock a provider's may be, in seconds.
const CLOCK_SLACK: u64 = 86_400;

/// A price that is not believed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Doubt {
    /// The price.
    #[serde(flatten)]
    pub quote: Quote,
    /// Why not.
    pub why: String,
}

/// A feed that is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadFeed {
    /// It has nothing that the catalog knows.
    #[error("{provider} told no price of a machine in the catalog: the last good prices are kept")]
    Empty {
        /// The provider.
        provider: ProviderName,
    },
    /// Too much of it is wrong.
    #[error("{bad} of {all} prices of {provider} are not believable, as {example}: the last good prices are kept")]
    Wrong {
        /// The provider.
        provider: ProviderName,
        /// How many.
        bad: usize,
        /// Of how many.
        all: usize,
        /// One of them, with the reason.
        example: String,
    },
}

impl BadFeed {
    /// The exit code of a command that ends with this error.
    pub fn exit_code(&self) -> u8 {
        1
    }
}

/// What became of a feed.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Merged {
    /// Prices that were taken over.
    pub taken: usize,
    /// Spot prices as high as those on demand: there is no spot capacity.
    pub without_spot: usize,
    /// Prices of machines that are not sold that way, or not any more: a price is no proof that something exists.
    pub unsold: usize,
    /// Prices that are not believed; an older one stays where there is one.
    pub doubts: Vec<Doubt>,
}

impl Prices {
    /// Takes over a provider's prices of these regions. On an error nothing has changed.
    pub fn merge(
        &mut self,
        catalog: &Catalog,
        provider: ProviderName,
        regions: &[String],
        feed: &[LivePrice],
        now: u64,
    ) -> Result<Merged, BadFeed> {
        let known: HashMap<&str, &Instance> = catalog
            .instances()
            .iter()
            .filter(|instance| instance.provider == provider)
            .map(|instance| (instance.instance_type.as_str(), instance))
            .collect();
        let mut merged = Merged::default();
        let mut quotes = Vec::new();
        for price in feed {
            match known.get(price.instance_type.as_str()) {
                Some(instance) if instance.is_sold(price.market) => quotes.push(quote(provider, price)),
                _ => merged.unsold += 1,
            }
        }
        if quotes.is_empty() {
            return Err(BadFeed::Empty { provider });
        }
        let all = quotes.len();
        let mut look = Look {
            known: &known,
            quotes,
            doubts: Vec::new(),
        };
        look.at_each(now);
        look.across_regions();
        merged.without_spot = look.across_markets();
        merged.doubts = look.doubts;
        merged.taken = look.quotes.len();
        if let Some(doubt) = merged.doubts.first()
            && merged.doubts.len() as f64 > BAD_SHARE * all as f64
        {
            return Err(BadFeed::Wrong {
                provider,
                bad: merged.doubts.len(),
                all,
                example: format!("{} in {}: {}", doubt.quote.instance_type, doubt.quote.region, doubt.why),
            });
        }
        self.replace(provider, regions, look.quotes, &merged.doubts, now);
        Ok(merged)
    }

    /// Puts new prices in the place of old ones; an old one stays where the new one is doubted.
    fn replace(&mut self, provider: ProviderName, regions: &[String], new: Vec<Quote>, doubts: &[Doubt], now: u64) {
        let is_asked = |quote: &Quote| quote.provider == provider && regions.contains(&quote.region);
        let is_doubted = |quote: &Quote| doubts.iter().any(|doubt| is_same(&doubt.quote, quote));
        self.quotes.retain(|quote| !is_asked(quote) || is_doubted(quote));
        self.quotes.extend(new);
        self.quotes.sort_by(|a, b| order(a).cmp(&order(b)));
        self.fetched
            .retain(|fetched| fetched.provider != provider || !regions.contains(&fetched.region));
        self.fetched.extend(regions.iter().map(|region| Fetched {
            provider,
            region: region.clone(),
            at: now,
        }));
        self.fetched
            .sort_by(|a, b| (a.provider, &a.region).cmp(&(b.provider, &b.region)));
    }
}

fn quote(provider: ProviderName, price: &LivePrice) -> Quote {
    Quote {
        provider,
        instance_type: price.instance_type.clone(),
        region: price.region.clone(),
        zone: price.zone.clone(),
        market: price.market,
        usd_h: price.usd_h,
        at: price.at,
    }
}

fn order(quote: &Quote) -> (ProviderName, &str, &str, Option<&str>, Market) {
    let Quote {
        provider,
        instance_type,
        region,
        zone,
        market,
        ..
    } = quote;
    (*provider, instance_type, region, zone.as_deref(), *market)
}

fn is_same(a: &Quote, b: &Quote) -> bool {
    order(a) == order(b)
}

/// Prices while they are looked at.
struct Look<'catalog> {
    known: &'catalog HashMap<&'catalog str, &'catalog Instance>,
    quotes: Vec<Quote>,
    doubts: Vec<Doubt>,
}

impl Look<'_> {
    /// Moves what has a reason from the prices to the doubts.
    fn doubt(&mut self, why: impl Fn(&Quote) -> Option<String>) {
        let mut kept = Vec::with_capacity(self.quotes.len());
        for quote in std::mem::take(&mut self.quotes) {
            match why(&quote) {
                Some(why) => self.doubts.push(Doubt { quote, why }),
                None => kept.push(quote),
            }
        }
        self.quotes = kept;
    }

    /// What is wrong with a price by itself.
    fn at_each(&mut self, now: u64) {
        let known = self.known;
        self.doubt(|quote| {
            let gpus = known
                .get(quote.instance_type.as_str())
                .map_or(1.0, |instance| instance.gpus);
            let usd_gpu_h = quote.usd_h / gpus;
            match quote.usd_h {
                usd_h if !usd_h.is_finite() || usd_h <= 0.0 => Some(format!("{usd_h} USD/h is no price")),
                _ if usd_gpu_h > CEILING_USD_GPU_H => {
                    Some(format!("{usd_gpu_h:.2} USD/h for each GPU is a placeholder"))
                }
                _ if quote.at > now.saturating_add(CLOCK_SLACK) => Some("is of a time to come".to_owned()),
                _ => None,
            }
        });
    }

    /// Prices on demand of a type lie within a factor of two across regions, the catalog's own among them: the one that is farthest
    /// from the middle goes first. Where two are left and nothing else is known, nobody can tell which is wrong.
    fn across_regions(&mut self) {
        let mut by_type: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for quote in self.quotes.iter().filter(|quote| quote.market == Market::OnDemand) {
            by_type
                .entry(quote.instance_type.clone())
                .or_default()
                .push(quote.usd_h);
        }
        let mut wrong: HashMap<String, (Vec<f64>, f64)> = HashMap::new();
        for (name, mut prices) in by_type {
            let own = self
                .known
                .get(name.as_str())
                .and_then(|instance| instance.on_demand.as_ref());
            prices.extend(own.map(|price| price.usd_h));
            let (outliers, middle) = outliers(prices);
            if !outliers.is_empty() {
                wrong.insert(name, (outliers, middle));
            }
        }
        self.doubt(|quote| {
            let (outliers, middle) = wrong.get(&quote.instance_type)?;
            let is_wrong = quote.market == Market::OnDemand && outliers.contains(&quote.usd_h);
            is_wrong.then(|| {
                format!(
                    "{:.3} USD/h is off by more than {REGIONS_FACTOR} from {middle:.3}",
                    quote.usd_h
                )
            })
        });
    }

    /// Spot is below on demand in the same region. As high means that there is none; higher, that one of both is wrong.
    fn across_markets(&mut self) -> usize {
        let mut on_demand: HashMap<(String, String), f64> = HashMap::new();
        let mut highest_spot: HashMap<(String, String), f64> = HashMap::new();
        let key = |quote: &Quote| (quote.instance_type.clone(), quote.region.clone());
        for quote in &self.quotes {
            match quote.market {
                Market::OnDemand => {
                    on_demand.insert(key(quote), quote.usd_h);
                }
                Market::Spot => {
                    let highest = highest_spot.entry(key(quote)).or_insert(0.0);
                    *highest = highest.max(quote.usd_h);
                }
            }
        }
        let is_above = |a: f64, b: f64| a > b * (1.0 + 1e-6);
        self.doubt(|quote| {
            let demand = on_demand.get(&key(quote))?;
            let spot = match quote.market {
                Market::Spot => quote.usd_h,
                Market::OnDemand => *highest_spot.get(&key(quote))?,
            };
            is_above(spot, *demand).then(|| format!("spot {spot:.3} USD/h is above on demand {demand:.3}"))
        });
        let before = self.quotes.len();
        self.quotes.retain(|quote| {
            let demand = on_demand.get(&key(quote));
            quote.market == Market::OnDemand || demand.is_none_or(|demand| is_above(*demand, quote.usd_h))
        });
        before - self.quotes.len()
    }
}

/// The prices that are to go so that the rest lies within the factor, and the middle of the rest.
fn outliers(mut prices: Vec<f64>) -> (Vec<f64>, f64) {
    let mut outliers = Vec::new();
    loop {
        prices.sort_by(f64::total_cmp);
        let (Some(least), Some(most)) = (prices.first().copied(), prices.last().copied()) else {
            return (outliers, 0.0);
        };
        let middle = match prices.len() % 2 {
            1 => prices[prices.len() / 2],
            _ => (prices[prices.len() / 2 - 1] * prices[prices.len() / 2]).sqrt(),
        };
        if most <= least * REGIONS_FACTOR {
            return (outliers, middle);
        }
        if prices.len() == 2 {
            outliers.append(&mut prices);
            return (outliers, middle);
        }
        let is_high = most / middle > middle / least;
        outliers.push(if is_high { prices.pop() } else { Some(prices.remove(0)) }.unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Market::{OnDemand, Spot};

    const NOW: u64 = 1_796_000_000;

    fn price(instance_type: &str, place: &str, market: Market, usd_h: f64) -> LivePrice {
        let (region, zone) = match place.split_once('/') {
            Some((region, zone)) => (region, Some(zone.to_owned())),
            None => (place, None),
        };
        LivePrice {
            instance_type: instance_type.to_owned(),
            region: region.to_owned(),
            zone,
            market,
            usd_h,
            at: NOW,
        }
    }

    /// Enough good prices that a few bad ones do not spoil the feed.
    fn good(provider: ProviderName) -> Vec<LivePrice> {
        let catalog = Catalog::embedded().unwrap();
        let offers = catalog.offers().into_iter().filter(|offer| offer.provider == provider);
        offers
            .map(|offer| price(&offer.instance_type, &offer.region, offer.market, offer.usd_h))
            .collect()
    }

    fn regions() -> Vec<String> {
        [
            "us-central1",
            "us-east4",
            "europe-west4",
            "us-east-1",
            "us-east-2",
            "us-west-2",
        ]
        .map(ToOwned::to_owned)
        .to_vec()
    }

    fn merge(provider: ProviderName, feed: &[LivePrice]) -> (Prices, Result<Merged, BadFeed>) {
        let mut prices = Prices::default();
        let merged = prices.merge(&Catalog::embedded().unwrap(), provider, &regions(), feed, NOW);
        (prices, merged)
    }

    fn doubted(merged: &Merged) -> Vec<String> {
        let doubts = merged.doubts.iter();
        doubts
            .map(|doubt| {
                format!(
                    "{} {} {}",
                    doubt.quote.instance_type, doubt.quote.region, doubt.quote.usd_h
                )
            })
            .collect()
    }

    #[test]
    fn the_catalogs_own_prices_pass() {
        for provider in [ProviderName::Aws, ProviderName::Gcp, ProviderName::Azure] {
            let (_, merged) = merge(provider, &good(provider));
            assert_eq!(doubted(&merged.unwrap()), Vec::<String>::new());
        }
    }

    /// The prices that a published catalog really had.
    #[test]
    fn prices_that_were_published_and_wrong_are_doubted() {
        let gcp = |extra: &[LivePrice]| {
            let mut feed = good(ProviderName::Gcp);
            // The first of each kind is in the feed already.
            feed.retain(|price| !extra.iter().any(|new| new.instance_type == price.instance_type));
            feed.extend(extra.iter().cloned());
            merge(ProviderName::Gcp, &feed).1.unwrap()
        };
        let h100 = gcp(&[
            price("a3-highgpu-8g", "us-central1", OnDemand, 33.6),
            price("a3-highgpu-8g", "us-east4", OnDemand, 78.4),
        ]);
        assert_eq!(doubted(&h100), ["a3-highgpu-8g us-central1 33.6"]);
        let a100 = gcp(&[
            price("a2-ultragpu-1g", "us-central1", OnDemand, 1.846),
            price("a2-ultragpu-1g", "us-central1", Spot, 1.964),
        ]);
        assert!(
            doubted(&a100).contains(&"a2-ultragpu-1g us-central1 1.846".to_owned()),
            "{a100:?}"
        );
        let placeholder = gcp(&[price("g2-standard-4", "us-central1", OnDemand, 700.0)]);
        assert_eq!(doubted(&placeholder), ["g2-standard-4 us-central1 700"]);
        // The H200 and B200 at half of their price are not sold on demand at all.
        let h200 = gcp(&[
            price("a3-ultragpu-8g", "us-south1", OnDemand, 36.6),
            price("a3-ultragpu-8g", "us-east4", OnDemand, 74.49),
            price("a4-highgpu-8g", "us-east4", OnDemand, 64.44),
        ]);
        assert_eq!((h200.unsold, h200.doubts.len()), (3, 0));
    }

    #[test]
    fn spot_above_on_demand_makes_both_doubtful() {
        let mut feed = good(ProviderName::Aws);
        feed.retain(|price| price.instance_type != "g5.xlarge");
        feed.push(price("g5.xlarge", "us-east-1", OnDemand, 1.006));
        feed.push(price("g5.xlarge", "us-east-1/us-east-1a", Spot, 1.2));
        feed.push(price("g5.xlarge", "us-east-1/us-east-1b", Spot, 0.4));
        let merged = merge(ProviderName::Aws, &feed).1.unwrap();
        assert_eq!(
            doubted(&merged),
            ["g5.xlarge us-east-1 1.006", "g5.xlarge us-east-1 1.2"]
        );
    }

    #[test]
    fn spot_as_high_as_on_demand_means_that_there_is_none() {
        let mut feed = good(ProviderName::Aws);
        feed.retain(|price| price.instance_type != "p5.48xlarge");
        feed.push(price("p5.48xlarge", "us-east-1", OnDemand, 55.04));
        feed.push(price("p5.48xlarge", "us-east-1/us-east-1a", Spot, 55.04));
        feed.push(price("p5.48xlarge", "us-east-1/us-east-1b", Spot, 26.0));
        let (prices, merged) = merge(ProviderName::Aws, &feed);
        let merged = merged.unwrap();
        assert_eq!((merged.without_spot, merged.doubts.len()), (1, 0));
        let spot = prices
            .quotes
            .iter()
            .filter(|quote| quote.instance_type == "p5.48xlarge");
        assert_eq!(spot.filter(|quote| quote.market == Spot).count(), 1);
    }

    #[test]
    fn regions_that_agree_outvote_an_old_catalog() {
        let mut feed = good(ProviderName::Aws);
        feed.retain(|price| price.instance_type != "g5.xlarge");
        for region in ["us-east-1", "us-east-2", "us-west-2"] {
            feed.push(price("g5.xlarge", region, OnDemand, 0.4));
        }
        let (prices, merged) = merge(ProviderName::Aws, &feed);
        assert_eq!(doubted(&merged.unwrap()), Vec::<String>::new());
        let quotes = prices.quotes.iter().filter(|quote| quote.instance_type == "g5.xlarge");
        assert_eq!(quotes.count(), 3);
    }

    #[test]
    fn a_bad_feed_changes_nothing() {
        let (mut prices, _) = merge(ProviderName::Aws, &good(ProviderName::Aws));
        let before = prices.clone();
        let catalog = Catalog::embedded().unwrap();
        let mut merge = |feed: &[LivePrice]| prices.merge(&catalog, ProviderName::Aws, &regions(), feed, NOW + 9);
        let bad: Vec<LivePrice> = good(ProviderName::Aws)
            .into_iter()
            .map(|price| LivePrice {
                usd_h: price.usd_h * 100.0,
                ..price
            })
            .collect();
        let error = merge(&bad).unwrap_err();
        assert!(error.to_string().contains("the last good prices are kept"), "{error}");
        let unknown = [price("u7i.metal", "us-east-1", OnDemand, 1.0)];
        assert_eq!(
            merge(&unknown),
            Err(BadFeed::Empty {
                provider: ProviderName::Aws
            })
        );
        assert_eq!(prices, before);
    }

    #[test]
    fn a_doubted_price_leaves_the_last_good_one() {
        let (mut prices, _) = merge(ProviderName::Aws, &good(ProviderName::Aws));
        let mut feed = good(ProviderName::Aws);
        let wrong = feed
            .iter_mut()
            .find(|price| price.instance_type == "g5.xlarge" && price.market == OnDemand);
        wrong.unwrap().usd_h = 900.0;
        let catalog = Catalog::embedded().unwrap();
        let merged = prices
            .merge(&catalog, ProviderName::Aws, &regions(), &feed, NOW + 9)
            .unwrap();
        assert_eq!(merged.doubts.len(), 1);
        let kept = prices
            .quotes
            .iter()
            .find(|quote| quote.instance_type == "g5.xlarge" && quote.market == OnDemand);
        assert!((kept.unwrap().usd_h - 1.006).abs() < 1e-9);
        // What the provider no longer names is gone.
        feed.retain(|price| price.instance_type != "g5.xlarge");
        prices
            .merge(&catalog, ProviderName::Aws, &regions(), &feed, NOW + 10)
            .unwrap();
        assert!(prices.quotes.iter().all(|quote| quote.instance_type != "g5.xlarge"));
    }

    #[test]
    fn two_prices_that_differ_are_both_doubted() {
        assert_eq!(outliers(vec![1.0, 3.0]).0, [1.0, 3.0]);
        assert_eq!(outliers(vec![1.0, 1.3, 3.0]).0, [3.0]);
        assert_eq!(outliers(vec![0.4, 1.0, 1.1, 1.3]).0, [0.4]);
        assert_eq!(outliers(vec![1.0, 2.0]).0, Vec::<f64>::new());
    }
}
