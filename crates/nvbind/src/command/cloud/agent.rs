//! `nvbind cloud agent`: the end of a deployment that lies on the host.

use crate::cli::RootArgs;
use crate::context::Context;
use crate::failure::Failure;
use crate::output;
use clap::{Args, Subcommand};
use nvbind_cloud::agent::{self, GpuUse, Meter, StopOrder};
use nvbind_gpu::Reading;
use std::io::Read;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// Start the agent with the plan (JSON) on standard input; the same plan again starts nothing
    Start(FolderArgs),
    /// Carry out the plan in the folder, in the foreground
    Run(FolderArgs),
    /// Print the state as a line of JSON at each change and each second, to the end
    Follow(FolderArgs),
    /// Print what the workload wrote
    Logs(LogsArgs),
    /// End the workload, also where its agent is dead
    Stop(StopArgs),
    /// Remove the folder of an agent that is done
    Clean(FolderArgs),
}

#[derive(Debug, Args)]
pub(crate) struct FolderArgs {
    /// Folder of the agent
    #[arg(long)]
    dir: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    #[command(flatten)]
    folder: FolderArgs,
    /// Go on until the workload ends
    #[arg(short, long)]
    follow: bool,
    /// Only the last lines
    #[arg(long, value_name = "LINES")]
    tail: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    #[command(flatten)]
    folder: FolderArgs,
    /// Seconds after which a workload that does not end is killed
    #[arg(long, default_value_t = 10)]
    grace: u64,
    /// Make the checkpoint before
    #[arg(long)]
    checkpoint: bool,
}

pub(crate) fn run(command: &AgentCommand, context: &Context) -> Result<u8, Failure> {
    let mut stdout = std::io::stdout().lock();
    match command {
        AgentCommand::Start(args) => {
            let report = agent::start(&args.dir, &program()?, &plan()?)?;
            tell(&report)?;
        }
        AgentCommand::Run(args) => agent::run(&args.dir, &program()?, meter(context)?)?,
        AgentCommand::Follow(args) => agent::follow(&args.dir, &mut stdout)?,
        AgentCommand::Logs(args) => agent::logs(&args.folder.dir, args.tail, args.follow, &mut stdout)?,
        AgentCommand::Stop(args) => {
            let order = StopOrder {
                grace_seconds: args.grace,
                checkpoint: args.checkpoint,
            };
            let report = agent::stop(&args.folder.dir, &program()?, order)?;
            tell(&report)?;
        }
        AgentCommand::Clean(args) => agent::clean(&args.dir)?,
    }
    Ok(0)
}

fn program() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|error| Failure::io("cannot find the running nvbind", &error))
}

fn plan() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().lock().read_to_string(&mut text);
    read.map_err(|error| Failure::io("cannot read the plan", &error))?;
    Ok(text)
}

fn tell(report: &agent::Report) -> Result<(), Failure> {
    let line = serde_json::to_string(report).map_err(|error| Failure::usage(error.to_string()))?;
    output::text(&format!("{line}\n"))
}

/// Opens NVML when it is asked first, which is in a thread of its own: a driver may hang.
fn meter(context: &Context) -> Result<Meter, Failure> {
    let config = context.config()?;
    let roots = context.roots(&config, &RootArgs::default())?;
    let mut open: Option<nvbind_gpu::Meter> = None;
    Ok(Box::new(move || {
        if open.is_none() {
            open = nvbind_gpu::Meter::open(&roots).ok();
        }
        open.as_ref().map(|meter| meter.read().into_iter().map(gpu_use).collect()).unwrap_or_default()
    }))
}

fn gpu_use(reading: Reading) -> GpuUse {
    GpuUse {
        uuid: reading.uuid,
        percent: reading.percent,
        memory_used_mib: reading.memory_used_mib,
        memory_mib: reading.memory_mib,
    }
}
