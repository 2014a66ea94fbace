//! How good offers are beside the best of what fits, for [`Strategy::HybridBalanced`](crate::Strategy::HybridBalanced).

use super::cost::Cost;
use super::index::{Key, Kind};
use super::query::{Query, country};
use crate::catalog::{Offer, holds};

/// What a score needs of an offer; or the best that may be said of it before its cost is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offered {
    /// As [`super::Cost::weighted_usd`].
    pub(super) usd: f64,
    /// Chance that the machines are there and stay until the work is done.
    pub(super) stays: f64,
}

/// What scores are measured by. What is decided by kind and by place is weighed once.
pub(super) struct Scale {
    cost_weight: f64,
    availability_weight: f64,
    /// Sum of all weights.
    whole: f64,
    /// The best of what fits.
    best: Offered,
    /// Performance for each kind, weighted.
    performance: Vec<f64>,
    /// Latency and compliance for each site, weighted.
    sites: Vec<(f64, f64)>,
}

impl Scale {
    pub(super) fn new(query: &Query<'_>) -> Self {
        let (index, weights) = (query.survey.index, query.requirements.weights);
        let sites = || index.sites.iter().map(|site| index.at_site(site));
        let latencies: Vec<Option<f64>> = sites().map(|offer| query.latency(offer).map(|seen| seen.ms)).collect();
        let tflops: Vec<f64> = index.kinds.iter().map(tflops).collect();
        let mut best = Offered {
            usd: f64::INFINITY,
            stays: 0.0,
        };
        let (mut best_tflops, mut best_ms) = (0.0_f64, f64::INFINITY);
        for (at, key) in index.keys.iter().enumerate() {
            let at_most = query.at_most(at);
            let tflops = tflops[key.kind as usize];
            let ms = latencies[key.site()].unwrap_or(f64::INFINITY);
            let may_be_best =
                at_most.usd < best.usd || at_most.stays > best.stays || tflops > best_tflops || ms < best_ms;
            if !may_be_best {
                continue;
            }
            let Some(fit) = query.fit(at) else { continue };
            let offered = Offered::of(&fit.cost);
            best.usd = best.usd.min(offered.usd);
            best.stays = best.stays.max(offered.stays);
            best_tflops = best_tflops.max(tflops);
            best_ms = best_ms.min(ms);
        }
        let latency = |ms: Option<f64>| match (best_ms.is_finite(), ms) {
            (false, _) => 1.0,
            (true, None) => 0.0,
            (true, Some(ms)) => share(best_ms, ms),
        };
        let performance = tflops
            .iter()
            .map(|tflops| weights.performance * share(*tflops, best_tflops));
        let sites = sites().zip(&latencies).map(|(offer, ms)| {
            let compliance = compliance(&query.requirements.residency, offer);
            (weights.latency * latency(*ms), weights.compliance * compliance)
        });
        Self {
            cost_weight: weights.cost,
            availability_weight: weights.availability,
            whole: weights.cost + weights.performance + weights.latency + weights.availability + weights.compliance,
            best,
            performance: performance.collect(),
            sites: sites.collect(),
        }
    }

    /// How good an offer is beside the best, from 0 to 1. No weight is below 0, so what is said too well of an offer makes its
    /// score no lower.
    pub(super) fn score(&self, key: &Key, offered: Offered) -> f64 {
        let (latency, compliance) = self.sites[key.site()];
        let cost = self.cost_weight * share(self.best.usd, offered.usd);
        let availability = self.availability_weight * share(offered.stays, self.best.stays);
        (cost + self.performance[key.kind as usize] + latency + availability + compliance) / self.whole
    }
}

impl Offered {
    pub(super) fn of(cost: &Cost) -> Self {
        Self {
            usd: cost.weighted_usd,
            stays: cost.chance * (-cost.losses).exp(),
        }
    }
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 1.0 }
}

/// Throughput of all GPUs of a machine.
fn tflops(kind: &Kind) -> f64 {
    kind.gpu.model().tflops.map_or(0.0, f64::from) * kind.gpus
}

/// 1 in the place that was named first or where none was, less in those after it.
fn compliance(places: &[String], offer: &Offer) -> f64 {
    if places.is_empty() {
        return 1.0;
    }
    let country = country(offer).unwrap_or_default();
    let found = places.iter().position(|place| holds(place, &country));
    found.map_or(0.0, |position| 1.0 / (1 + position) as f64)
}

impl Query<'_> {
    /// The best that may be said of an offer without a look at all of its cost: most are passed over with that.
    #[inline(always)]
    pub(super) fn at_most(&self, at: usize) -> Offered {
        Offered {
            usd: self.least_usd(self.survey.usd_h(at)),
            stays: self.chance_at(at),
        }
    }
}
