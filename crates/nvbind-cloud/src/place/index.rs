//! Offers laid out for looking through them fast.

use super::history::Outlook;
use crate::catalog::{Arch, Gpu, Market, Offer, ProviderName};
use foldhash::HashMap;
use std::borrow::Cow;

/// Offers laid out for looking through them fast: by price, with what many have in common kept once.
///
/// Made once for a list of offers and good for any number of requirements.
#[derive(Debug, Clone)]
pub struct OfferIndex<'offers> {
    pub(super) offers: Cow<'offers, [Offer]>,
    pub(super) kinds: Vec<Kind>,
    pub(super) sites: Vec<Site>,
    /// For each region, one of its sites.
    pub(super) regions: Vec<u32>,
    /// One for each offer, hosts first, then by price.
    pub(super) keys: Vec<Key>,
    /// How many of the keys are of hosts.
    pub(super) hosts: usize,
}

/// What offers of one machine type have in common.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kind {
    pub(super) provider: ProviderName,
    /// An offer of it.
    pub(super) example: u32,
    pub(super) gpu: Gpu,
    pub(super) gpus: f64,
    pub(super) gpu_memory_gib: f64,
    pub(super) vcpus: f64,
    pub(super) memory_gib: f64,
    pub(super) arch: Arch,
}

/// Where offers are: a region or a zone of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Site {
    pub(super) provider: ProviderName,
    /// An offer there.
    pub(super) example: u32,
    /// Number of its region.
    pub(super) region: u32,
}

/// What decides about an offer in most cases, in 24 bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Key {
    /// USD an hour.
    pub(super) usd_h: f64,
    /// Number of the kind.
    pub(super) kind: u32,
    /// Twice the number of the site, and one more on spot.
    pub(super) place: u32,
    /// Number of the offer.
    pub(super) offer: u32,
    /// Losses of one machine in an hour, where nothing was seen.
    lost_per_hour: f32,
}

impl Kind {
    fn is_host(&self) -> bool {
        self.provider == ProviderName::Hosts
    }
}

impl Key {
    fn sort_word(&self) -> u128 {
        sort_word(self.usd_h, self.offer)
    }

    /// Losses of one machine in an hour, where nothing was seen.
    pub(super) fn lost_per_hour(self) -> f64 {
        f64::from(self.lost_per_hour)
    }

    /// What is to be expected where nothing was seen.
    pub(super) fn outlook(self, provider: ProviderName) -> Outlook {
        Outlook {
            lost_per_hour: self.lost_per_hour(),
            ..Outlook::unseen(provider, self.market(), None)
        }
    }

    pub(super) fn market(self) -> Market {
        match self.place & 1 {
            0 => Market::OnDemand,
            _ => Market::Spot,
        }
    }

    pub(super) fn site(self) -> usize {
        (self.place >> 1) as usize
    }
}

/// What tells kinds apart: what is compared fastest comes first.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct KindName<'offer>(ProviderName, Gpu, [u64; 4], &'offer str);

/// What tells sites apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct SiteName<'offer>(ProviderName, &'offer str, Option<&'offer str>);

impl<'offers> OfferIndex<'offers> {
    /// Lays out offers.
    pub fn new(offers: impl Into<Cow<'offers, [Offer]>>) -> Self {
        let offers = offers.into();
        let layout = Layout::of(&offers, 0..offers.len() as u32);
        Self::of(offers, layout)
    }

    /// Lays out some of the offers, given by number, in rising order.
    pub(super) fn of_some(offers: &'offers [Offer], some: &[u32]) -> Self {
        let layout = Layout::of(offers, some.iter().copied());
        Self::of(Cow::Borrowed(offers), layout)
    }

    fn of(offers: Cow<'offers, [Offer]>, layout: Layout) -> Self {
        let mut clouds = layout.keys;
        let mut keys: Vec<Key> = match layout.kinds.iter().any(Kind::is_host) {
            true => clouds
                .extract_if(.., |key| layout.kinds[key.kind as usize].is_host())
                .collect(),
            false => Vec::new(),
        };
        let hosts = keys.len();
        keys.sort_unstable_by_key(Key::sort_word);
        clouds.sort_unstable_by_key(Key::sort_word);
        // Fresh memory costs as much as the sorting.
        match hosts {
            0 => keys = clouds,
            _ => keys.extend(clouds),
        }
        Self {
            offers,
            kinds: layout.kinds,
            sites: layout.sites,
            regions: layout.regions,
            keys,
            hosts,
        }
    }

