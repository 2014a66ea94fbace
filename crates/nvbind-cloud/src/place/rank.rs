//! Which of the offers that will do comes first.

use super::index::Key;
use super::query::{Fit, Query, country};
use super::{Choice, Conflict, PlaceError, Placement, Survey};
use crate::catalog::{Offer, ProviderName, holds};
use crate::requirements::{Requirements, Strategy};
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// What offers are sorted by; the lowest is the best.
#[derive(Debug, Clone, Copy)]
struct Rank {
    /// A cloud that is cheap enough to come before the user's own hosts, these, the others.
    tier: u8,
    /// By the strategy.
    key: f64,
    /// The expected cost, where the strategy has no preference.
    usd: f64,
    /// How late the provider is named among the preferred ones.
    provider: u8,
    offer: u32,
}

impl Rank {
    fn order(&self, other: &Self) -> Ordering {
        (self.tier.cmp(&other.tier))
            .then(self.key.total_cmp(&other.key))
            .then(self.usd.total_cmp(&other.usd))
            .then(self.provider.cmp(&other.provider))
            .then(self.offer.cmp(&other.offer))
    }
}

/// An offer that will do, with its rank.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ranked {
    rank: Rank,
    fit: Fit,
}

impl Ranked {
    /// Number of its key.
    pub(super) fn at(&self) -> usize {
        self.fit.at
    }

