//! `nvbind cloud`: machines that are rented, and what runs on them.

mod agent;
mod budget;
mod catalog;
mod check;
mod costs;
mod deploy;
mod explain;
mod gc;
mod latency;
mod offers;
mod reach;
mod requirements;
mod simulate;
mod simulate_jobs;
mod spec;
mod status;
mod tools;

use crate::context::Context;
use crate::failure::Failure;
use clap::Subcommand;

/// The commands of `nvbind cloud`.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum CloudCommand {
    /// Run a workload on the best machines there are, and keep it alive
    Deploy(Box<deploy::DeployArgs>),
    /// Show a deployment: its machines, what they cost, what happened
    Status(status::StatusArgs),
    /// List deployments
    List(status::ListArgs),
    /// Print what the workload of a node wrote
    Logs(reach::LogsArgs),
    /// Log in to the machine of a node, or run a command there
    Ssh(reach::SshArgs),
    /// Stop workloads and give their machines back
    #[command(alias = "stop")]
    Down(deploy::EndArgs),
    /// Go on with deployments that nobody keeps alive
    Resume(deploy::ResumeArgs),
    /// Keep all deployments alive: a service
    Serve(deploy::ServeArgs),
    /// Show what is left alone for a while, and why
    Blocks(status::BlocksArgs),
    /// See whether the accounts and hosts work
    Check(check::CheckArgs),
    /// List everything at the providers that carries nvbind's tag, and give back what no deployment needs
    Gc(gc::GcArgs),
    /// List GPU machines of AWS, GCP and Azure with their prices, from the catalog in this program
    Offers(offers::OffersArgs),
    /// Run a node's workload on this host; what `nvbind cloud` starts on the hosts that it deploys to
    #[command(subcommand)]
    Agent(agent::AgentCommand),
    /// Measure how far regions are from here, for --max-latency
    Latency(latency::LatencyArgs),
    /// Say what deployments have cost, and what they will
    Costs(costs::CostsArgs),
    /// Show budgets and what is left of them
    Budget(budget::BudgetArgs),
    /// Say where a workload would go, what it would cost there, and why not elsewhere
    Explain(Box<explain::ExplainArgs>),
    /// Ask the providers for their prices, show those there are
    #[command(subcommand)]
    Catalog(catalog::CatalogCommand),
    /// Try policies on recorded or made-up days, without an account
    #[command(subcommand)]
    Simulate(simulate::SimulateCommand),
}

pub(crate) fn run(command: &CloudCommand, context: &Context) -> Result<u8, Failure> {
    match command {
        CloudCommand::Deploy(args) => deploy::deploy(args, context),
        CloudCommand::Status(args) => status::status(args, context),
        CloudCommand::List(args) => status::list(args, context),
        CloudCommand::Logs(args) => reach::logs(args, context),
        CloudCommand::Ssh(args) => reach::ssh(args, context),
        CloudCommand::Down(args) => deploy::end(args, context),
        CloudCommand::Resume(args) => deploy::resume(args, context),
        CloudCommand::Serve(args) => deploy::serve(args, context),
        CloudCommand::Blocks(args) => status::blocks(args, context),
        CloudCommand::Check(args) => check::run(args, context),
        CloudCommand::Gc(args) => gc::run(args, context),
        CloudCommand::Agent(command) => agent::run(command, context),
        CloudCommand::Offers(args) => offers::run(args),
        CloudCommand::Latency(args) => latency::run(args, context),
        CloudCommand::Costs(args) => costs::run(args, context),
        CloudCommand::Budget(args) => budget::run(args, context),
        CloudCommand::Explain(args) => explain::run(context, args),
        CloudCommand::Catalog(command) => catalog::run(context, command),
        CloudCommand::Simulate(command) => simulate::run(context, command),
    }
}
