//! The options that say what a workload needs.

use super::offers::gib;
use crate::failure::{Failure, USAGE};
use clap::Args;
use nvbind_cloud::catalog::{Arch, Catalog, ProviderName, UnknownArch, is_place};
use nvbind_cloud::{Data, Requirements, SpotUse, Strategy, Weights, parse_hours};

// What a workload needs. Everything is for one node unless it says otherwise.
#[derive(Debug, Args)]
#[command(next_help_heading = "What it needs")]
pub(crate) struct RequirementArgs {
    /// GPUs of a node; a share of one below 1 [default: 1]
    #[arg(long, value_name = "N", value_parser = positive)]
    gpus: Option<f64>,
    /// GPU models that will do, as A100, H100-80GB or L4
    #[arg(long, value_name = "MODEL", value_delimiter = ',')]
    gpu_type: Vec<String>,
    /// Least memory of each GPU, as 40GiB
    #[arg(long, value_name = "SIZE", value_parser = gib)]
    gpu_memory: Option<f64>,
    /// Least compute capability, as 8.0
    #[arg(long, value_name = "X.Y", value_parser = capability)]
    compute_capability: Option<u16>,
    /// Nodes [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    nodes: Option<u32>,
    /// Least number of virtual CPUs
    #[arg(long, value_name = "N", value_parser = positive)]
    cpus: Option<f64>,
    /// Least main memory, as 64GiB
    #[arg(long, value_name = "SIZE", value_parser = gib)]
    memory: Option<f64>,
    /// What the CPUs must run: x86_64, arm64 or any [default: x86_64]
    #[arg(long, value_name = "ARCH", value_parser = arch)]
    arch: Option<ArchChoice>,
    /// Boot disk [default: 100GiB]
    #[arg(long, value_name = "SIZE", value_parser = gib)]
    disk: Option<f64>,
    /// Machine types that will do
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    instance_type: Vec<String>,
    /// Whether spot machines will do: auto, only or never [default: auto]
    #[arg(long, value_name = "WHEN")]
    spot: Option<SpotUse>,
    /// Most USD an hour of one node
    #[arg(long, value_name = "USD", value_parser = positive)]
    max_price: Option<f64>,
    /// Most USD in all
    #[arg(long, value_name = "USD", value_parser = positive)]
    budget: Option<f64>,
    /// Time the work takes, as 10h; costs are reckoned for 24h where it is not said
    #[arg(long, value_name = "TIME", value_parser = parse_hours)]
    work: Option<f64>,
    /// Time until it must be done
    #[arg(long, value_name = "TIME", value_parser = parse_hours)]
    deadline: Option<f64>,
    /// Providers that will do, the preferred one first: aws, gcp, azure or hosts
    #[arg(long, value_name = "PROVIDER", value_delimiter = ',')]
    provider: Vec<ProviderName>,
    /// Regions that will do
    #[arg(long, value_name = "REGION", value_delimiter = ',')]
    region: Vec<String>,
    /// Zones that will do
    #[arg(long, value_name = "ZONE", value_delimiter = ',')]
    zone: Vec<String>,
    /// Countries (two letters) or blocs (EU, EEA) that data may be in; binds failover, too
    #[arg(long, value_name = "PLACE", value_delimiter = ',')]
    residency: Vec<String>,
    /// Longest round trip to the sites that were measured, in milliseconds
    #[arg(long, value_name = "MS", value_parser = positive)]
    max_latency: Option<f64>,
    /// Data to be brought to it, and where it lies, as 500GiB@aws/us-east-1
    #[arg(long, value_name = "SIZE@PROVIDER/REGION", value_parser = data)]
    data: Option<Data>,
    /// How offers are ranked: cost-aware, round-robin, gpu-utilization or hybrid-balanced [default: cost-aware]
    #[arg(long, value_name = "STRATEGY")]
    strategy: Option<Strategy>,
    /// Weights of hybrid-balanced, those not given count nothing: cost, performance, latency, availability, compliance
    #[arg(long, value_name = "NAME=WEIGHT", value_delimiter = ',', value_parser = weight)]
    weight: Vec<Weight>,
}

/// A weight with its name.
#[derive(Debug, Clone)]
pub(crate) struct Weight {
    name: String,
    weight: f64,
}

/// What the CPUs must run; `None` for any.
#[derive(Debug, Clone, Copy)]
struct ArchChoice(Option<Arch>);

fn arch(text: &str) -> Result<ArchChoice, UnknownArch> {
    match text {
        "any" => Ok(ArchChoice(None)),
        name => name.parse().map(|arch| ArchChoice(Some(arch))),
    }
}

/// Reads a number above 0.
pub(super) fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("it must be a number above 0".to_owned()),
    }
}

/// Reads `8.0` as 80.
fn capability(text: &str) -> Result<u16, String> {
    let parts = text.split_once('.').unwrap_or((text, "0"));
    let number = |part: &str| part.parse::<u16>().ok();
    match (number(parts.0), number(parts.1)) {
        (Some(major), Some(minor)) if major < 100 && minor < 10 => Ok(major * 10 + minor),
        _ => Err("write it as 8.0".to_owned()),
    }
}

