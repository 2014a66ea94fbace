//! Requirements made ready for looking through offers: what is decided by kind and by place is decided once.

use super::cost::{Around, Cost};
use super::history::Outlook;
use super::index::{Kind, Site, kind_of};
use super::rates::{Extras, egress_usd, transfer_hours};
use super::{Latency, PlaceError, Refusal, Survey};
use crate::catalog::{Day, Gpu, Market, Offer, ProviderName, country_of, holds, is_place};
use crate::requirements::{Requirements, SpotUse};

/// In the order of their numbers.
const MARKETS: [Market; 2] = [Market::OnDemand, Market::Spot];

/// Requirements made ready for looking through the offers of a survey.
pub(super) struct Query<'all> {
    pub(super) survey: &'all Survey<'all>,
    pub(super) requirements: &'all Requirements,
    models: Vec<Gpu>,
    pub(super) nodes: f64,
    pub(super) work_hours: f64,
    /// Whether a kind will do.
    kinds: Vec<bool>,
    /// Whether a place will do: a site on a market.
    places: Vec<bool>,
    /// What depends on the region alone.
    around: Vec<Around>,
    /// Oldest day of a price that is believed.
    oldest: Option<Day>,
}

/// An offer that will do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fit {
    /// Number of its key.
    pub(super) at: usize,
    pub(super) cost: Cost,
}

impl<'all> Query<'all> {
    /// Requirements not made ready: enough to tell about an offer that was chosen.
    pub(super) fn bare(survey: &'all Survey<'all>, requirements: &'all Requirements) -> Self {
        let stale_days = survey.facts.stale_days;
        Self {
            survey,
            requirements,
            models: Vec::new(),
            nodes: f64::from(requirements.nodes),
            work_hours: requirements.work_hours.unwrap_or(super::ASSUMED_WORK_HOURS),
            kinds: Vec::new(),
            places: Vec::new(),
            around: Vec::new(),
            oldest: stale_days.map(|days| Day(Day::of_unix(survey.facts.now).0 - days)),
        }
    }

    pub(super) fn new(survey: &'all Survey<'all>, requirements: &'all Requirements) -> Result<Self, PlaceError> {
        let index = survey.index;
        let mut query = Self {
            models: requirements.models()?,
            ..Self::bare(survey, requirements)
        };
        query.kinds = index
            .kinds
            .iter()
            .map(|kind| query.refuse_kind(kind).is_none())
            .collect();
        for site in &index.sites {
            let is_fit = query.refuse_site(site).is_none();
            for market in MARKETS {
                query.places.push(is_fit && query.refuse_market(market).is_none());
            }
        }
        let regions = index.regions.iter().map(|site| &index.sites[*site as usize]);
        query.around = regions.map(|site| query.around(index.at_site(site))).collect();
        Ok(query)
    }

    /// Whether any kind will do, whatever its price and place.
    pub(super) fn has_kinds(&self) -> bool {
        self.kinds.contains(&true)
    }

    /// Whether the machine of an offer will do, and its region and market as far as they were named.
    pub(super) fn suits(&self, offer: &Offer, number: u32) -> bool {
        let regions = &self.requirements.regions;
        (self.models.is_empty() || self.models.contains(&offer.gpu))
            && self.refuse_market(offer.market).is_none()
            && self.refuse_kind(&kind_of(offer, number)).is_none()
            && (regions.is_empty() || regions.contains(&offer.region))
    }

    /// Whether any kind of a provider will do.
    pub(super) fn has_kinds_of(&self, provider: ProviderName) -> bool {
        let mut kinds = self.survey.index.kinds.iter().zip(&self.kinds);
        kinds.any(|(kind, is_fit)| *is_fit && kind.provider == provider)
    }

    fn around(&self, offer: &Offer) -> Around {
        let extras = Extras::of(offer.provider);
        let here = (offer.provider, offer.region.as_str());
        let data = self.requirements.data.as_ref();
        let from = data.map(|data| (data.gib, (data.provider, data.region.as_str())));
        Around {
            disk_usd_h: extras.disk_usd_h(self.requirements.disk_gib),
            egress_usd: from.map_or(0.0, |(gib, from)| egress_usd(gib, from, here)),
            transfer_hours: from.map_or(0.0, |(gib, from)| transfer_hours(gib, from, here)),
            setup_seconds: extras.setup_seconds,
            address_usd_h: MARKETS.map(|market| extras.address_usd_h(market)),
            chance: MARKETS.map(|market| Outlook::unseen(offer.provider, market, None).chance),
        }
    }

