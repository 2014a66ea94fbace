//! `nvbind cloud simulate jobs`: a list of workloads, placed by each strategy.

use super::requirements::{Weight, weight, weights};
use crate::cli::Format;
use crate::context::Context;
use crate::failure::{Failure, USAGE};
use crate::output;
use crate::table::table;
use clap::Args;
use nvbind_cloud::Strategy;
use nvbind_cloud::catalog::{Catalog, Offer, Prices};
use nvbind_cloud::jobs::{Outcome, Setting, read_jobs, simulate};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct JobsArgs {
    /// Workloads, as JSON or CSV: work_hours, and where wanted name, arrival_hours, gpus, gpu_type, gpu_memory_gib, nodes, spot,
    /// max_price_usd_h, deadline_hours
    #[arg(long, value_name = "FILE")]
    jobs: PathBuf,
    /// Strategies to try: cost-aware, round-robin, gpu-utilization, hybrid-balanced; all where none is given
    #[arg(long, value_name = "STRATEGY", value_delimiter = ',')]
    strategy: Vec<Strategy>,
    /// Weights of hybrid-balanced, those not given count nothing
    #[arg(long, value_name = "NAME=WEIGHT", value_delimiter = ',', value_parser = weight)]
    weight: Vec<Weight>,
    /// Machines that there are of each offer, or of the offers of one machine type; no limit where none is given
    #[arg(long, value_name = "[TYPE=]N", value_delimiter = ',', value_parser = capacity)]
    capacity: Vec<Capacity>,
    /// Decides when spot machines are taken back
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Machines that there are.
#[derive(Debug, Clone)]
struct Capacity {
    /// Of this type; `None` for all.
    instance_type: Option<String>,
    machines: u32,
}

fn capacity(text: &str) -> Result<Capacity, String> {
    let (instance_type, machines) = match text.rsplit_once('=') {
        Some((name, machines)) => (Some(name.to_owned()), machines),
        None => (None, text),
    };
    Ok(Capacity {
        instance_type,
        machines: machines
            .parse()
            .map_err(|_| "write it as 4 or g5.xlarge=4".to_owned())?,
    })
}

pub(crate) fn run(context: &Context, args: &JobsArgs) -> Result<u8, Failure> {
    let catalog = Catalog::embedded()?;
    let offers = catalog.offers_with(&Prices::read(&context.config()?.state_dir())?);
    let jobs = read_jobs(&args.jobs)?;
    let setting = Setting {
        offers: &offers,
        capacity: args.capacity(&offers)?,
        weights: weights(&args.weight),
        seed: args.seed,
    };
    let strategies = match args.strategy.is_empty() {
        true => Strategy::WORDS.map(|(strategy, _)| strategy).to_vec(),
        false => args.strategy.clone(),
    };
    let outcomes: Vec<Outcome> = strategies
        .into_iter()
        .map(|strategy| simulate(&jobs, &setting, strategy))
        .collect();
    output::data(args.format, &outcomes, || outcome_table(&outcomes))?;
    Ok(0)
}

impl JobsArgs {
    /// Machines of each offer. What is said of a type counts more than what is said of all.
    fn capacity(&self, offers: &[Offer]) -> Result<Vec<u32>, Failure> {
        if self.capacity.is_empty() {
            return Ok(Vec::new());
        }
        let all = self
            .capacity
            .iter()
            .rev()
            .find(|capacity| capacity.instance_type.is_none());
        let mut machines = vec![all.map_or(u32::MAX, |capacity| capacity.machines); offers.len()];
        for capacity in &self.capacity {
            let Some(name) = &capacity.instance_type else { continue };
            let mut is_known = false;
            for (machines, _) in machines
                .iter_mut()
                .zip(offers)
                .filter(|(_, offer)| offer.instance_type == *name)
            {
                (*machines, is_known) = (capacity.machines, true);
            }
            if !is_known {
                return Err(Failure::new(
                    USAGE,
                    format!("capacity of '{name}': no such machine is offered"),
                ));
            }
        }
        Ok(machines)
    }
}

fn outcome_table(outcomes: &[Outcome]) -> String {
    let row = |outcome: &Outcome| {
        vec![
            outcome.strategy.as_str().to_owned(),
            format!("{} of {}", outcome.done, outcome.jobs),
            outcome.late.to_string(),
            format!("{:.2}", outcome.cost_usd),
            format!("{:.2} h", outcome.mean_completion_hours),
            format!("{:.2} h", outcome.max_completion_hours),
            format!("{:.2} h", outcome.makespan_hours),
            format!("{:.2} h", outcome.mean_wait_hours),
            format!("{:.2} h", outcome.max_wait_hours),
            format!("{:.1}%", 100.0 * outcome.utilization),
            outcome.interruptions.to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = outcomes.iter().map(row).collect();
    let header = [
        "STRATEGY",
        "DONE",
        "LATE",
        "USD",
        "COMPLETION",
        "LONGEST",
        "ALL DONE",
        "WAIT",
        "LONGEST",
        "UTILIZATION",
        "INTERRUPTIONS",
    ];
    let mut text = table(&header, &rows);
    if let Some(outcome) = outcomes.first() {
        for refusal in &outcome.refused {
            text.push_str(&format!("{}: {}\n", refusal.name, refusal.why));
        }
    }
    text
}
