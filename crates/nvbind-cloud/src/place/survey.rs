//! Offers together with what is known of them.

use super::cells::Cells;
use super::history::Outlook;
use super::index::{Key, OfferIndex};
use super::relevant::{Relevant, UNKNOWN, column};
use super::{Facts, Refusal};
use crate::catalog::Offer;
use crate::provider::QuotaUnit;

/// Offers together with what is known of them. Made once for a set of facts, good for any number of requirements.
#[derive(Debug)]
pub struct Survey<'all> {
    pub(super) index: &'all OfferIndex<'all>,
    pub(super) facts: &'all Facts<'all>,
    /// Numbers of marks, for the keys of the index in their order.
    marked: Vec<u32>,
    /// What was found out about offers. The first knows nothing.
    marks: Vec<Mark>,
    /// What is known of a type in a region, on a market; marks point here. The first knows nothing.
    cells: Cells,
}

/// What was found out about an offer.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Mark {
    /// Machines that quotas leave room for.
    room: u32,
    /// Number of its cell.
    cell: u32,
    /// What is to be expected of it, where something was seen.
    outlook: Option<Outlook>,
    /// The block, counted from 1; 0 for none.
    block: u16,
}

const CLEAR: Mark = Mark {
    room: u32::MAX,
    cell: 0,
    outlook: None,
    block: 0,
};

impl<'all> Survey<'all> {
    /// Joins offers and facts.
    pub fn new(index: &'all OfferIndex<'all>, facts: &'all Facts<'all>) -> Self {
        let mut survey = Self {
            index,
            facts,
            marked: vec![0; index.keys.len()],
            marks: vec![CLEAR],
            cells: Cells::new(),
        };
        let holding = facts.blocks.iter().any(|block| block.holds(facts.now));
        if holding || !facts.quotas.is_empty() || !facts.history.is_empty() {
            survey.mark();
        }
        survey
    }

    /// Finds what is known by type and region first, since many offers share them.
    fn mark(&mut self) {
        let index = self.index;
        let relevant = Relevant::new(self.facts, index);
        // Numbers of cells, and of the marks that all offers of a cell share, by region and column.
        let mut rows: Vec<Vec<u32>> = (0..index.regions.len()).map(|region| relevant.row(region)).collect();
        let mut shared = vec![Some(0)];
        for (at, key) in index.keys.iter().enumerate() {
            let (region, column) = (index.sites[key.site()].region, column(key.kind as usize, key.market()));
            if !relevant.is_about(region, column) {
                continue;
            }
            let number = &mut rows[region as usize][column];
            if *number == UNKNOWN {
                *number = relevant.add_cell(&mut self.cells, region, *key);
                if *number as usize == shared.len() {
                    shared.push(self.shared_mark(*number));
                }
            }
            self.marked[at] = shared[*number as usize].unwrap_or_else(|| self.add_mark(self.mark_of(*key, *number)));
        }
    }

    /// The mark of all offers of a cell, where they have the same.
    fn shared_mark(&mut self, number: u32) -> Option<u32> {
        let is_same = self.cells.blocks_of(number).is_empty() && self.cells.history_of(number).is_empty();
        let mark = Mark {
            room: self.cells.room(number),
            cell: number,
            ..CLEAR
        };
        is_same.then(|| self.add_mark(mark))
    }

    /// Its number.
    fn add_mark(&mut self, mark: Mark) -> u32 {
        self.marks.push(mark);
        self.marks.len() as u32 - 1
    }

    fn mark_of(&self, key: Key, number: u32) -> Mark {
        let (cells, offer) = (&self.cells, self.index.offer(key));
        let block = cells.blocks_of(number).iter().find(|block| {
            let zone = &self.facts.blocks[usize::from(**block) - 1].scope.zone;
            zone.is_none() || *zone == offer.zone
        });
        let history = cells.history_of(number);
        let seen = history.iter().map(|at| &self.facts.history[*at as usize]);
        let outlook = (!history.is_empty()).then(|| {
            let unseen = key.outlook(offer.provider);
            unseen.after(seen.filter(|history| history.is_of(offer)))
        });
        Mark {
            room: cells.room(number),
            cell: number,
            outlook,
            block: block.copied().unwrap_or(0),
        }
    }

    fn mark_at(&self, at: usize) -> &Mark {
        &self.marks[self.marked[at] as usize]
    }

    /// USD an hour of an offer; facts have the last word on hosts, which come first.
    pub(super) fn usd_h(&self, at: usize) -> f64 {
        match self.facts.host_usd_h {
            Some(usd_h) if at < self.index.hosts => usd_h,
            _ => self.index.keys[at].usd_h,
        }
    }

    /// What is to be expected of an offer, where something was seen of it.
    pub(super) fn seen(&self, at: usize) -> Option<Outlook> {
        self.mark_at(at).outlook
    }

    /// Whether facts leave room for that many machines.
    pub(super) fn is_free(&self, at: usize, nodes: u32) -> bool {
        let mark = self.mark_at(at);
        mark.block == 0 && mark.room >= nodes && self.room_of(at).is_none_or(|free| free >= nodes)
    }

    /// What orders of an offer count against: quotas with what one machine counts for.
    pub(super) fn quotas_of(&self, at: usize) -> &[(u16, f64)] {
        self.cells.quotas_of(self.mark_at(at).cell)
    }

    /// Machines that are free of an offer, where that is limited.
    pub(super) fn room_of(&self, at: usize) -> Option<u32> {
        self.facts.rooms.get(self.index.keys[at].offer as usize).copied()
    }

    /// Offers of the same number count against the same quotas for the same.
    pub(super) fn cell_of(&self, at: usize) -> u32 {
        self.mark_at(at).cell
    }

    /// Why facts are against it.
    pub(super) fn against(&self, at: usize, nodes: u32) -> Option<Refusal> {
        let mark = self.mark_at(at);
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

fn unit(unit: QuotaUnit) -> &'static str {
    match unit {
        QuotaUnit::Vcpus => "vCPUs",
        QuotaUnit::Gpus => "GPUs",
        QuotaUnit::Machines => "machines",
    }
}
