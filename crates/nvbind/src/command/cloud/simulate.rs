//! `nvbind cloud simulate`: policies tried on records, without an account.

use crate::cli::Format;
use crate::context::Context;
use crate::failure::Failure;
use crate::output;
use crate::table::table;
use clap::{Args, Subcommand};
use nvbind_cloud::parse_hours;
use nvbind_cloud::spot::{History, Job, PolicyName, Report, Study, Trace};
use std::path::PathBuf;

/// What can be tried.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum SimulateCommand {
    /// A job with a deadline on spot capacity that comes and goes
    Spot(SpotArgs),
    /// Workloads that arrive one after the other, with each strategy: cost, completion, waits, utilization
    Jobs(super::simulate_jobs::JobsArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SpotArgs {
    /// Records of when capacity was there: {"metadata": {"gap_seconds": 600}, "data": [1, 0, ...]}
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    trace: Vec<PathBuf>,
    /// Time the work takes
    #[arg(long, value_name = "TIME", value_parser = parse_hours)]
    work: f64,
    /// Time until it must be done
    #[arg(long, value_name = "TIME", value_parser = parse_hours)]
    deadline: f64,
    /// Time that each start burns, paid like work
    #[arg(long, value_name = "TIME", value_parser = parse_hours, default_value = "0")]
    overhead: f64,
    /// Starts along each trace, evenly spaced
    #[arg(long, value_name = "N", default_value = "30", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    starts: u32,
    /// Price of an hour on demand, in USD
    #[arg(long, value_name = "USD")]
    on_demand: f64,
    /// Price of an hour on spot, in USD
    #[arg(long, value_name = "USD")]
    spot: f64,
    /// bayes, markov, uniform-progress, greedy or on-demand
    #[arg(long, value_name = "POLICY", default_value = "bayes")]
    policy: PolicyName,
    /// What a policy may know of the time before its start: all that the trace recorded, or nothing
    #[arg(long, value_enum, default_value = "trace")]
    history: HistoryWord,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// What a policy may know of the time before its start.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum HistoryWord {
    /// All that the trace recorded
    Trace,
    /// Nothing
    None,
}

pub(crate) fn run(context: &Context, command: &SimulateCommand) -> Result<u8, Failure> {
    match command {
        SimulateCommand::Jobs(args) => super::simulate_jobs::run(context, args),
        SimulateCommand::Spot(args) => spot(args),
    }
}

fn spot(args: &SpotArgs) -> Result<u8, Failure> {
    let job = Job {
        work_hours: args.work,
        deadline_hours: args.deadline,
        overhead_hours: args.overhead,
        on_demand_usd: args.on_demand,
        spot_usd: args.spot,
    };
    let study = Study {
        job: job.checked()?,
        starts: args.starts as usize,
        history: match args.history {
            HistoryWord::Trace => History::Trace,
            HistoryWord::None => History::Job,
        },
    };
    let traces: Vec<Trace> = args
        .trace
        .iter()
        .map(|file| Trace::from_file(file))
        .collect::<Result<_, _>>()?;
    let report = study.report(args.policy, &traces)?;
    output::data(args.format, &report, || spot_table(args, &report))?;
    Ok(0)
}

/// A line for each trace, and one for all.
fn spot_table(args: &SpotArgs, report: &Report) -> String {
    let line = |name: String, costs: &[f64]| {
        let mean = costs.iter().sum::<f64>() / costs.len().max(1) as f64;
        let least = costs.iter().copied().fold(f64::INFINITY, f64::min);
        let most = costs.iter().copied().fold(0.0, f64::max);
        let usd = |usd: f64| format!("{usd:.2}");
        vec![name, costs.len().to_string(), usd(mean), usd(least), usd(most)]
    };
    let costs = report.costs_usd.chunks(args.starts as usize);
    let mut rows: Vec<Vec<String>> = args
        .trace
        .iter()
        .zip(costs)
        .map(|(file, costs)| line(file.display().to_string(), costs))
        .collect();
    rows.push(line(format!("all, {} missed", report.missed), &report.costs_usd));
    table(&["TRACE", "RUNS", "MEAN USD", "LEAST", "MOST"], &rows)
}
