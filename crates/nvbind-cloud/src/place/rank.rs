//! Which of the offers that will do comes first.

use super::cost::Cost;
use super::index::Kind;
use super::query::Query;
use super::score::{Offered, Scale};
use super::{Choice, Conflict, PlaceError, Placement, Survey};
use crate::catalog::{Offer, ProviderName};
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
    at: u32,
}

impl Ranked {
    /// Number of its key.
    pub(super) fn at(&self) -> usize {
        self.at as usize
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
    /// All so far, while there are fewer than `count`.
    few: Vec<Ranked>,
    /// The best `count`, once there are so many.
    heap: BinaryHeap<Ranked>,
}

impl Best {
    fn new(count: usize) -> Self {
        Self {
            count,
            few: Vec::new(),
            heap: BinaryHeap::new(),
        }
    }

    fn push(&mut self, ranked: Ranked) {
        if self.few.len() + self.heap.len() < self.count {
            self.few.push(ranked);
            if self.few.len() == self.count {
                self.heap = std::mem::take(&mut self.few).into();
            }
        } else if let Some(mut worst) = self.heap.peek_mut()
            && ranked < *worst
        {
            *worst = ranked;
        }
    }

    /// Whether nothing whose tier, key and cost are at least these gets in any more.
    fn is_closed(&self, tier: u8, key: f64, usd: f64) -> bool {
        let worst = self.heap.peek().map(|worst| worst.rank);
        worst.is_some_and(|worst| (worst.tier, worst.key, worst.usd) < (tier, key, usd)) || self.count == 0
    }

    fn sorted(self) -> Vec<Ranked> {
        let mut all = self.few;
        all.extend(self.heap);
        all.sort_unstable();
        all
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
        self.told(&ranked)
    }

    fn told(&self, ranked: &[Ranked]) -> Vec<Choice> {
        let choices = ranked.iter();
        choices
            .map(|ranked| self.choice(ranked, self.cost_at(ranked.at())))
            .collect()
    }

    /// The best `count` by cost, unless a cloud offer at that price or above it might be one of them.
    pub(super) fn choices_below(&self, count: usize, usd_h: f64) -> Option<Vec<Choice>> {
        let hosts = self.host_usd();
        let best = self.best_by_cost(count, hosts);
        let least = self.least_usd(usd_h);
        let is_settled = best.is_closed(self.tier(usize::MAX, least, hosts), 0.0, least);
        is_settled.then(|| self.told(&best.sorted()))
    }

    /// The best `count` by cost alone, hosts like clouds.
    pub(super) fn cheapest(&self, count: usize) -> Vec<Ranked> {
        match self.has_kinds() {
            true => self.by_cost(count, None),
            false => Vec::new(),
        }
    }

