//! `nvbind cloud`: what GPUs cost elsewhere.

mod budget;
mod costs;
mod offers;
mod simulate;

use crate::context::Context;
use crate::failure::Failure;
use clap::Subcommand;

/// The commands of `nvbind cloud`.
#[derive(Debug, Subcommand)]
pub(crate) enum CloudCommand {
    /// List GPU machines of AWS, GCP and Azure with their prices, from the catalog in this program
    Offers(offers::OffersArgs),
    /// Say what deployments have cost, and what they will
    Costs(costs::CostsArgs),
    /// Show budgets and what is left of them
    Budget(budget::BudgetArgs),
    /// Try policies on recorded or made-up days, without an account
    #[command(subcommand)]
    Simulate(simulate::SimulateCommand),
}

pub(crate) fn run(command: &CloudCommand, context: &Context) -> Result<u8, Failure> {
    match command {
        CloudCommand::Offers(args) => offers::run(args),
        CloudCommand::Costs(args) => costs::run(args, context),
        CloudCommand::Budget(args) => budget::run(args, context),
        CloudCommand::Simulate(command) => simulate::run(command),
    }
}
