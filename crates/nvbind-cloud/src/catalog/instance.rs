//! One machine type of a provider.

use super::{Arch, Day, Gpu, Market, Offer, ProviderName};
use serde::{Deserialize, Serialize};

/// One machine type of a provider, with its GPUs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Instance {
    /// Who rents it out.
    pub provider: ProviderName,
    /// Its name; with what is attached where the name alone has no GPU.
    pub instance_type: String,
    /// Name of the machine type alone.
    pub machine_type: String,
    /// Its GPUs' model.
    pub gpu: Gpu,
    /// How many; a fraction where the machine has a share of one.
    pub gpus: f64,
    /// Memory of each, or of the share, in GiB.
    pub gpu_memory_gib: f64,
    /// Virtual CPUs.
    pub vcpus: f64,
    /// Main memory in GiB.
    pub memory_gib: f64,
    /// What its CPUs run.
    pub arch: Arch,
    /// Price on demand.
    pub on_demand: Option<Price>,
    /// Price on spot; the lowest where zones differ.
    pub spot: Option<Price>,
    /// Highest price on spot where zones differ, in USD an hour.
    pub spot_high_usd_h: Option<f64>,
    /// How many in a hundred are interrupted in a month, from; by AWS's Spot Advisor.
    pub interrupted_low_pct: Option<f64>,
    /// ... to; `None` with a lower bound means more than that.
    pub interrupted_high_pct: Option<f64>,
    /// Network as the provider puts it, in Gbit/s.
    pub network_gbps: String,
    /// Whether its GPUs are joined by NVLink, as far as known.
    pub nvlink: String,
    /// Whether it can be rented.
    pub status: Status,
    /// More about that.
    pub note: String,
    /// Where the figures are from.
    pub source: String,
    /// Where the price on spot is from.
    pub spot_source: String,
    /// Which figures nobody has checked.
    pub unverified: String,
}

/// What an hour costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Price {
    /// USD an hour.
    pub usd_h: f64,
    /// Where.
    pub region: String,
    /// When that was; `None` where the source has no date.
    pub date: Option<Day>,
}

/// Whether a machine can be rented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// On demand, and on spot where it has a price.
    Current,
    /// Not on demand: on spot or by reservation only.
    Restricted,
    /// Gone, even where price lists still have it.
    Retired,
}

/// A line of the catalog.
#[derive(Deserialize)]
pub(super) struct Row {
    provider: String,
    instance_type: String,
    machine_type: String,
    gpu: String,
    gpus: f64,
    gpu_memory_gib: f64,
    vcpus: f64,
    memory_gib: f64,
    arch: Arch,
    on_demand_usd_h: Option<f64>,
    on_demand_region: String,
    on_demand_date: String,
    spot_low_usd_h: Option<f64>,
    spot_high_usd_h: Option<f64>,
    spot_region: String,
    spot_date: String,
    interrupted_low_pct: Option<f64>,
    interrupted_high_pct: Option<f64>,
    network_gbps: String,
    nvlink: String,
    status: Status,
    note: String,
    source: String,
    spot_source: String,
    unverified: String,
}

/// Hours of a month.
const MONTH_HOURS: f64 = 730.0;

/// Highest share of machines interrupted in a month that Spot Advisor tells apart, in percent, and what stands for "more than that".
const MUCH_PCT: f64 = 20.0;
const MUCH_PCT_MEAN: f64 = 30.0;

impl Instance {
    pub(super) fn from_row(row: Row) -> Result<Self, String> {
        let gpu = Gpu::named(&row.gpu).ok_or_else(|| format!("unknown GPU '{}'", row.gpu))?;
        let price = |usd_h: Option<f64>, region: &str, date: &str| {
            usd_h.map(|usd_h| Price {
                usd_h,
                region: region.to_owned(),
                date: Day::parse(date),
            })
        };
        Ok(Self {
            provider: row
                .provider
                .parse()
                .map_err(|error: super::UnknownProviderName| error.to_string())?,
            gpu,
            on_demand: price(row.on_demand_usd_h, &row.on_demand_region, &row.on_demand_date),
            spot: price(row.spot_low_usd_h, &row.spot_region, &row.spot_date),
            instance_type: row.instance_type,
            machine_type: row.machine_type,
            gpus: row.gpus,
            gpu_memory_gib: row.gpu_memory_gib,
            vcpus: row.vcpus,
            memory_gib: row.memory_gib,
            arch: row.arch,
            spot_high_usd_h: row.spot_high_usd_h,
            interrupted_low_pct: row.interrupted_low_pct,
            interrupted_high_pct: row.interrupted_high_pct,
            network_gbps: row.network_gbps,
            nvlink: row.nvlink,
            status: row.status,
            note: row.note,
            source: row.source,
            spot_source: row.spot_source,
            unverified: row.unverified,
        })
    }

    /// What is to be said when somebody asks for it by name.
    pub fn warning(&self) -> Option<String> {
        let name = &self.instance_type;
        match self.status {
            Status::Current => None,
            Status::Restricted => Some(format!("{name} is not sold on demand: {}", self.note)),
            Status::Retired => Some(format!("{name} is no longer rented out: {}", self.note)),
        }
    }

    /// Interruptions an hour on spot, as far as known.
    pub fn interruptions_per_hour(&self) -> Option<f64> {
        let low = self.interrupted_low_pct?;
        let percent = match self.interrupted_high_pct {
            Some(high) => (low + high) / 2.0,
            None => low.max(MUCH_PCT) + (MUCH_PCT_MEAN - MUCH_PCT),
        };
        // Of machines with that rate, this share is gone within a month.
        Some(-(1.0 - percent / 100.0).ln() / MONTH_HOURS)
    }

    /// What an hour costs that way, where it can be rented so.
    pub fn price(&self, market: Market) -> Option<&Price> {
        match (market, self.status) {
            (_, Status::Retired) | (Market::OnDemand, Status::Restricted) => None,
            (Market::OnDemand, Status::Current) => self.on_demand.as_ref(),
            (Market::Spot, _) => self.spot.as_ref(),
        }
    }

    /// It as it can be rented: on demand, on spot.
    pub(super) fn offers(&self) -> Vec<Offer> {
        let markets = [Market::OnDemand, Market::Spot].into_iter();
        let offer = |market| {
            self.price(market).map(|price| Offer {
                region: price.region.clone(),
                usd_h: price.usd_h,
                date: price.date,
                ..self.unsold(market)
            })
        };
        markets.filter_map(offer).collect()
    }

    /// It as an offer of that market, without region and price.
    pub(crate) fn unsold(&self, market: Market) -> Offer {
        Offer {
            provider: self.provider,
            region: String::new(),
            zone: None,
            instance_type: self.instance_type.clone(),
            gpu: self.gpu,
            gpus: self.gpus,
            gpu_memory_gib: self.gpu_memory_gib,
            vcpus: self.vcpus,
            memory_gib: self.memory_gib,
            arch: self.arch,
            market,
            usd_h: 0.0,
            date: None,
            interruptions_per_hour: match market {
                Market::Spot => self.interruptions_per_hour(),
                Market::OnDemand => None,
            },
        }
    }
}