    /// What it is compared by with [`Strategy::CostAware`].
    pub(super) fn usd(&self) -> f64 {
        self.rank.usd
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank.order(&other.rank)
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked {}

/// The best few of many.
struct Best {
    count: usize,
    heap: BinaryHeap<Ranked>,
}

impl Best {
    fn new(count: usize) -> Self {
        Self {
            count,
            heap: BinaryHeap::with_capacity(count.min(64) + 1),
        }
    }

    fn push(&mut self, ranked: Ranked) {
        if self.heap.len() < self.count {
            self.heap.push(ranked);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && ranked < *worst
        {
            *worst = ranked;
        }
    }

    /// Whether nothing whose tier and cost are at least these gets in any more.
    fn is_closed(&self, tier: u8, usd: f64) -> bool {
        let worst = self.heap.peek().filter(|_| self.heap.len() >= self.count);
        worst.is_some_and(|worst| (worst.rank.tier, worst.rank.usd) < (tier, usd)) || self.count == 0
    }

    fn sorted(self) -> Vec<Ranked> {
        self.heap.into_sorted_vec()
    }
}

impl<'all> Survey<'all> {
    /// The best `count` offers for these requirements; an empty list when nothing fits as things are.
    pub fn place(&self, requirements: &Requirements, count: usize) -> Result<Placement, PlaceError> {
        Conflict::in_words(requirements)?;
        let query = Query::new(self, requirements)?;
        let choices = query.choices(count);
        if choices.is_empty() && count > 0 {
            Conflict::in_offers(self, requirements)?;
        }
        Ok(Placement { choices })
    }
}

impl Query<'_> {
    pub(super) fn choices(&self, count: usize) -> Vec<Choice> {
        let ranked = match self.has_kinds() {
            true => self.ranked(count),
            false => Vec::new(),
        };
        ranked.iter().map(|ranked| self.choice(ranked)).collect()
    }

    /// The best `count` by cost alone, hosts like clouds.
    pub(super) fn cheapest(&self, count: usize) -> Vec<Ranked> {
        match self.has_kinds() {
            true => self.by_cost(count, None, |_| true),
            false => Vec::new(),
        }
    }

    fn ranked(&self, count: usize) -> Vec<Ranked> {
        let hosts = self.host_usd();
        match self.requirements.strategy {
            Strategy::CostAware => self.by_cost(count, hosts, |_| true),
            Strategy::RoundRobin => self.in_turn(count, hosts),
            Strategy::GpuUtilization => self.by_key(count, hosts, |fit| -self.fill(fit.at)),
            Strategy::HybridBalanced => self.by_score(count, hosts),
        }
    }

    /// The cheapest fitting host, weighted.
    fn host_usd(&self) -> Option<f64> {
        let hosts = (0..self.survey.index.hosts).filter_map(|at| self.fit(at));
        hosts.map(|fit| fit.cost.weighted_usd).min_by(f64::total_cmp)
    }

    /// See [`Rank::tier`].
    fn tier(&self, at: usize, usd: f64, hosts: Option<f64>) -> u8 {
        match hosts {
            None => 0,
            Some(_) if at < self.survey.index.hosts => 1,
            Some(host) if usd < host * self.survey.facts.burst_below => 0,
            Some(_) => 2,
        }
    }

    fn rank(&self, fit: Fit, key: f64, hosts: Option<f64>) -> Ranked {
        let key_of = self.survey.index.keys[fit.at];
        let provider = self.survey.index.kinds[key_of.kind as usize].provider;
        let preferred = self.requirements.providers.iter().position(|name| *name == provider);
        let rank = Rank {
            tier: self.tier(fit.at, fit.cost.weighted_usd, hosts),
            key,
            usd: fit.cost.weighted_usd,
            provider: preferred.unwrap_or(0) as u8,
            offer: key_of.offer,
        };
        Ranked { rank, fit }
    }

    /// Keys are sorted by price, and no offer costs less in all than its price for the work alone: what comes after the first price
    /// that is too high for the list need not be looked at.
    fn by_cost(&self, count: usize, hosts: Option<f64>, is_wanted: impl Fn(ProviderName) -> bool) -> Vec<Ranked> {
        let index = self.survey.index;
        let mut best = Best::new(count);
        for (at, key) in index.keys.iter().enumerate() {
            if at >= index.hosts {
                let least = self.least_usd(key.usd_h);
                if best.is_closed(self.tier(at, least, hosts), least) {
                    break;
                }
            }
            if is_wanted(index.kinds[key.kind as usize].provider)
                && let Some(fit) = self.fit(at)
            {
                best.push(self.rank(fit, 0.0, hosts));
            }
        }
        best.sorted()
    }

    fn by_key(&self, count: usize, hosts: Option<f64>, key: impl Fn(&Fit) -> f64) -> Vec<Ranked> {
        let mut best = Best::new(count);
        for at in 0..self.survey.index.keys.len() {
            if let Some(fit) = self.fit(at) {
                best.push(self.rank(fit, key(&fit), hosts));
            }
        }
        best.sorted()
    }

    /// The cheapest of each provider, then the second of each; each time the next provider comes first.
    fn in_turn(&self, count: usize, hosts: Option<f64>) -> Vec<Ranked> {
        let order = match self.requirements.providers.is_empty() {
            true => ProviderName::WORDS.map(|(provider, _)| provider).to_vec(),
            false => self.requirements.providers.clone(),
        };
        let lists = order
            .iter()
            .map(|provider| self.by_cost(count, hosts, |name| name == *provider));
        let lists: Vec<Vec<Ranked>> = lists.filter(|list| !list.is_empty()).collect();
        let mut all = Vec::new();
        for (number, list) in lists.iter().enumerate() {
            let turn = (self.survey.facts.turn % lists.len() as u64) as usize;
            let late = (number + lists.len() - turn) % lists.len();
            for (round, ranked) in list.iter().enumerate() {
                let mut ranked = *ranked;
                ranked.rank.key = (round * lists.len() + late) as f64;
                all.push(ranked);
            }
        }
        all.sort();
        all.truncate(count);
        all
    }

    /// The share of a machine's GPUs, and of their memory where it was asked for, that the job uses.
    fn fill(&self, at: usize) -> f64 {
        let kind = &self.survey.index.kinds[self.survey.index.keys[at].kind as usize];
        let share = |need: f64, has: f64| if has > 0.0 { (need / has).min(1.0) } else { 0.0 };
        let memory = self.requirements.gpu_memory_gib;
        share(self.requirements.gpus, kind.gpus) * memory.map_or(1.0, |need| share(need, kind.gpu_memory_gib))
    }

    /// Scores are measured by the best of what fits, so all of it is found first.
    fn by_score(&self, count: usize, hosts: Option<f64>) -> Vec<Ranked> {
        let latencies = self.latencies();
        let fits = (0..self.survey.index.keys.len()).filter_map(|at| self.fit(at));
        let fits: Vec<(Fit, f64)> = fits.map(|fit| (fit, stays(&fit))).collect();
        let bests = self.bests(&fits, &latencies);
        let mut best = Best::new(count);
        for (fit, stays) in fits {
            let scores = self.scores(&fit, stays, &bests, &latencies);
            best.push(self.rank(fit, 1.0 - scores.weighted(self.requirements), hosts));
        }
        best.sorted()
    }

    /// The longest round trip of each site.
    fn latencies(&self) -> Vec<Option<f64>> {
        let index = self.survey.index;
        let sites = index.sites.iter();
        sites
            .map(|site| self.latency(index.at_site(site)).map(|seen| seen.ms))
            .collect()
    }

    /// The best of what fits, which scores are measured by.
    fn bests(&self, fits: &[(Fit, f64)], latencies: &[Option<f64>]) -> Bests {
        let mut bests = Bests::default();
        for (fit, stays) in fits {
            let ms = latencies[self.survey.index.keys[fit.at].site()];
            bests.usd = bests.usd.min(fit.cost.weighted_usd);
            bests.tflops = bests.tflops.max(self.tflops(fit.at));
            bests.ms = bests.ms.min(ms.unwrap_or(f64::INFINITY));
            bests.stays = bests.stays.max(*stays);
        }
        bests
    }

    /// Throughput of all GPUs of a machine.
    fn tflops(&self, at: usize) -> f64 {
        let kind = &self.survey.index.kinds[self.survey.index.keys[at].kind as usize];
        kind.gpu.model().tflops.map_or(0.0, f64::from) * kind.gpus
    }

    fn scores(&self, fit: &Fit, stays: f64, bests: &Bests, latencies: &[Option<f64>]) -> Scores {
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 1.0 };
        let key = self.survey.index.keys[fit.at];
        let latency = match (bests.ms.is_finite(), latencies[key.site()]) {
            (false, _) => 1.0,
            (true, None) => 0.0,
            (true, Some(ms)) => share(bests.ms, ms),
        };
        Scores {
            cost: share(bests.usd, fit.cost.weighted_usd),
            performance: share(self.tflops(fit.at), bests.tflops),
            latency,
            availability: share(stays, bests.stays),
            compliance: self.compliance(key),
        }
    }

    /// 1 in the place that was named first or where none was, less in those after it.
    fn compliance(&self, key: Key) -> f64 {
        let places = &self.requirements.residency;
        if places.is_empty() {
            return 1.0;
        }
        let country = country(self.survey.index.offer(key)).unwrap_or_default();
        let found = places.iter().position(|place| holds(place, &country));
        found.map_or(0.0, |position| 1.0 / (1 + position) as f64)
    }

    pub(super) fn choice(&self, ranked: &Ranked) -> Choice {
        let offer = self.survey.index.offer(self.survey.index.keys[ranked.fit.at]);
        Choice {
            offer: ranked.rank.offer as usize,
            zone: self.zone_of(offer).map(str::to_owned),
            cost: ranked.fit.cost,
            reason: self.reason(ranked, offer),
        }
    }

    fn reason(&self, ranked: &Ranked, offer: &Offer) -> String {
        let cost = &ranked.fit.cost;
        let why = match (self.requirements.strategy, ranked.rank.tier) {
            (_, 1) => "own hosts first".to_owned(),
            (Strategy::CostAware, _) => "by expected cost".to_owned(),
            (Strategy::RoundRobin, _) => format!("{} in its turn", offer.provider),
            (Strategy::GpuUtilization, _) => format!("job fills {:.0}% of it", -100.0 * ranked.rank.key),
            (Strategy::HybridBalanced, _) => format!("score {:.3}", 1.0 - ranked.rank.key),
        };
        let losses = match cost.losses > 0.0 {
            true => format!(", {:.2} interruptions", cost.losses),
            false => String::new(),
        };
        format!(
            "{why}: {:.2} USD in {:.1} h at {:.3} USD/h{losses}, chance {:.0}%",
            cost.job_usd,
            cost.hours,
            cost.usd_h,
            100.0 * cost.chance
        )
    }
}

/// Chance that the machines are there and stay until the work is done.
fn stays(fit: &Fit) -> f64 {
    fit.cost.chance * (-fit.cost.losses).exp()
}

/// The best of what fits.
#[derive(Debug)]
struct Bests {
    usd: f64,
    tflops: f64,
    ms: f64,
    stays: f64,
}

impl Default for Bests {
    fn default() -> Self {
        Self {
            usd: f64::INFINITY,
            tflops: 0.0,
            ms: f64::INFINITY,
            stays: 0.0,
        }
    }
}

/// How good an offer is beside the best, from 0 to 1.
#[derive(Debug)]
struct Scores {
    cost: f64,
    performance: f64,
    latency: f64,
    availability: f64,
    compliance: f64,
}

impl Scores {
    fn weighted(&self, requirements: &Requirements) -> f64 {
        let weights = requirements.weights;
        let parts = [
            (weights.cost, self.cost),
            (weights.performance, self.performance),
            (weights.latency, self.latency),
            (weights.availability, self.availability),
            (weights.compliance, self.compliance),
        ];
        let whole: f64 = parts.iter().map(|(weight, _)| weight).sum();
        parts.iter().map(|(weight, score)| weight * score).sum::<f64>() / whole
    }
}
