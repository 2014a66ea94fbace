//! `nvbind cloud`: what GPUs cost elsewhere.

mod agent;
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
    /// Run a node's workload on this host; what `nvbind cloud` starts on the hosts that it deploys to
    #[command(subcommand)]
    Agent(agent::AgentCommand),
    /// Try policies on recorded or made-up days, without an account
    #[command(subcommand)]
    Simulate(simulate::SimulateCommand),
}

pub(crate) fn run(command: &CloudCommand, context: &Context) -> Result<u8, Failure> {
    match command {
        CloudCommand::Agent(command) => agent::run(command, context),
        CloudCommand::Offers(args) => offers::run(args),
        CloudCommand::Simulate(command) => simulate::run(command),
    }
}
