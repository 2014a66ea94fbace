//! Which facts are about which offers.

use super::cells::Cells;
use super::index::{Key, Kind, OfferIndex};
use super::survey::SLACK;
use super::{Facts, Types};
use crate::catalog::{Market, ProviderName};
use crate::provider::{Quota, QuotaUnit};
use foldhash::HashMap;

/// Lists of types of quotas before one that are compared with it: those of many regions are often the same.
const LISTS: usize = 16;

/// A cell that nobody has looked for.
pub(super) const UNKNOWN: u32 = u32::MAX;

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
    /// The number of each name.
    names: HashMap<&'all str, u32>,
    /// For each name, its kinds.
    named: Vec<Vec<usize>>,
    /// For each kind, the number of its name.
    name_of: Vec<u32>,
}

impl<'all> Kinds<'all> {
    fn of(index: &'all OfferIndex<'all>) -> Self {
        let mut kinds = Self {
            names: HashMap::default(),
            named: Vec::new(),
            name_of: Vec::new(),
        };
        for (at, kind) in index.kinds.iter().enumerate() {
            let next = kinds.named.len() as u32;
            let name = *kinds.names.entry(&index.of_kind(kind).instance_type).or_insert(next);
            if name == next {
                kinds.named.push(Vec::new());
            }
            kinds.named[name as usize].push(at);
            kinds.name_of.push(name);
        }
        kinds
    }

    fn number(&self, name: &str) -> Option<u32> {
        self.names.get(name).copied()
    }

    fn none(&self) -> Columns {
        vec![0; (self.name_of.len() * 2).div_ceil(64)]
    }

    /// Adds the kinds of that name, on one market or both.
    fn add(&self, columns: &mut Columns, name: Option<u32>, market: Option<Market>) {
        for kind in name.iter().flat_map(|name| &self.named[*name as usize]) {
            let both = market_bits(market) & 0b11;
            columns[kind / 32] |= both << (kind % 32 * 2);
        }
    }
}

/// Something that was seen: its number, and of which name and market.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at: u32,
    of: (u32, Market),
}

/// Numbers of the facts that may be about a region.
#[derive(Debug, Clone, Default)]
struct Here {
    blocks: Vec<u16>,
    quotas: Vec<u16>,
    history: Vec<Seen>,
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
            regions: by_region(facts, index, &types),
            types,
            lists,
            counted,
        };
        for region in 0..relevant.regions.len() {
            relevant.regions[region].about = relevant.about(&relevant.regions[region]);
        }
        relevant
    }

    /// As many unknown numbers as there are columns, where a fact may be about something in a region.
    pub(super) fn row(&self, region: usize) -> Vec<u32> {
        match self.regions[region].about.is_empty() {
            true => Vec::new(),
            false => vec![UNKNOWN; self.index.kinds.len() * 2],
        }
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
                Types::One(name) => self.types.add(&mut about, self.types.number(name), scope.market),
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
        for seen in &here.history {
            self.types.add(&mut about, Some(seen.of.0), Some(seen.of.1));
        }
        about
    }

    /// Adds what is known of a kind in a region, on a market: those of that key.
    pub(super) fn add_cell(&self, cells: &mut Cells, region: u32, key: Key) -> u32 {
        let (facts, here) = (self.facts, &self.regions[region as usize]);
        let kind = &self.index.kinds[key.kind as usize];
        let column = column(key.kind as usize, key.market());
        let mut room = u32::MAX;
        for at in &here.blocks {
            if facts.blocks[usize::from(*at)]
                .scope
                .covers_but_zone(self.index.offer(key))
            {
                cells.blocks.push(at + 1);
            }
        }
        for at in &here.quotas {
            let (_, quota) = &facts.quotas[usize::from(*at)];
            let each = each(quota, kind);
            let is_counted = has(&self.counted[self.lists[usize::from(*at)]], column)
                && quota.market.is_none_or(|market| market == key.market());
            if is_counted && each > 0.0 {
                cells.quotas.push((*at, each));
                room = room.min(((quota.left() + SLACK) / each).floor() as u32);
            }
        }
        let name = self.types.name_of[key.kind as usize];
        let same = here.history.iter().filter(|seen| seen.of == (name, key.market()));
        cells.history.extend(same.map(|seen| seen.at));
        cells.close(room)
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
            types.add(&mut columns, types.number(name), None);
        }
        lists.push(&quota.instance_types);
        counted.push(columns);
        lists.len() - 1
    });
    (of_quotas.collect(), counted)
}

/// The facts that may be about each region of the index.
fn by_region(facts: &Facts<'_>, index: &OfferIndex<'_>, types: &Kinds<'_>) -> Vec<Here> {
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
        let region = numbers.get(&(seen.provider, seen.region.as_str()));
        if let (Some(region), Some(name)) = (region, types.number(&seen.instance_type)) {
            let of = (name, seen.market);
            regions[*region].history.push(Seen { at, of });
        }
    }
    regions
}