    /// Chance that an order of an offer is filled.
    #[inline(always)]
    pub(super) fn chance_at(&self, at: usize) -> f64 {
        let key = self.survey.index.keys[at];
        let around = &self.around[self.survey.index.sites[key.site()].region as usize];
        let unseen = around.chance[key.market() as usize];
        self.survey.seen(at).map_or(unseen, |outlook| outlook.chance)
    }

    /// What an offer is expected to cost.
    #[inline(always)]
    pub(super) fn cost_at(&self, at: usize) -> Cost {
        let key = self.survey.index.keys[at];
        let around = &self.around[self.survey.index.sites[key.site()].region as usize];
        let outlook = self.survey.seen(at).unwrap_or_else(|| Outlook {
            lost_per_hour: key.lost_per_hour(),
            chance: around.chance[key.market() as usize],
            setup_seconds: None,
        });
        self.cost(self.survey.usd_h(at), key.market(), outlook, around)
    }

    /// The offer with its cost, if it will do. Scores ask that of every offer, and use little of the cost: hence the attributes.
    #[inline(always)]
    pub(super) fn fit(&self, at: usize) -> Option<Fit> {
        let key = self.survey.index.keys[at];
        let is_fit = self.kinds[key.kind as usize]
            && self.places[key.place as usize]
            && self.survey.is_free(at, self.requirements.nodes)
            && self
                .requirements
                .max_price_usd_h
                .is_none_or(|most| self.survey.usd_h(at) <= most)
            && (self.oldest.is_none() || self.refuse_age(self.survey.index.offer(key)).is_none());
        if !is_fit {
            return None;
        }
        let cost = self.cost_at(at);
        self.refuse_cost(&cost).is_none().then_some(Fit { at, cost })
    }

    /// Why an offer will not do: the first reason, from what never changes to what may be otherwise in an hour.
    pub(super) fn refuse(&self, at: usize) -> Option<Refusal> {
        let index = self.survey.index;
        let key = index.keys[at];
        self.refuse_kind(&index.kinds[key.kind as usize])
            .or_else(|| self.refuse_market(key.market()))
            .or_else(|| self.refuse_site(&index.sites[key.site()]))
            .or_else(|| self.survey.against(at, self.requirements.nodes))
            .or_else(|| self.refuse_price(self.survey.usd_h(at)))
            .or_else(|| self.refuse_age(self.survey.index.offer(key)))
            .or_else(|| self.refuse_cost(&self.cost_at(at)))
    }

    fn refuse_price(&self, usd_h: f64) -> Option<Refusal> {
        let most = self.requirements.max_price_usd_h?;
        (usd_h > most).then_some(Refusal::Price { usd_h, most })
    }

    fn refuse_age(&self, offer: &Offer) -> Option<Refusal> {
        let oldest = self.oldest?;
        if offer.provider == ProviderName::Hosts || offer.date.is_some_and(|day| day >= oldest) {
            return None;
        }
        Some(Refusal::Stale {
            date: offer
                .date
                .map_or_else(|| "no known day".to_owned(), |day| day.to_string()),
            days: self.survey.facts.stale_days.unwrap_or_default(),
        })
    }

    /// Without known work nobody can say when it is done, and the budget must pay for the first hour.
    fn refuse_cost(&self, cost: &Cost) -> Option<Refusal> {
        let needs = self.requirements;
        if let (Some(most), Some(_)) = (needs.deadline_hours, needs.work_hours)
            && cost.hours > most
        {
            return Some(Refusal::Deadline {
                hours: cost.hours,
                most,
            });
        }
        let budget = needs.budget_usd?;
        let usd = match needs.work_hours {
            Some(_) => cost.job_usd,
            None => cost.usd_h + cost.egress_usd,
        };
        (usd > budget).then_some(Refusal::Budget { usd, budget })
    }

    fn refuse_kind(&self, kind: &Kind) -> Option<Refusal> {
        let needs = self.requirements;
        let model = kind.gpu.model();
        let below = |has: f64, need: Option<f64>| need.filter(|need| has < *need - 1e-9);
        if !needs.providers.is_empty() && !needs.providers.contains(&kind.provider) {
            return Some(Refusal::Provider {
                provider: kind.provider,
            });
        }
        if !self.is_named(kind) {
            return Some(Refusal::InstanceType);
        }
        if !self.models.is_empty() && !self.models.contains(&kind.gpu) {
            return Some(Refusal::Model {
                has: kind.gpu.name(),
                asked: needs.gpu_types.join(" or "),
            });
        }
        if let Some(need) = needs.compute_capability.filter(|need| model.capability < *need) {
            return Some(Refusal::Capability {
                has: model.capability,
                need,
            });
        }
        if let Some(need) = below(kind.gpus, Some(needs.gpus)) {
            return Some(Refusal::Gpus { has: kind.gpus, need });
        }
        if let Some(need) = below(kind.gpu_memory_gib, needs.gpu_memory_gib) {
            return Some(Refusal::GpuMemory {
                has: kind.gpu_memory_gib,
                need,
            });
        }
        if let Some(need) = below(kind.vcpus, needs.vcpus) {
            return Some(Refusal::Vcpus { has: kind.vcpus, need });
        }
        if let Some(need) = below(kind.memory_gib, needs.memory_gib) {
            return Some(Refusal::Memory {
                has: kind.memory_gib,
                need,
            });
        }
        let need = needs.arch.filter(|need| kind.arch != *need)?;
        Some(Refusal::Arch { has: kind.arch, need })
    }

