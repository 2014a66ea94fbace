//! The commands, one file each.

mod cdi;
#[cfg(feature = "cloud")]
mod cloud;
mod completions;
mod doctor;
pub(crate) mod image;
mod info;
mod logs;
mod man;
mod ps;
mod rm;
mod run;
pub(crate) mod runtime;
mod sim;
mod stop;
mod system;

use crate::context::Context;
use crate::failure::Failure;
use clap::Subcommand;

/// The commands. The options of one are defined when it is named (`defer`), here and below. What a struct of options is
/// for stands in plain comments: clap would take a documentation comment for the command's own words then.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum Command {
    /// Show the driver, the GPUs and how they hang together
    Info(info::InfoArgs),
    /// Run a container with the GPUs it was given and no others
    Run(Box<run::RunArgs>),
    /// List containers that nvbind started
    Ps(ps::PsArgs),
    /// Print what a detached container wrote
    Logs(logs::LogsArgs),
    /// Stop a container
    Stop(stop::StopArgs),
    /// Remove a stopped container
    Rm(rm::RmArgs),
    /// Pull, list and remove images
    #[command(subcommand)]
    Image(image::ImageCommand),
    /// Find what is wrong on this host, say what to do, mend what is safe
    Doctor(doctor::DoctorArgs),
    /// Make and look at Container Device Interface specs
    #[command(subcommand)]
    Cdi(cdi::CdiCommand),
    /// Tell container engines of nvbind-runtime
    #[command(subcommand)]
    Runtime(runtime::RuntimeCommand),
    /// Make the driver's device nodes and the links to them
    #[command(subcommand)]
    System(system::SystemCommand),
    /// Make and change simulated machines
    #[command(subcommand)]
    Sim(sim::SimCommand),
    /// Run workloads on rented machines and hosts over SSH, keep them alive, say what that costs
    #[cfg(feature = "cloud")]
    #[command(subcommand)]
    Cloud(cloud::CloudCommand),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
    /// Print or write the manual pages
    Man(man::ManArgs),
}

impl Command {
    /// The words of what is to run, of a command that takes an optional image before them.
    pub(crate) fn words(&mut self) -> Option<&mut Vec<String>> {
        match self {
            Self::Run(args) => Some(args.words()),
            #[cfg(feature = "cloud")]
            Self::Cloud(cloud::CloudCommand::Deploy(args)) => Some(args.words()),
            _ => None,
        }
    }
}

/// Runs a command; returns the exit code.
pub(crate) fn run(command: Command, context: &Context) -> Result<u8, Failure> {
    match command {
        Command::Info(args) => info::run(&args, context),
        Command::Run(args) => run::run(*args, context),
        Command::Ps(args) => ps::run(&args, context),
        Command::Logs(args) => logs::run(&args, context),
        Command::Stop(args) => stop::run(&args, context),
        Command::Rm(args) => rm::run(&args, context),
        Command::Image(command) => image::run(&command, context),
        Command::Doctor(args) => doctor::run(&args, context),
        Command::Cdi(command) => cdi::run(&command, context),
        Command::Runtime(command) => runtime::run(&command, context),
        Command::System(command) => system::run(&command, context),
        Command::Sim(command) => sim::run(&command, context),
        #[cfg(feature = "cloud")]
        Command::Cloud(command) => cloud::run(&command, context),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    }
}