    /// The offers, in the order they came in.
    pub fn offers(&self) -> &[Offer] {
        &self.offers
    }

    /// An offer of a kind: for what all of them have in common.
    pub(super) fn of_kind(&self, kind: &Kind) -> &Offer {
        &self.offers[kind.example as usize]
    }

    /// An offer at a site: for its region and zone.
    pub(super) fn at_site(&self, site: &Site) -> &Offer {
        &self.offers[site.example as usize]
    }
}

/// What is kept once, and the keys in the order of the offers.
#[derive(Default)]
struct Layout {
    kinds: Vec<Kind>,
    sites: Vec<Site>,
    regions: Vec<u32>,
    keys: Vec<Key>,
}

/// A number that sorts by price, as [`f64::total_cmp`] does, then by the number of the offer, which is its lowest 32 bits. Plain
/// numbers are sorted several times as fast as what has to be compared field by field.
pub(super) fn sort_word(usd_h: f64, number: u32) -> u128 {
    let bits = usd_h.to_bits();
    let price = match bits >> 63 {
        0 => bits | (1 << 63),
        _ => !bits,
    };
    u128::from(price) << 32 | u128::from(number)
}

/// Numbers for names, in the order they come. Lists of offers name the same machines and places again and again in the same order,
/// so the last name and the one that came after it before are tried first.
struct Numbers<Name> {
    names: Vec<Name>,
    at: HashMap<Name, u32>,
    /// For each name, the one that came after it.
    after: Vec<u32>,
    last: usize,
}

impl<Name: Copy + Eq + std::hash::Hash> Numbers<Name> {
    fn new() -> Self {
        Self {
            names: Vec::new(),
            at: HashMap::default(),
            after: Vec::new(),
            last: 0,
        }
    }

    /// The number of a name, and whether it is new.
    fn number(&mut self, name: Name) -> (u32, bool) {
        if self.names.get(self.last) == Some(&name) {
            return (self.last as u32, false);
        }
        let guess = self.after.get(self.last).copied().unwrap_or_default();
        if self.names.get(guess as usize) == Some(&name) {
            self.last = guess as usize;
            return (guess, false);
        }
        let next = self.names.len() as u32;
        let number = *self.at.entry(name).or_insert(next);
        if number == next {
            self.names.push(name);
            self.after.push(number);
        }
        self.after[self.last] = number;
        self.last = number as usize;
        (number, number == next)
    }
}

impl Layout {
    fn of(offers: &[Offer], some: impl ExactSizeIterator<Item = u32>) -> Self {
        let mut layout = Self {
            keys: Vec::with_capacity(some.len()),
            ..Self::default()
        };
        let mut kinds = Numbers::new();
        let mut sites = Numbers::new();
        let mut regions = Numbers::new();
        for at in some {
            let offer = &offers[at as usize];
            let (kind, is_new) = kinds.number(kind_name(offer));
            if is_new {
                layout.kinds.push(kind_of(offer, at));
            }
            let (site, is_new) = sites.number(SiteName(offer.provider, &offer.region, offer.zone.as_deref()));
            if is_new {
                let (region, is_new) = regions.number(SiteName(offer.provider, &offer.region, None));
                if is_new {
                    layout.regions.push(site);
                }
                layout.sites.push(Site {
                    provider: offer.provider,
                    example: at,
                    region,
                });
            }
            let outlook = Outlook::unseen(offer.provider, offer.market, offer.interruptions_per_hour);
            layout.keys.push(Key {
                usd_h: offer.usd_h,
                kind,
                place: site * 2 + u32::from(offer.market == Market::Spot),
                offer: at,
                lost_per_hour: outlook.lost_per_hour as f32,
            });
        }
        layout
    }
}

fn kind_name(offer: &Offer) -> KindName<'_> {
    let figures = [offer.gpus, offer.gpu_memory_gib, offer.vcpus, offer.memory_gib];
    KindName(
        offer.provider,
        offer.gpu,
        figures.map(f64::to_bits),
        &offer.instance_type,
    )
}

pub(super) fn kind_of(offer: &Offer, at: u32) -> Kind {
    Kind {
        provider: offer.provider,
        example: at,
        gpu: offer.gpu,
        gpus: offer.gpus,
        gpu_memory_gib: offer.gpu_memory_gib,
        vcpus: offer.vcpus,
        memory_gib: offer.memory_gib,
        arch: offer.arch,
    }
}