    fn ranked(&self, count: usize) -> Vec<Ranked> {
        let hosts = self.host_usd();
        match self.requirements.strategy {
            Strategy::CostAware => self.by_cost(count, hosts),
            Strategy::RoundRobin => self.in_turn(count, hosts),
            Strategy::GpuUtilization => self.by_fill(count, hosts),
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

    fn rank(&self, at: usize, usd: f64, key: f64, hosts: Option<f64>) -> Ranked {
        let key_of = self.survey.index.keys[at];
        let provider = self.survey.index.kinds[key_of.kind as usize].provider;
        let preferred = self.requirements.providers.iter().position(|name| *name == provider);
        let rank = Rank {
            tier: self.tier(at, usd, hosts),
            key,
            usd,
            provider: preferred.unwrap_or(0) as u8,
            offer: key_of.offer,
        };
        Ranked { rank, at: at as u32 }
    }

    /// Whether no cloud offer from that key on gets in any more: keys are sorted by price, and no offer costs less in all than its
    /// price for the work alone.
    fn is_done(&self, best: &Best, at: usize, hosts: Option<f64>) -> bool {
        let least = self.least_usd(self.survey.index.keys[at].usd_h);
        at >= self.survey.index.hosts && best.is_closed(self.tier(at, least, hosts), 0.0, least)
    }

    fn by_cost(&self, count: usize, hosts: Option<f64>) -> Vec<Ranked> {
        self.best_by_cost(count, hosts).sorted()
    }

    fn best_by_cost(&self, count: usize, hosts: Option<f64>) -> Best {
        let mut best = Best::new(count);
        for at in 0..self.survey.index.keys.len() {
            if self.is_done(&best, at, hosts) {
                break;
            }
            if let Some(fit) = self.fit(at) {
                best.push(self.rank(at, fit.cost.weighted_usd, 0.0, hosts));
            }
        }
        best
    }

    /// Those whose GPUs the job fills best: that is decided by kind, so most offers are passed over without a look at their cost.
    fn by_fill(&self, count: usize, hosts: Option<f64>) -> Vec<Ranked> {
        let index = self.survey.index;
        let keys: Vec<f64> = index.kinds.iter().map(|kind| -self.fill(kind)).collect();
        let mut best = Best::new(count);
        for (at, key_of) in index.keys.iter().enumerate() {
            let key = keys[key_of.kind as usize];
            let least = self.least_usd(self.survey.usd_h(at));
            if best.is_closed(self.tier(at, least, hosts), key, least) {
                continue;
            }
            if let Some(fit) = self.fit(at) {
                best.push(self.rank(at, fit.cost.weighted_usd, key, hosts));
            }
        }
        best.sorted()
    }

    /// The cheapest of each provider, then the second of each; each time the next provider comes first.
    fn in_turn(&self, count: usize, hosts: Option<f64>) -> Vec<Ranked> {
        let lists: Vec<Vec<Ranked>> = self.by_provider(count, hosts);
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
        all.sort_unstable();
        all.truncate(count);
        all
    }

    /// The cheapest of each provider that has some, in the order they were asked for.
    fn by_provider(&self, count: usize, hosts: Option<f64>) -> Vec<Vec<Ranked>> {
        let index = self.survey.index;
        let order = match self.requirements.providers.is_empty() {
            true => ProviderName::WORDS.map(|(provider, _)| provider).to_vec(),
            false => self.requirements.providers.clone(),
        };
        let list_of = |kind: &Kind| order.iter().position(|provider| *provider == kind.provider);
        let list_of: Vec<Option<usize>> = index.kinds.iter().map(list_of).collect();
        let mut lists: Vec<Best> = order.iter().map(|_| Best::new(count)).collect();
        let mut is_open: Vec<bool> = order.iter().map(|provider| self.has_kinds_of(*provider)).collect();
        for (at, key) in index.keys.iter().enumerate() {
            let Some(number) = list_of[key.kind as usize].filter(|number| is_open[*number]) else {
                continue;
            };
            if self.is_done(&lists[number], at, hosts) {
                is_open[number] = false;
                // Hosts came before all others.
                let is_over =
                    |(provider, is_open): (&ProviderName, &bool)| *provider == ProviderName::Hosts || !is_open;
                if order.iter().zip(&is_open).all(is_over) {
                    break;
                }
            } else if let Some(fit) = self.fit(at) {
                lists[number].push(self.rank(at, fit.cost.weighted_usd, 0.0, hosts));
            }
        }
        let lists = lists.into_iter().map(Best::sorted);
        lists.filter(|list| !list.is_empty()).collect()
    }

    /// The share of a machine's GPUs, and of their memory where it was asked for, that the job uses.
    fn fill(&self, kind: &Kind) -> f64 {
        let share = |need: f64, has: f64| if has > 0.0 { (need / has).min(1.0) } else { 0.0 };
        let memory = self.requirements.gpu_memory_gib;
        share(self.requirements.gpus, kind.gpus) * memory.map_or(1.0, |need| share(need, kind.gpu_memory_gib))
    }

    /// Scores are measured by the best of what fits, so that is found first.
    fn by_score(&self, count: usize, hosts: Option<f64>) -> Vec<Ranked> {
        let scale = Scale::new(self);
        let mut best = Best::new(count);
        for (at, key_of) in self.survey.index.keys.iter().enumerate() {
            let at_most = self.at_most(at);
            let least = 1.0 - scale.score(key_of, at_most);
            if best.is_closed(self.tier(at, at_most.usd, hosts), least, at_most.usd) {
                continue;
            }
            if let Some(fit) = self.fit(at) {
                let key = 1.0 - scale.score(key_of, Offered::of(&fit.cost));
                best.push(self.rank(at, fit.cost.weighted_usd, key, hosts));
            }
        }
        best.sorted()
    }

    pub(super) fn choice(&self, ranked: &Ranked, cost: Cost) -> Choice {
        let offer = self.survey.index.offer(self.survey.index.keys[ranked.at()]);
        Choice {
            offer: ranked.rank.offer as usize,
            zone: self.zone_of(offer).map(str::to_owned),
            cost,
            reason: self.reason(ranked, &cost, offer),
        }
    }

    fn reason(&self, ranked: &Ranked, cost: &Cost, offer: &Offer) -> String {
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
