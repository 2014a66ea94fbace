//! Offers together with what is known of them.

use super::history::Outlook;
use super::index::{Key, OfferIndex};
use super::{Facts, Refusal};
use crate::catalog::Offer;
use crate::provider::{Quota, QuotaUnit};

/// Offers together with what is known of them. Made once for a set of facts, good for any number of requirements.
#[derive(Debug)]
pub struct Survey<'all> {
    pub(super) index: &'all OfferIndex<'all>,
    pub(super) facts: &'all Facts<'all>,
    /// What was found out about an offer, for the keys of the index in their order.
    marks: Vec<Mark>,
    /// What is known of a type in a region, on a market; marks point here. The first knows nothing.
    cells: Vec<Cell>,
    /// What is to be expected of offers of which something was seen; marks point here.
    outlooks: Vec<Outlook>,
}

/// What was found out about an offer.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Mark {
    /// Machines that quotas and capacity leave room for.
    room: u32,
    /// Number of its cell.
    cell: u32,
    /// Its outlook, counted from 1; 0 where nothing was seen.
    outlook: u32,
    /// The block, counted from 1; 0 for none.
    block: u16,
}

const CLEAR: Mark = Mark {
    room: u32::MAX,
    cell: 0,
    outlook: 0,
    block: 0,
};

impl<'all> Survey<'all> {
    /// Joins offers and facts.
    pub fn new(index: &'all OfferIndex<'all>, facts: &'all Facts<'all>) -> Self {
        let mut survey = Self {
            index,
            facts,
            marks: vec![CLEAR; index.keys.len()],
            cells: vec![Cell::default()],
            outlooks: Vec::new(),
        };
        let holding = facts.blocks.iter().any(|block| block.holds(facts.now));
        if holding || !facts.quotas.is_empty() || !facts.history.is_empty() {
            survey.mark();
        }
        if !facts.rooms.is_empty() {
            for (mark, key) in survey.marks.iter_mut().zip(&index.keys) {
                let free = facts.rooms.get(key.offer as usize);
                mark.room = mark.room.min(free.copied().unwrap_or(u32::MAX));
            }
        }
        survey
    }

    /// Finds what is known by type and region first, since many offers share them.
    fn mark(&mut self) {
        const UNKNOWN: u32 = u32::MAX;
        let index = self.index;
        let by_region = Relevant::by_region(self.facts, index);
        let mut numbers = vec![UNKNOWN; index.kinds.len() * index.regions.len() * 2];
        for at in 0..index.keys.len() {
            let key = index.keys[at];
            let region = index.sites[key.site()].region as usize;
            let number = &mut numbers[(key.kind as usize * index.regions.len() + region) * 2 + key.place as usize % 2];
            if *number == UNKNOWN {
                let cell = Cell::new(self.facts, &by_region[region], self.index.offer(key));
                *number = match cell == self.cells[0] {
                    true => 0,
                    false => self.cells.len() as u32,
                };
                if *number > 0 {
                    self.cells.push(cell);
                }
            }
            if *number > 0 {
                self.marks[at] = self.mark_of(key, *number);
            }
        }
    }

    fn mark_of(&mut self, key: Key, number: u32) -> Mark {
        let (cell, offer) = (&self.cells[number as usize], self.index.offer(key));
        let block = cell.blocks.iter().find(|block| {
            let zone = &self.facts.blocks[usize::from(**block) - 1].scope.zone;
            zone.is_none() || *zone == offer.zone
        });
        let (block, room) = (block.copied().unwrap_or(0), cell.room);
        let mut outlook = 0;
        if !cell.history.is_empty() {
            let seen = cell.history.iter().map(|at| &self.facts.history[*at as usize]);
            let unseen = key.outlook(offer.provider);
            self.outlooks
                .push(unseen.after(seen.filter(|history| history.is_of(offer))));
            outlook = self.outlooks.len() as u32;
        }
        Mark {
            room,
            cell: number,
            outlook,
            block,
        }
    }

    /// USD an hour of an offer; facts have the last word on hosts, which come first.
    pub(super) fn usd_h(&self, at: usize) -> f64 {
        match self.facts.host_usd_h {
            Some(usd_h) if at < self.index.hosts => usd_h,
            _ => self.index.keys[at].usd_h,
        }
    }

    /// What is to be expected of an offer.
    pub(super) fn outlook(&self, at: usize) -> Outlook {
        let key = self.index.keys[at];
        match self.marks[at].outlook {
            0 => key.outlook(self.index.kinds[key.kind as usize].provider),
            seen => self.outlooks[seen as usize - 1],
        }
    }

    /// Whether facts leave room for that many machines.
    pub(super) fn is_free(&self, at: usize, nodes: u32) -> bool {
        let mark = &self.marks[at];
        mark.block == 0 && mark.room >= nodes
    }

