//! `nvbind cloud`: what GPUs cost elsewhere.

mod simulate;

use crate::failure::Failure;
use clap::Subcommand;

/// The commands of `nvbind cloud`.
#[derive(Debug, Subcommand)]
pub(crate) enum CloudCommand {
    /// Try policies on recorded or made-up days, without an account
    #[command(subcommand)]
    Simulate(simulate::SimulateCommand),
}

pub(crate) fn run(command: &CloudCommand) -> Result<u8, Failure> {
    match command {
        CloudCommand::Simulate(command) => simulate::run(command),
    }
}