/// Reads `500GiB@aws/us-east-1`.
fn data(text: &str) -> Result<Data, String> {
    let form = || "write it as 500GiB@aws/us-east-1".to_owned();
    let (size, place) = text.split_once('@').ok_or_else(form)?;
    let (provider, region) = place.split_once('/').ok_or_else(form)?;
    Ok(Data {
        gib: gib(size).map_err(|error| error.to_string())?,
        provider: provider.parse().map_err(|error| format!("{error}"))?,
        region: region.to_owned(),
    })
}

/// Reads `cost=0.5`.
pub(super) fn weight(text: &str) -> Result<Weight, String> {
    let (name, weight) = text.split_once('=').ok_or("write it as cost=0.5")?;
    let weight: f64 = weight.parse().map_err(|_| format!("'{weight}' is no number"))?;
    if !(weight.is_finite() && weight >= 0.0) {
        return Err("a weight is 0 or more".to_owned());
    }
    match Weights::NONE.clone().set(name, weight) {
        true => Ok(Weight {
            name: name.to_owned(),
            weight,
        }),
        false => Err(format!(
            "unknown weight '{name}': use cost, performance, latency, availability or compliance"
        )),
    }
}

/// The weights given; those not given count nothing, and where none is given the usual ones hold.
pub(super) fn weights(given: &[Weight]) -> Weights {
    if given.is_empty() {
        return Weights::default();
    }
    let mut weights = Weights::NONE;
    for Weight { name, weight } in given {
        weights.set(name, *weight);
    }
    weights
}

/// Takes over what was given.
fn take<T: Clone>(into: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *into = given;
    }
}

/// Takes over a list that was given.
fn take_list<T: Clone>(into: &mut Vec<T>, given: &[T]) {
    if !given.is_empty() {
        *into = given.to_vec();
    }
}

impl RequirementArgs {
    /// The requirements, with machine types as the catalog names them. What is to be said about such a name goes to `warn`.
    pub(crate) fn requirements(&self, catalog: &Catalog, warn: impl Fn(&str)) -> Result<Requirements, Failure> {
        let mut requirements = Requirements::default();
        self.apply(&mut requirements, catalog, warn)?;
        Ok(requirements)
    }

    /// Puts what was given over requirements that come from elsewhere.
    pub(crate) fn apply(
        &self,
        requirements: &mut Requirements,
        catalog: &Catalog,
        warn: impl Fn(&str),
    ) -> Result<(), Failure> {
        if let Some(place) = self.residency.iter().find(|place| !is_place(place)) {
            let why = format!("unknown place '{place}': use a country's two letters, as DE, or a bloc: EU or EEA");
            return Err(Failure::new(USAGE, why));
        }
        take_list(&mut requirements.gpu_types, &self.gpu_type);
        take(&mut requirements.gpus, self.gpus);
        take(&mut requirements.gpu_memory_gib, self.gpu_memory.map(Some));
        take(&mut requirements.compute_capability, self.compute_capability.map(Some));
        take(&mut requirements.nodes, self.nodes);
        take(&mut requirements.vcpus, self.cpus.map(Some));
        take(&mut requirements.memory_gib, self.memory.map(Some));
        take(&mut requirements.arch, self.arch.map(|ArchChoice(arch)| arch));
        take(&mut requirements.disk_gib, self.disk.map(|disk| disk.ceil() as u32));
        take_list(&mut requirements.instance_types, &self.instance_types(catalog, warn)?);
        take(&mut requirements.spot, self.spot);
        take(&mut requirements.max_price_usd_h, self.max_price.map(Some));
        take(&mut requirements.budget_usd, self.budget.map(Some));
        take(&mut requirements.work_hours, self.work.map(Some));
        take(&mut requirements.deadline_hours, self.deadline.map(Some));
        take_list(&mut requirements.providers, &self.provider);
        take_list(&mut requirements.regions, &self.region);
        take_list(&mut requirements.zones, &self.zone);
        let residency: Vec<String> = self.residency.iter().map(|place| place.to_ascii_uppercase()).collect();
        take_list(&mut requirements.residency, &residency);
        take(&mut requirements.max_latency_ms, self.max_latency.map(Some));
        take(&mut requirements.data, self.data.clone().map(Some));
        take(&mut requirements.strategy, self.strategy);
        if !self.weight.is_empty() {
            requirements.weights = weights(&self.weight);
        }
        Ok(())
    }

    /// A name may be one of the user's own hosts, of which the catalog knows nothing.
    fn instance_types(&self, catalog: &Catalog, warn: impl Fn(&str)) -> Result<Vec<String>, Failure> {
        let mut names = Vec::new();
        for name in &self.instance_type {
            match catalog.instance(name) {
                Ok(known) => {
                    if let Some(note) = &known.note {
                        warn(note);
                    }
                    names.push(known.instance.instance_type.clone());
                }
                Err(_) if self.provider.contains(&ProviderName::Hosts) => names.push(name.clone()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(names)
    }
}
