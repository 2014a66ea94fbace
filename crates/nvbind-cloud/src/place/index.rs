//! Offers laid out for looking through them fast.

use crate::catalog::{Arch, Gpu, Market, Offer, ProviderName};
use std::borrow::Cow;
use std::collections::HashMap;

/// Offers laid out for looking through them fast: by price, with what many have in common kept once.
///
/// Made once for a list of offers and good for any number of requirements.
#[derive(Debug, Clone)]
pub struct OfferIndex<'offers> {
    pub(super) offers: Cow<'offers, [Offer]>,
    pub(super) kinds: Vec<Kind>,
    pub(super) sites: Vec<Site>,
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
}

/// What decides about an offer in most cases, in 16 bytes.
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
}

impl Key {
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
#[derive(PartialEq, Eq, Hash)]
struct KindName<'offer>(ProviderName, &'offer str, Gpu, [u64; 4]);

/// What tells sites apart.
#[derive(PartialEq, Eq, Hash)]
struct SiteName<'offer>(ProviderName, &'offer str, Option<&'offer str>);

impl<'offers> OfferIndex<'offers> {
    /// Lays out offers.
    pub fn new(offers: impl Into<Cow<'offers, [Offer]>>) -> Self {
        let offers = offers.into();
        let (kinds, sites, mut keys) = lay_out(&offers);
        let is_cloud = |key: &Key| kinds[key.kind as usize].provider != ProviderName::Hosts;
        keys.sort_by(|a, b| {
            let order = is_cloud(a).cmp(&is_cloud(b)).then(a.usd_h.total_cmp(&b.usd_h));
            order.then(a.offer.cmp(&b.offer))
        });
        let hosts = keys.partition_point(|key| !is_cloud(key));
        Self {
            offers,
            kinds,
            sites,
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

fn lay_out(offers: &[Offer]) -> (Vec<Kind>, Vec<Site>, Vec<Key>) {
    let mut kinds: Vec<Kind> = Vec::new();
    let mut sites: Vec<Site> = Vec::new();
    let mut keys = Vec::with_capacity(offers.len());
    let mut kind_at: HashMap<KindName<'_>, u32> = HashMap::new();
    let mut site_at: HashMap<SiteName<'_>, u32> = HashMap::new();
    for (at, offer) in (0_u32..).zip(offers) {
        let kind = *kind_at.entry(kind_name(offer)).or_insert_with(|| {
            kinds.push(kind_of(offer, at));
            kinds.len() as u32 - 1
        });
        let name = SiteName(offer.provider, &offer.region, offer.zone.as_deref());
        let site = *site_at.entry(name).or_insert_with(|| {
            sites.push(Site {
                provider: offer.provider,
                example: at,
            });
            sites.len() as u32 - 1
        });
        keys.push(Key {
            usd_h: offer.usd_h,
            kind,
            place: site * 2 + u32::from(offer.market == Market::Spot),
            offer: at,
        });
    }
    (kinds, sites, keys)
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
