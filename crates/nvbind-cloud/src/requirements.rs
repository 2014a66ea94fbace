//! What a deployment needs of the machines that it is to run on.

use crate::catalog::{Arch, Gpu, ProviderName};
use serde::{Deserialize, Serialize};

/// What a deployment needs of the machines that it is to run on. Everything is for one node unless it says otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Requirements {
    /// GPU models that will do, by the names people give them; empty for any.
    pub gpu_types: Vec<String>,
    /// GPUs of a node; a share of one below 1.
    pub gpus: f64,
    /// Least memory of each GPU, in GiB.
    pub gpu_memory_gib: Option<f64>,
    /// Least compute capability, times ten (`80` is 8.0).
    pub compute_capability: Option<u16>,
    /// Nodes.
    pub nodes: u32,
    /// Least number of virtual CPUs.
    pub vcpus: Option<f64>,
    /// Least main memory, in GiB.
    pub memory_gib: Option<f64>,
    /// What the CPUs must run; `None` for any.
    pub arch: Option<Arch>,
    /// Boot disk, in GiB.
    pub disk_gib: u32,
    /// Machine types that will do; empty for any.
    pub instance_types: Vec<String>,
    /// Whether spot machines will do.
    pub spot: SpotUse,
    /// Most USD an hour of one node.
    pub max_price_usd_h: Option<f64>,
    /// Most USD in all.
    pub budget_usd: Option<f64>,
    /// Hours of work, as far as the user can tell.
    pub work_hours: Option<f64>,
    /// Hours from the start until it must be done.
    pub deadline_hours: Option<f64>,
    /// Providers that will do, the preferred one first; empty for any.
    pub providers: Vec<ProviderName>,
    /// Regions that will do; empty for any.
    pub regions: Vec<String>,
    /// Zones that will do; empty for any.
    pub zones: Vec<String>,
    /// Countries (ISO 3166-1 alpha-2) or blocs that data may be in; empty for anywhere. Binds failover, too.
    pub residency: Vec<String>,
    /// Longest round trip to the sites that were measured, in milliseconds.
    pub max_latency_ms: Option<f64>,
    /// Data to be brought to the machine, in GiB, and where it lies now.
    pub data: Option<Data>,
    /// How offers are ranked.
    pub strategy: Strategy,
    /// Weights of [`Strategy::HybridBalanced`].
    pub weights: Weights,
}

/// Data that a deployment reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Data {
    /// How much, in GiB.
    pub gib: f64,
    /// Provider that it lies at.
    pub provider: ProviderName,
    /// Region that it lies in.
    pub region: String,
}

/// Whether spot machines will do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpotUse {
    /// Spot where it is worth it, on demand otherwise.
    #[default]
    Auto,
    /// Spot only.
    Only,
    /// Never.
    Never,
}

/// How offers are ranked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// The lowest expected cost of the whole job.
    #[default]
    CostAware,
    /// Providers in turn, each with its cheapest offer.
    RoundRobin,
    /// The offer whose GPUs the job fills best.
    GpuUtilization,
    /// Cost, performance, latency, availability and compliance, weighted.
    HybridBalanced,
}

/// Weights of what counts; only their ratios matter.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Weights {
    /// Expected cost.
    pub cost: f64,
    /// Throughput of the GPUs.
    pub performance: f64,
    /// Round trip to the sites that were measured.
    pub latency: f64,
    /// Chance that the machine is there and stays.
    pub availability: f64,
    /// How near the country is to what residency asks for.
    pub compliance: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            cost: 0.5,
            performance: 0.2,
            latency: 0.1,
            availability: 0.15,
            compliance: 0.05,
        }
    }
}

impl Default for Requirements {
    fn default() -> Self {
        Self {
            gpu_types: Vec::new(),
            gpus: 1.0,
            gpu_memory_gib: None,
            compute_capability: None,
            nodes: 1,
            vcpus: None,
            memory_gib: None,
            arch: Some(Arch::X86_64),
            disk_gib: 100,
            instance_types: Vec::new(),
            spot: SpotUse::Auto,
            max_price_usd_h: None,
            budget_usd: None,
            work_hours: None,
            deadline_hours: None,
            providers: Vec::new(),
            regions: Vec::new(),
            zones: Vec::new(),
            residency: Vec::new(),
            max_latency_ms: None,
            data: None,
            strategy: Strategy::CostAware,
            weights: Weights::default(),
        }
    }
}

impl Requirements {
    /// The GPU models that will do; empty for any.
    pub fn models(&self) -> Result<Vec<Gpu>, crate::catalog::UnknownGpu> {
        let found: Result<Vec<Vec<Gpu>>, _> = self
            .gpu_types
            .iter()
            .map(|name| crate::catalog::find_gpu(name))
            .collect();
        Ok(found?.concat())
    }
}
