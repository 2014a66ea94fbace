//! How good offers are beside the best of what fits, for [`Strategy::HybridBalanced`](crate::Strategy::HybridBalanced).

use super::index::{Key, Kind};
use super::query::{Query, country};
use crate::catalog::{Offer, holds};

/// An offer that fits, with what its score needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fitting {
    /// Number of its key.
    pub(super) at: u32,
    /// As [`super::Cost::weighted_usd`].
    pub(super) usd: f64,
    /// Chance that the machines are there and stay until the work is done.
    stays: f64,
}

/// What scores are measured by. What is decided by kind and by place is weighed once.
pub(super) struct Scale {
    cost_weight: f64,
    availability_weight: f64,
    /// Sum of all weights.
    whole: f64,
    /// The best of what fits.
    best_usd: f64,
    best_stays: f64,
    /// Performance for each kind, weighted.
    performance: Vec<f64>,
    /// Latency and compliance for each site, weighted.
    sites: Vec<(f64, f64)>,
}

impl Scale {
    pub(super) fn new(query: &Query<'_>, fitting: &[Fitting]) -> Self {
        let (index, weights) = (query.survey.index, query.requirements.weights);
        let sites = || index.sites.iter().map(|site| index.at_site(site));
        let latencies: Vec<Option<f64>> = sites().map(|offer| query.latency(offer).map(|seen| seen.ms)).collect();
        let tflops: Vec<f64> = index.kinds.iter().map(tflops).collect();
        let (mut best_usd, mut best_stays) = (f64::INFINITY, 0.0_f64);
        let (mut best_tflops, mut best_ms) = (0.0_f64, f64::INFINITY);
        for one in fitting {
            let key = &index.keys[one.at as usize];
            best_usd = best_usd.min(one.usd);
            best_stays = best_stays.max(one.stays);
            best_tflops = best_tflops.max(tflops[key.kind as usize]);
            best_ms = best_ms.min(latencies[key.site()].unwrap_or(f64::INFINITY));
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
            best_usd,
            best_stays,
            performance: performance.collect(),
            sites: sites.collect(),
        }
    }

    /// How good an offer is beside the best, from 0 to 1.
    pub(super) fn score(&self, key: &Key, one: &Fitting) -> f64 {
        let (latency, compliance) = self.sites[key.site()];
        let cost = self.cost_weight * share(self.best_usd, one.usd);
        let availability = self.availability_weight * share(one.stays, self.best_stays);
        (cost + self.performance[key.kind as usize] + latency + availability + compliance) / self.whole
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
    /// All that fits, with what scores need of it.
    pub(super) fn fitting(&self) -> Vec<Fitting> {
        let len = self.survey.index.keys.len();
        let mut fitting = Vec::with_capacity(len);
        let mut staying = [(0.0, 1.0); 2];
        for fit in (0..len).filter_map(|at| self.fit(at)) {
            // Most offers of a market are expected to be lost alike.
            let (losses, chance) = &mut staying[self.survey.index.keys[fit.at].market() as usize];
            if *losses != fit.cost.losses {
                (*losses, *chance) = (fit.cost.losses, (-fit.cost.losses).exp());
            }
            fitting.push(Fitting {
                at: fit.at as u32,
                usd: fit.cost.weighted_usd,
                stays: fit.cost.chance * *chance,
            });
        }
        fitting
    }
}
