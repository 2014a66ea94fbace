//! `nvbind cloud`: what GPUs cost elsewhere.

mod catalog;
mod explain;
mod offers;
pub(crate) mod requirements;
mod simulate;
mod simulate_jobs;

use crate::context::Context;
use crate::failure::Failure;
use clap::Subcommand;

/// The commands of `nvbind cloud`.
#[derive(Debug, Subcommand)]
pub(crate) enum CloudCommand {
    /// List GPU machines of AWS, GCP and Azure with their prices, from the catalog in this program
    Offers(offers::OffersArgs),
    /// Say where a workload would go, what it would cost there, and why not elsewhere
    Explain(Box<explain::ExplainArgs>),
    /// Ask the providers for their prices, show those there are
    #[command(subcommand)]
    Catalog(catalog::CatalogCommand),
    /// Try policies on recorded or made-up days, without an account
    #[command(subcommand)]
    Simulate(simulate::SimulateCommand),
}

pub(crate) fn run(context: &Context, command: &CloudCommand) -> Result<u8, Failure> {
    match command {
        CloudCommand::Offers(args) => offers::run(args),
        CloudCommand::Explain(args) => explain::run(context, args),
        CloudCommand::Catalog(command) => catalog::run(context, command),
        CloudCommand::Simulate(command) => simulate::run(context, command),
    }
}
