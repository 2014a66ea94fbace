//! `nvbind cloud offers`: what GPU machines cost.

use crate::cli::Format;
use crate::containers::now;
use crate::failure::Failure;
use crate::output;
use crate::table::table;
use clap::{Args, ValueEnum};
use nvbind_cloud::catalog::{Catalog, Day, Gpu, Instance, ProviderName, Status, find_gpu};
use serde::Serialize;

#[derive(Debug, Args)]
pub(crate) struct OffersArgs {
    /// This machine only, by name
    name: Option<String>,
    /// This GPU model, as A100, H100-80GB or L4
    #[arg(long, value_name = "MODEL")]
    gpu: Option<String>,
    /// At least that many GPUs
    #[arg(long, value_name = "N")]
    gpus: Option<f64>,
    /// At least that much memory on each GPU, as 40GiB
    #[arg(long, value_name = "SIZE", value_parser = gib)]
    gpu_memory: Option<f64>,
    /// This provider: aws, gcp or azure
    #[arg(long, value_name = "PROVIDER")]
    provider: Vec<ProviderName>,
    /// This region
    #[arg(long, value_name = "REGION")]
    region: Vec<String>,
    /// At most that many USD an hour, on demand or on spot
    #[arg(long, value_name = "USD")]
    max_price: Option<f64>,
    /// Those with a price on spot only
    #[arg(long)]
    spot: bool,
    /// Also machines that are no longer rented out
    #[arg(long)]
    all: bool,
    /// What to sort by
    #[arg(long, value_enum, default_value = "price")]
    sort: Sort,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// What to sort by.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Sort {
    /// The lower of both prices
    Price,
    /// The price on demand
    OnDemand,
    /// The price on spot
    Spot,
    /// The lower price for each GPU
    GpuPrice,
    /// GPU memory in all, most first
    Memory,
}

/// Reads a size in GiB.
pub(super) fn gib(text: &str) -> Result<f64, nvbind_workload::ParseSizeError> {
    nvbind_workload::parse_size(text).map(|bytes| bytes as f64 / (1_u64 << 30) as f64)
}

/// A machine with the age of its prices.
#[derive(Serialize)]
struct Listed<'catalog> {
    #[serde(flatten)]
    instance: &'catalog Instance,
    on_demand_age_days: Option<i64>,
    spot_age_days: Option<i64>,
}

pub(crate) fn run(args: &OffersArgs) -> Result<u8, Failure> {
    let catalog = Catalog::embedded()?;
    let gpus = args.gpu.as_deref().map(find_gpu).transpose()?;
    let mut found: Vec<&Instance> = match &args.name {
        Some(name) => {
            let known = catalog.instance(name)?;
            if let Some(note) = &known.note {
                output::warn(note);
            }
            vec![known.instance]
        }
        None => catalog
            .instances()
            .iter()
            .filter(|instance| args.all || instance.status != Status::Retired)
            .collect(),
    };
    found.retain(|instance| args.fits(instance, gpus.as_deref()));
    found.sort_by(|a, b| {
        args.sort
            .key(a)
            .total_cmp(&args.sort.key(b))
            .then_with(|| a.instance_type.cmp(&b.instance_type))
    });
    let today = Day::of_unix(now());
    let age = |day: Option<Day>| day.map(|day| today.0 - day.0);
    let listed: Vec<Listed<'_>> = found
        .iter()
        .map(|instance| Listed {
            instance,
            on_demand_age_days: age(instance.on_demand.as_ref().and_then(|price| price.date)),
            spot_age_days: age(instance.spot.as_ref().and_then(|price| price.date)),
        })
        .collect();
    output::data(args.format, &listed, || {
        let rows: Vec<Vec<String>> = listed.iter().map(row).collect();
        table(
            &[
                "PROVIDER",
                "MACHINE",
                "GPUS",
                "MODEL",
                "GIB EACH",
                "VCPUS",
                "GIB",
                "REGION",
                "ON DEMAND",
                "AGE",
                "SPOT",
                "SPOT AT",
                "AGE",
                "STATUS",
            ],
            &rows,
        )
    })?;
    Ok(0)
}

impl OffersArgs {
    fn fits(&self, instance: &Instance, gpus: Option<&[Gpu]>) -> bool {
        let prices = [&instance.on_demand, &instance.spot];
        let mut prices = prices.iter().filter_map(|price| price.as_ref());
        let is_in = |region: &str| self.region.is_empty() || self.region.iter().any(|wanted| wanted == region);
        gpus.is_none_or(|gpus| gpus.contains(&instance.gpu))
            && self.gpus.is_none_or(|count| instance.gpus >= count)
            && self.gpu_memory.is_none_or(|gib| instance.gpu_memory_gib >= gib)
            && (self.provider.is_empty() || self.provider.contains(&instance.provider))
            && (!self.spot || instance.spot.is_some())
            && (self.region.is_empty() && self.max_price.is_none()
                || prices.any(|price| is_in(&price.region) && self.max_price.is_none_or(|max| price.usd_h <= max)))
    }
}

impl Sort {
    /// What sorts first has the lowest key; what has no price comes last.
    fn key(self, instance: &Instance) -> f64 {
        let on_demand = instance.on_demand.as_ref().map_or(f64::INFINITY, |price| price.usd_h);
        let spot = instance.spot.as_ref().map_or(f64::INFINITY, |price| price.usd_h);
        match self {
            Self::Price => on_demand.min(spot),
            Self::OnDemand => on_demand,
            Self::Spot => spot,
            Self::GpuPrice => on_demand.min(spot) / instance.gpus,
            Self::Memory => -instance.gpus * instance.gpu_memory_gib,
        }
    }
}

fn row(listed: &Listed<'_>) -> Vec<String> {
    let instance = listed.instance;
    let price = |price: &Option<nvbind_cloud::catalog::Price>, status_allows: bool| match price {
        Some(price) if status_allows => (format!("{:.3}", price.usd_h), price.region.clone()),
        _ => ("-".to_owned(), "-".to_owned()),
    };
    let age = |days: Option<i64>, is_priced: bool| match (days, is_priced) {
        (Some(days), true) => format!("{days} d"),
        (None, true) => "?".to_owned(),
        (_, false) => "-".to_owned(),
    };
    let on_demand = price(&instance.on_demand, instance.status != Status::Restricted);
    let spot = price(&instance.spot, true);
    let status = match instance.status {
        Status::Current => "",
        Status::Restricted => "not on demand",
        Status::Retired => "retired",
    };
    vec![
        instance.provider.to_string(),
        instance.instance_type.clone(),
        format!("{}", instance.gpus),
        instance.gpu.name().to_owned(),
        format!("{}", instance.gpu_memory_gib),
        format!("{}", instance.vcpus),
        format!("{}", instance.memory_gib),
        on_demand.1,
        on_demand.0.clone(),
        age(listed.on_demand_age_days, on_demand.0 != "-"),
        spot.0.clone(),
        spot.1,
        age(listed.spot_age_days, spot.0 != "-"),
        status.to_owned(),
    ]
}
