//! Which facts are about which offers.

use super::index::{Key, Kind, OfferIndex};
use super::survey::{Cell, SLACK};
use super::{Facts, Types};
use crate::catalog::{Market, ProviderName};
use crate::provider::{Quota, QuotaUnit};
use foldhash::HashMap;

/// Lists of types of quotas before one that are compared with it: those of many regions are often the same.
const LISTS: usize = 16;

/// A bit for each kind on each market.
type Columns = Vec<u64>;

/// The bits of one market in a word of [`Columns`].
fn market_bits(market: Option<Market>) -> u64 {
    match market {
        Some(Market::OnDemand) => 0x5555_5555_5555_5555,
        Some(Market::Spot) => 0xAAAA_AAAA_AAAA_AAAA,
        None => u64::MAX,
    }
}

/// The number of a kind on a market among [`Columns`].
pub(super) fn column(kind: usize, market: Market) -> usize {
    kind * 2 + market as usize
}

fn has(columns: &Columns, column: usize) -> bool {
    let word = columns.get(column / 64);
    word.is_some_and(|word| word >> (column % 64) & 1 == 1)
}

/// Which facts may be about which offers, by number.
pub(super) struct Relevant<'all> {
    facts: &'all Facts<'all>,
    index: &'all OfferIndex<'all>,
    types: Kinds<'all>,
    regions: Vec<Here>,
    /// For each quota, the number of its list of types.
    lists: Vec<usize>,
    /// For each list, what is on it.
    counted: Vec<Columns>,
}

/// Kinds by the name of their type: mostly one of each.
struct Kinds<'all> {
    by_name: HashMap<&'all str, Vec<usize>>,
    count: usize,
}

impl<'all> Kinds<'all> {
    fn of(index: &'all OfferIndex<'all>) -> Self {
        let mut by_name: HashMap<&str, Vec<usize>> = HashMap::default();
        for (at, kind) in index.kinds.iter().enumerate() {
            by_name.entry(&index.of_kind(kind).instance_type).or_default().push(at);
        }
        let count = index.kinds.len();
        Self { by_name, count }
    }

    fn named(&self, name: &str) -> &[usize] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    fn none(&self) -> Columns {
        vec![0; (self.count * 2).div_ceil(64)]
    }

    /// Adds the kinds of that name, on one market or both.
    fn add(&self, columns: &mut Columns, name: &str, market: Option<Market>) {
        for kind in self.named(name) {
            let both = market_bits(market) & 0b11;
            columns[kind / 32] |= both << (kind % 32 * 2);
        }
    }
}

/// Numbers of the facts that may be about a region.
#[derive(Debug, Clone, Default)]
struct Here {
    blocks: Vec<u16>,
    quotas: Vec<u16>,
    history: Vec<u32>,
    /// Whatever one of them may be about. Empty where none is about anything here.
    about: Columns,
}

impl<'all> Relevant<'all> {
    pub(super) fn new(facts: &'all Facts<'all>, index: &'all OfferIndex<'all>) -> Self {
        let types = Kinds::of(index);
        let (lists, counted) = lists(facts, &types);
        let mut relevant = Self {
            facts,
            index,
            types,
            regions: by_region(facts, index),
            lists,
            counted,
        };
        for region in 0..relevant.regions.len() {
            relevant.regions[region].about = relevant.about(&relevant.regions[region]);
        }
        relevant
    }

    /// Whether a fact may be about a kind on a market in a region.
    pub(super) fn is_about(&self, region: u32, column: usize) -> bool {
        has(&self.regions[region as usize].about, column)
    }

    /// See [`Here::about`].
    fn about(&self, here: &Here) -> Columns {
        if here.blocks.is_empty() && here.quotas.is_empty() && here.history.is_empty() {
            return Vec::new();
        }
        let mut about = self.types.none();
        for at in &here.blocks {
            let scope = &self.facts.blocks[usize::from(*at)].scope;
            match &scope.types {
                Types::One(name) => self.types.add(&mut about, name, scope.market),
                _ => about.iter_mut().for_each(|word| *word |= market_bits(scope.market)),
            }
        }
        for at in &here.quotas {
            let bits = market_bits(self.facts.quotas[usize::from(*at)].1.market);
            let counted = &self.counted[self.lists[usize::from(*at)]];
            for (word, counted) in about.iter_mut().zip(counted) {
                *word |= counted & bits;
            }
        }
        for at in &here.history {
            let seen = &self.facts.history[*at as usize];
            self.types.add(&mut about, &seen.instance_type, Some(seen.market));
        }
        about
    }