    fn is_named(&self, kind: &Kind) -> bool {
        let names = &self.requirements.instance_types;
        names.is_empty() || {
            let name = &self.survey.index.of_kind(kind).instance_type;
            names.iter().any(|asked| is_same_type(asked, name))
        }
    }

    fn refuse_market(&self, market: Market) -> Option<Refusal> {
        let is_fit = match self.requirements.spot {
            SpotUse::Auto => true,
            SpotUse::Only => market == Market::Spot,
            SpotUse::Never => market == Market::OnDemand,
        };
        (!is_fit).then_some(Refusal::Market { has: market })
    }

    fn refuse_site(&self, site: &Site) -> Option<Refusal> {
        let needs = self.requirements;
        let offer = self.survey.index.at_site(site);
        let region = || offer.region.clone();
        if !needs.regions.is_empty() && !needs.regions.contains(&offer.region) {
            return Some(Refusal::Region { region: region() });
        }
        if !needs.zones.is_empty() && self.zone_of(offer).is_none() {
            return Some(Refusal::Zone {
                zone: offer.zone.clone().unwrap_or_else(region),
            });
        }
        if !needs.residency.is_empty() {
            let country = country(offer);
            let is_allowed = |country: &str| needs.residency.iter().any(|place| holds(place, country));
            if !country.as_deref().is_some_and(is_allowed) {
                return Some(Refusal::Residency {
                    country: country.unwrap_or_else(|| "an unknown country".to_owned()),
                    region: region(),
                    allowed: needs.residency.join(", "),
                });
            }
        }
        let most = needs.max_latency_ms?;
        let Some(worst) = self.latency(offer) else {
            return Some(Refusal::LatencyUnknown { region: region() });
        };
        (worst.ms > most).then(|| Refusal::Latency {
            site: worst.site.clone(),
            ms: worst.ms,
            most,
        })
    }

    /// The zone that is ordered: the offer's, or one that was asked for in its region.
    pub(super) fn zone_of<'zone>(&'zone self, offer: &'zone Offer) -> Option<&'zone str> {
        let zones = &self.requirements.zones;
        match &offer.zone {
            Some(zone) => (zones.is_empty() || zones.contains(zone)).then_some(zone),
            None => zones.iter().find(|zone| is_zone_of(offer, zone)).map(String::as_str),
        }
    }

    /// The longest round trip that was measured from the offer's region.
    pub(super) fn latency(&self, offer: &Offer) -> Option<&'all Latency> {
        let measured = self.survey.facts.latencies.iter();
        let here = measured.filter(|seen| seen.provider == offer.provider && seen.region == offer.region);
        here.max_by(|a, b| a.ms.total_cmp(&b.ms))
    }
}

/// Zones are named after their region (`us-east-1a`, `us-central1-b`), but for Azure's, which are numbers.
fn is_zone_of(offer: &Offer, zone: &str) -> bool {
    let is_number = !zone.is_empty() && zone.bytes().all(|byte| byte.is_ascii_digit());
    match offer.provider {
        ProviderName::Azure => is_number,
        _ => zone.len() > offer.region.len() && is_named_after(zone, &offer.region),
    }
}

/// `us-east-1a` is named after `us-east-1`, `us-east-10` is not.
fn is_named_after(zone: &str, region: &str) -> bool {
    zone.strip_prefix(region)
        .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// The country of an offer. A host's region is its country where the user wrote one there.
pub(super) fn country(offer: &Offer) -> Option<String> {
    if offer.provider == ProviderName::Hosts && offer.region.len() == 2 && is_place(&offer.region) {
        return Some(offer.region.to_ascii_uppercase());
    }
    country_of(&offer.region).map(str::to_owned)
}

/// Whether a name that was asked for is that of a machine type; Azure's also without `Standard_`, whatever the case.
pub(super) fn is_same_type(asked: &str, name: &str) -> bool {
    let short = name.strip_prefix("Standard_").unwrap_or(name);
    name.eq_ignore_ascii_case(asked) || short.eq_ignore_ascii_case(asked)
}
