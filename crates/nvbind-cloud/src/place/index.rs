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

impl Key {
    /// What is to be expected where nothing was seen.
    pub(super) fn outlook(self, provider: ProviderName) -> Outlook {
        Outlook {
            lost_per_hour: f64::from(self.lost_per_hour),
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

/// What tells kinds apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct KindName<'offer>(ProviderName, &'offer str, Gpu, [u64; 4]);

/// What tells sites apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct SiteName<'offer>(ProviderName, &'offer str, Option<&'offer str>);

impl<'offers> OfferIndex<'offers> {
    /// Lays out offers.
    pub fn new(offers: impl Into<Cow<'offers, [Offer]>>) -> Self {
        let offers = offers.into();
        let Layout {
            kinds,
            sites,
            regions,
            mut keys,
        } = Layout::of(&offers);
        let is_cloud = |key: &Key| kinds[key.kind as usize].provider != ProviderName::Hosts;
        keys.sort_unstable_by(|a, b| {
            let order = is_cloud(a).cmp(&is_cloud(b)).then(a.usd_h.total_cmp(&b.usd_h));
            order.then(a.offer.cmp(&b.offer))
        });
        let hosts = keys.partition_point(|key| !is_cloud(key));
        Self {
            offers,
            kinds,
            sites,
            regions,
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

impl Layout {
    fn of(offers: &[Offer]) -> Self {
        let mut layout = Self {
            keys: Vec::with_capacity(offers.len()),
            ..Self::default()
        };
        let mut kind_at: HashMap<KindName<'_>, u32> = HashMap::default();
        let mut site_at: HashMap<SiteName<'_>, u32> = HashMap::default();
        let mut region_at: HashMap<SiteName<'_>, u32> = HashMap::default();
        // Lists come sorted by machine or by place: the one before is likely to have the same.
        let mut last: Option<(KindName<'_>, u32, SiteName<'_>, u32)> = None;
        for (at, offer) in (0_u32..).zip(offers) {
            let kind_name = kind_name(offer);
            let kind = match &last {
                Some((name, kind, ..)) if *name == kind_name => *kind,
                _ => *kind_at.entry(kind_name).or_insert_with(|| layout.add_kind(offer, at)),
            };
            let site_name = SiteName(offer.provider, &offer.region, offer.zone.as_deref());
            let site = match &last {
                Some((_, _, name, site)) if *name == site_name => *site,
                _ => *site_at.entry(site_name).or_insert_with(|| {
                    let name = SiteName(offer.provider, &offer.region, None);
                    let region = *region_at.entry(name).or_insert_with(|| layout.add_region());
                    layout.add_site(offer, at, region)
                }),
            };
            last = Some((kind_name, kind, site_name, site));
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

    fn add_kind(&mut self, offer: &Offer, at: u32) -> u32 {
        self.kinds.push(kind_of(offer, at));
        self.kinds.len() as u32 - 1
    }

    /// A region whose first site comes next.
    fn add_region(&mut self) -> u32 {
        self.regions.push(self.sites.len() as u32);
        self.regions.len() as u32 - 1
    }

    fn add_site(&mut self, offer: &Offer, at: u32, region: u32) -> u32 {
        self.sites.push(Site {
            provider: offer.provider,
            example: at,
            region,
        });
        self.sites.len() as u32 - 1
    }
}

fn kind_name(offer: &Offer) -> KindName<'_> {
    let figures = [offer.gpus, offer.gpu_memory_gib, offer.vcpus, offer.memory_gib];
    KindName(
        offer.provider,
        &offer.instance_type,
        offer.gpu,
        figures.map(f64::to_bits),
    )
}

fn kind_of(offer: &Offer, at: u32) -> Kind {
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