    /// What is known of a kind in a region, on a market: those of that key.
    pub(super) fn cell(&self, region: u32, key: Key) -> Cell {
        let (facts, here) = (self.facts, &self.regions[region as usize]);
        let kind = &self.index.kinds[key.kind as usize];
        let column = column(key.kind as usize, key.market());
        let mut cell = Cell::default();
        for at in &here.blocks {
            if facts.blocks[usize::from(*at)]
                .scope
                .covers_but_zone(self.index.offer(key))
            {
                cell.blocks.push(at + 1);
            }
        }
        for at in &here.quotas {
            let (_, quota) = &facts.quotas[usize::from(*at)];
            let each = each(quota, kind);
            let is_counted = has(&self.counted[self.lists[usize::from(*at)]], column)
                && quota.market.is_none_or(|market| market == key.market());
            if is_counted && each > 0.0 {
                cell.quotas.push((*at, each));
                cell.room = cell.room.min(((quota.left() + SLACK) / each).floor() as u32);
            }
        }
        let name = &self.index.of_kind(kind).instance_type;
        let history = here.history.iter().copied().filter(|at| {
            let seen = &facts.history[*at as usize];
            seen.market == key.market() && seen.instance_type == *name
        });
        cell.history = history.collect();
        cell
    }
}

/// What one machine counts for.
fn each(quota: &Quota, kind: &Kind) -> f64 {
    match quota.unit {
        QuotaUnit::Vcpus => kind.vcpus,
        QuotaUnit::Gpus => kind.gpus,
        QuotaUnit::Machines => 1.0,
    }
}

/// For each quota the number of its list of types, and for each list, what is on it.
fn lists(facts: &Facts<'_>, types: &Kinds<'_>) -> (Vec<usize>, Vec<Columns>) {
    let mut lists: Vec<&[String]> = Vec::new();
    let mut counted = Vec::new();
    let of_quotas = facts.quotas.iter().map(|(_, quota)| {
        let from = lists.len().saturating_sub(LISTS);
        if let Some(same) = lists[from..].iter().position(|list| *list == quota.instance_types) {
            return from + same;
        }
        let mut columns = types.none();
        for name in &quota.instance_types {
            types.add(&mut columns, name, None);
        }
        lists.push(&quota.instance_types);
        counted.push(columns);
        lists.len() - 1
    });
    (of_quotas.collect(), counted)
}

/// The facts that may be about each region of the index.
fn by_region(facts: &Facts<'_>, index: &OfferIndex<'_>) -> Vec<Here> {
    let sites = index.regions.iter().map(|site| &index.sites[*site as usize]);
    let names = sites.map(|site| (site.provider, index.at_site(site).region.as_str()));
    let names: Vec<(ProviderName, &str)> = names.collect();
    let numbers: HashMap<(ProviderName, &str), usize> = names.iter().copied().zip(0..).collect();
    // One region, or all of a provider where none is named.
    let about = |provider: ProviderName, region: Option<&str>| -> Vec<usize> {
        match region {
            Some(region) => numbers.get(&(provider, region)).copied().into_iter().collect(),
            None => (0..names.len()).filter(|at| names[*at].0 == provider).collect(),
        }
    };
    let mut regions = vec![Here::default(); names.len()];
    for (at, block) in (0_u16..).zip(facts.blocks).filter(|(_, block)| block.holds(facts.now)) {
        for region in about(block.scope.provider, block.scope.region.as_deref()) {
            regions[region].blocks.push(at);
        }
    }
    for (at, (provider, quota)) in (0_u16..).zip(facts.quotas) {
        let region = Some(quota.region.as_str()).filter(|region| !region.is_empty());
        for region in about(*provider, region) {
            regions[region].quotas.push(at);
        }
    }
    for (at, seen) in (0_u32..).zip(facts.history) {
        if let Some(region) = numbers.get(&(seen.provider, seen.region.as_str())) {
            regions[*region].history.push(at);
        }
    }
    regions
}
