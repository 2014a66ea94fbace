//! What was seen of an offer: how often it was refused, interrupted, and how long it took to start.

use crate::catalog::{Market, Offer, ProviderName};
use serde::{Deserialize, Serialize};

/// What was seen of a machine type at a place, on a market.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Provider.
    pub provider: ProviderName,
    /// Region.
    pub region: String,
    /// Zone; `None` where it is not known.
    pub zone: Option<String>,
    /// The machine type.
    pub instance_type: String,
    /// The market.
    pub market: Market,
    /// Orders.
    pub orders: u32,
    /// Orders that were refused for want of capacity.
    pub refused: u32,
    /// Hours that machines ran, all together.
    pub hours: f64,
    /// Machines that the provider took back, and that died by themselves.
    pub lost: u32,
    /// Mean seconds from an accepted order until the work started; `None` where no order got there.
    pub setup_seconds: Option<f64>,
}

/// What is expected where nothing was seen, and for how much observation that counts.
///
/// Interruptions on spot: between AWS Spot Advisor's bands (at most 0.0005 an hour) and the traces published with "Can't Be Late"
/// (several a day). Chances: that of a spot order by the providers' advice to have a second choice. Both give way to what was seen.
const SPOT_LOST_PER_HOUR: f64 = 0.02;
const PRIOR_HOURS: f64 = 100.0;
const ON_DEMAND_CHANCE: f64 = 0.95;
const SPOT_CHANCE: f64 = 0.85;
const PRIOR_ORDERS: f64 = 5.0;

/// What is to be expected of an offer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outlook {
    /// Losses of one machine in an hour.
    pub lost_per_hour: f64,
    /// Chance that an order is filled.
    pub chance: f64,
    /// Seconds of set-up, where they were measured.
    pub setup_seconds: Option<f64>,
}

impl Outlook {
    /// What is to be expected of an offer of which nothing was seen.
    pub fn unseen(offer: &Offer) -> Self {
        let (lost_per_hour, chance) = match (offer.provider, offer.market) {
            (ProviderName::Hosts, _) => (0.0, 1.0),
            (_, Market::OnDemand) => (0.0, ON_DEMAND_CHANCE),
            (_, Market::Spot) => (offer.interruptions_per_hour.unwrap_or(SPOT_LOST_PER_HOUR), SPOT_CHANCE),
        };
        Self {
            lost_per_hour,
            chance,
            setup_seconds: None,
        }
    }

    /// It after what was seen: the mean of a gamma and a beta distribution.
    pub fn after<'seen>(self, seen: impl Iterator<Item = &'seen History>) -> Self {
        let (mut hours, mut lost, mut orders, mut filled) = (0.0, 0.0, 0.0, 0.0);
        let (mut setups, mut setup_seconds) = (0.0, 0.0);
        for history in seen {
            hours += history.hours;
            lost += f64::from(history.lost);
            orders += f64::from(history.orders);
            let got = f64::from(history.orders.saturating_sub(history.refused));
            filled += got;
            if let Some(seconds) = history.setup_seconds {
                setups += got.max(1.0);
                setup_seconds += seconds * got.max(1.0);
            }
        }
        Self {
            lost_per_hour: (self.lost_per_hour * PRIOR_HOURS + lost) / (PRIOR_HOURS + hours),
            chance: (self.chance * PRIOR_ORDERS + filled) / (PRIOR_ORDERS + orders),
            setup_seconds: (setups > 0.0).then(|| setup_seconds / setups),
        }
    }
}

impl History {
    /// Whether that was seen of this offer: of its type, market and region, and of its zone where both name one.
    pub fn is_of(&self, offer: &Offer) -> bool {
        let same_zone = match (&self.zone, &offer.zone) {
            (Some(zone), Some(other)) => zone == other,
            _ => true,
        };
        self.provider == offer.provider
            && self.market == offer.market
            && same_zone
            && self.region == offer.region
            && self.instance_type == offer.instance_type
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::offer;
    use super::*;

    fn seen(orders: u32, refused: u32, hours: f64, lost: u32) -> History {
        History {
            provider: ProviderName::Aws,
            region: "us-east-1".to_owned(),
            zone: None,
            instance_type: "g5.xlarge".to_owned(),
            market: Market::Spot,
            orders,
            refused,
            hours,
            lost,
            setup_seconds: None,
        }
    }

    #[test]
    fn what_was_seen_outweighs_what_was_expected() {
        let offer = offer("aws us-east-1 g5.xlarge spot 0.4");
        let unseen = Outlook::unseen(&offer);
        let bad = unseen.after([seen(100, 90, 10_000.0, 2000)].iter());
        assert!((bad.chance - 0.136).abs() < 0.01, "{bad:?}");
        assert!((bad.lost_per_hour - 0.2).abs() < 0.01, "{bad:?}");
        let little = unseen.after([seen(1, 1, 0.0, 0)].iter());
        assert!(little.chance > 0.6 && little.chance < unseen.chance, "{little:?}");
        assert_eq!(unseen.after([].iter()), unseen);
    }

    #[test]
    fn a_zone_counts_where_both_name_one() {
        let mut offer = offer("aws us-east-1 g5.xlarge spot 0.4");
        let mut history = seen(1, 0, 1.0, 0);
        history.zone = Some("us-east-1a".to_owned());
        assert!(history.is_of(&offer));
        offer.zone = Some("us-east-1b".to_owned());
        assert!(!history.is_of(&offer));
        offer.zone = Some("us-east-1a".to_owned());
        assert!(history.is_of(&offer));
        offer.market = Market::OnDemand;
        assert!(!history.is_of(&offer));
    }
}