    /// What orders of an offer count against: quotas with what one machine counts for.
    pub(super) fn quotas_of(&self, at: usize) -> &[(u16, f64)] {
        &self.cells[self.marks[at].cell as usize].quotas
    }

    /// Machines that are free of an offer, where that is limited.
    pub(super) fn room_of(&self, at: usize) -> Option<u32> {
        self.facts.rooms.get(self.index.keys[at].offer as usize).copied()
    }

    /// Offers of the same number count against the same quotas for the same.
    pub(super) fn cell_of(&self, at: usize) -> u32 {
        self.marks[at].cell
    }

    /// Why facts are against it.
    pub(super) fn against(&self, at: usize, nodes: u32) -> Option<Refusal> {
        let mark = self.marks[at];
        let block = usize::from(mark.block).checked_sub(1);
        if let Some(block) = block.map(|block| &self.facts.blocks[block]) {
            return Some(Refusal::Blocked {
                until: block.until,
                class: block.class,
                code: block.code.clone(),
            });
        }
        let need = f64::from(nodes);
        let short = self.quotas_of(at).iter().find_map(|(quota, each)| {
            let (_, quota) = &self.facts.quotas[usize::from(*quota)];
            (quota.left() + SLACK < each * need).then(|| Refusal::Quota {
                name: quota.name.clone(),
                left: quota.left(),
                need: each * need,
                unit: unit(quota.unit),
            })
        });
        let free = self.room_of(at).filter(|free| *free < nodes);
        short.or_else(|| free.map(|free| Refusal::Room { free, need: nodes }))
    }
}

impl OfferIndex<'_> {
    pub(super) fn offer(&self, key: Key) -> &Offer {
        &self.offers[key.offer as usize]
    }
}

/// What counts of shares may be off by, since a third of a GPU is no exact number.
pub(super) const SLACK: f64 = 1e-6;

/// Numbers of the facts that may be about a region.
#[derive(Debug, Clone, Default)]
struct Relevant {
    blocks: Vec<u16>,
    quotas: Vec<u16>,
    history: Vec<u32>,
}

impl Relevant {
    fn by_region(facts: &Facts<'_>, index: &OfferIndex<'_>) -> Vec<Self> {
        let regions = index.regions.iter();
        regions
            .map(|site| {
                let here = index.at_site(&index.sites[*site as usize]);
                let is_here = |region: &str| region == here.region;
                let blocks = (0_u16..).zip(facts.blocks).filter(|(_, block)| {
                    let region = block.scope.region.as_deref();
                    block.holds(facts.now) && block.scope.provider == here.provider && region.is_none_or(is_here)
                });
                let quotas = (0_u16..).zip(facts.quotas).filter(|(_, (provider, quota))| {
                    *provider == here.provider && (quota.region.is_empty() || is_here(&quota.region))
                });
                let history = (0_u32..)
                    .zip(facts.history)
                    .filter(|(_, seen)| seen.provider == here.provider && is_here(&seen.region));
                Self {
                    blocks: blocks.map(|(at, _)| at).collect(),
                    quotas: quotas.map(|(at, _)| at).collect(),
                    history: history.map(|(at, _)| at).collect(),
                }
            })
            .collect()
    }
}

/// What is known of a type in a region, on a market.
#[derive(Debug, Clone, PartialEq)]
struct Cell {
    /// Blocks that cover it or a zone of it, counted from 1.
    blocks: Vec<u16>,
    /// Quotas that it counts against, with what one machine counts for.
    quotas: Vec<(u16, f64)>,
    /// Machines that the quotas leave room for.
    room: u32,
    /// What was seen of it.
    history: Vec<u32>,
}

impl Default for Cell {
    fn default() -> Self {
        Self {
            blocks: Vec::new(),
            quotas: Vec::new(),
            room: u32::MAX,
            history: Vec::new(),
        }
    }
}

impl Cell {
    fn new(facts: &Facts<'_>, relevant: &Relevant, offer: &Offer) -> Self {
        let mut cell = Self::default();
        for at in &relevant.blocks {
            if facts.blocks[usize::from(*at)].scope.covers_but_zone(offer) {
                cell.blocks.push(at + 1);
            }
        }
        for at in &relevant.quotas {
            let (_, quota) = &facts.quotas[usize::from(*at)];
            let is_counted = quota.market.is_none_or(|market| market == offer.market)
                && quota.instance_types.contains(&offer.instance_type);
            let each = each(quota, offer);
            if is_counted && each > 0.0 {
                cell.quotas.push((*at, each));
                cell.room = cell.room.min(((quota.left() + SLACK) / each).floor() as u32);
            }
        }
        let history = relevant.history.iter().copied();
        let same = history.filter(|at| {
            let seen = &facts.history[*at as usize];
            seen.market == offer.market && seen.instance_type == offer.instance_type
        });
        cell.history = same.collect();
        cell
    }
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
