//! Offers together with what is known of them.

use super::history::Outlook;
use super::index::{Key, OfferIndex};
use super::{Facts, Refusal};
use crate::catalog::{Offer, ProviderName};
use crate::provider::{Quota, QuotaUnit};
use std::collections::HashMap;

/// Offers together with what is known of them. Made once for a set of facts, good for any number of requirements.
#[derive(Debug)]
pub struct Survey<'all> {
    pub(super) index: &'all OfferIndex<'all>,
    pub(super) facts: &'all Facts<'all>,
    /// What was found out about an offer, for the keys of the index in their order.
    pub(super) marks: Vec<Mark>,
    /// What is to be expected of offers of which something was seen; marks point here.
    outlooks: Vec<Outlook>,
    /// USD an hour of the offers' keys where facts change it: the hosts, which come first.
    host_usd_h: Option<f64>,
}

/// What was found out about an offer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Mark {
    /// Machines that the quotas leave room for.
    room: u32,
    /// The quota that leaves the least room, counted from 1.
    quota: u16,
    /// The block, counted from 1; 0 for none.
    block: u16,
    /// Its outlook, counted from 1; 0 where nothing was seen.
    outlook: u32,
}

const CLEAR: Mark = Mark {
    room: u32::MAX,
    quota: 0,
    block: 0,
    outlook: 0,
};

impl<'all> Survey<'all> {
    /// Joins offers and facts.
    pub fn new(index: &'all OfferIndex<'all>, facts: &'all Facts<'all>) -> Self {
        let mut survey = Self {
            index,
            facts,
            marks: vec![CLEAR; index.keys.len()],
            outlooks: Vec::new(),
            host_usd_h: facts.host_usd_h,
        };
        let holding = facts.blocks.iter().any(|block| block.holds(facts.now));
        if holding || !facts.quotas.is_empty() || !facts.history.is_empty() {
            survey.mark();
        }
        survey
    }

    /// Finds what is known by type and region first, since many offers share them.
    fn mark(&mut self) {
        let mut cells: HashMap<(u32, u32), Cell> = HashMap::new();
        let regions = self.regions();
        for at in 0..self.index.keys.len() {
            let key = self.index.keys[at];
            let offer = self.offer(key);
            let region = regions[key.site()] * 2 + (key.place & 1);
            let cell = cells
                .entry((key.kind, region))
                .or_insert_with(|| Cell::new(self.facts, offer));
            if cell.is_clear() {
                continue;
            }
            let block = cell.blocks.iter().find(|block| {
                let block = &self.facts.blocks[usize::from(**block) - 1];
                block.scope.zone.is_none() || block.scope.zone == offer.zone
            });
            self.marks[at] = Mark {
                room: cell.room,
                quota: cell.quota,
                block: block.copied().unwrap_or(0),
                outlook: 0,
            };
            if !cell.history.is_empty() {
                let seen = cell.history.iter().map(|at| &self.facts.history[*at]);
                let outlook = Outlook::unseen(offer).after(seen.filter(|history| history.is_of(offer)));
                self.outlooks.push(outlook);
                self.marks[at].outlook = self.outlooks.len() as u32;
            }
        }
    }

    /// The number of the region for each site: that of its first site.
    fn regions(&self) -> Vec<u32> {
        let mut first: HashMap<(ProviderName, &str), u32> = HashMap::new();
        let sites = self.index.sites.iter().zip(0..);
        sites
            .map(|(site, at)| {
                let offer = self.index.at_site(site);
                *first.entry((offer.provider, offer.region.as_str())).or_insert(at)
            })
            .collect()
    }

    pub(super) fn offer(&self, key: Key) -> &'all Offer {
        &self.index.offers[key.offer as usize]
    }

    /// USD an hour of an offer.
    pub(super) fn usd_h(&self, at: usize) -> f64 {
        match self.host_usd_h {
            Some(usd_h) if at < self.index.hosts => usd_h,
            _ => self.index.keys[at].usd_h,
        }
    }

    /// What is to be expected of an offer.
    pub(super) fn outlook(&self, at: usize) -> Outlook {
        match self.marks[at].outlook {
            0 => Outlook::unseen(self.offer(self.index.keys[at])),
            seen => self.outlooks[seen as usize - 1],
        }
    }

    /// Whether facts leave room for that many machines.
    pub(super) fn is_free(&self, at: usize, nodes: u32) -> bool {
        let mark = self.marks[at];
        mark.block == 0 && mark.room >= nodes
    }

    /// Why facts are against it.
    pub(super) fn against(&self, at: usize, nodes: u32) -> Option<Refusal> {
        let mark = self.marks[at];
        let block = usize::from(mark.block)
            .checked_sub(1)
            .map(|block| &self.facts.blocks[block]);
        if let Some(block) = block {
            return Some(Refusal::Blocked {
                until: block.until,
                class: block.class,
                code: block.code.clone(),
            });
        }
        if mark.room >= nodes {
            return None;
        }
        let quota = usize::from(mark.quota).checked_sub(1)?;
        let (_, quota) = &self.facts.quotas[quota];
        Some(Refusal::Quota {
            name: quota.name.clone(),
            left: quota.left(),
            need: each(quota, self.offer(self.index.keys[at])) * f64::from(nodes),
            unit: unit(quota.unit),
        })
    }
}

/// What is known of a type in a region, on a market.
struct Cell {
    /// Blocks that cover it or a zone of it, counted from 1.
    blocks: Vec<u16>,
    room: u32,
    /// Counted from 1.
    quota: u16,
    /// Numbers of what was seen.
    history: Vec<usize>,
}

impl Cell {
    fn new(facts: &Facts<'_>, offer: &Offer) -> Self {
        let mut cell = Self {
            blocks: Vec::new(),
            room: u32::MAX,
            quota: 0,
            history: Vec::new(),
        };
        for (block, at) in facts.blocks.iter().zip(1..) {
            if block.holds(facts.now) && block.scope.covers_but_zone(offer) {
                cell.blocks.push(at);
            }
        }
        for ((provider, quota), at) in facts.quotas.iter().zip(1..) {
            if *provider == offer.provider && counts(quota, offer) {
                let room = (quota.left() / each(quota, offer)).floor() as u32;
                if room < cell.room {
                    (cell.room, cell.quota) = (room, at);
                }
            }
        }
        let history = facts.history.iter().enumerate();
        let same = history.filter(|(_, seen)| {
            seen.provider == offer.provider
                && seen.market == offer.market
                && seen.region == offer.region
                && seen.instance_type == offer.instance_type
        });
        cell.history = same.map(|(at, _)| at).collect();
        cell
    }

    fn is_clear(&self) -> bool {
        self.blocks.is_empty() && self.quota == 0 && self.history.is_empty()
    }
}

/// Whether an offer counts against a quota.
fn counts(quota: &Quota, offer: &Offer) -> bool {
    (quota.region.is_empty() || quota.region == offer.region)
        && quota.market.is_none_or(|market| market == offer.market)
        && quota.instance_types.contains(&offer.instance_type)
}

/// What one machine counts for.
fn each(quota: &Quota, offer: &Offer) -> f64 {
    match quota.unit {
        QuotaUnit::Vcpus => offer.vcpus,
        QuotaUnit::Gpus => offer.gpus,
        QuotaUnit::Machines => 1.0,
    }
}

fn unit(unit: QuotaUnit) -> &'static str {
    match unit {
        QuotaUnit::Vcpus => "vCPUs",
        QuotaUnit::Gpus => "GPUs",
        QuotaUnit::Machines => "machines",
    }
}
