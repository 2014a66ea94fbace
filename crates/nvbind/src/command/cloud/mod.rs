//! `nvbind cloud`: what GPUs cost elsewhere.

mod offers;
mod simulate;

use crate::failure::Failure;
use clap::Subcommand;

/// The commands of `nvbind cloud`.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum CloudCommand {
    /// List GPU machines of AWS, GCP and Azure with their prices, from the catalog in this program
    Offers(offers::OffersArgs),
    /// Try policies on recorded or made-up days, without an account
    #[command(subcommand)]
    Simulate(simulate::SimulateCommand),
}

pub(crate) fn run(command: &CloudCommand) -> Result<u8, Failure> {
    match command {
        CloudCommand::Offers(args) => offers::run(args),
        CloudCommand::Simulate(command) => simulate::run(command),
    }
}
