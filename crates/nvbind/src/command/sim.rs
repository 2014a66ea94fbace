//! `nvbind sim`: simulated machines.

use crate::cli::Format;
use crate::context::{Context, sim_base, sim_root};
use crate::failure::Failure;
use crate::output;
use crate::table::table;
use clap::{Args, Subcommand, ValueEnum};
use nvbind_sim::state::{self, GpuState, Process, ProcessKind, State};
use nvbind_sim::{SimRoot, command, profile};
use nvbind_workload::Size;
use serde::Serialize;

#[derive(Debug, Subcommand)]
pub(crate) enum SimCommand {
    /// List the machines that can be simulated
    List(FormatArgs),
    /// Make a machine, if it is not there yet, and print where it lies
    Create(MachineArgs),
    /// Print where a machine lies, making it if need be
    Path(MachineArgs),
    /// Show the state of a machine
    Show(FormatArgs),
    /// Change something about GPUs, as utilization=87
    #[command(after_help = settings_help())]
    Set(SetArgs),
    /// Switch MIG mode on or off, or cut GPUs into MIG devices
    Mig(MigArgs),
    /// Report an Xid error
    Xid(XidArgs),
    /// Take GPUs off the bus
    Lose(GpuArgs),
    /// Bring GPUs back as after a restart
    Restore(GpuArgs),
    /// Start and end processes on GPUs
    #[command(subcommand)]
    Process(ProcessCommand),
    /// Remove a machine
    Rm(MachineArgs),
}

#[derive(Debug, Args)]
pub(crate) struct FormatArgs {
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct MachineArgs {
    /// A profile or a profile file [default: the one of --sim]
    #[arg(value_name = "PROFILE|PATH")]
    machine: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct GpuArgs {
    /// Index, UUID, PCI bus id or all
    gpu: String,
}

#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    #[command(flatten)]
    gpu: GpuArgs,
    /// What to change
    #[arg(required = true, value_name = "KEY=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub(crate) struct MigArgs {
    #[command(flatten)]
    gpu: GpuArgs,
    /// on, off, or the profiles of the MIG devices to make, as 3g.40gb
    #[arg(required = true, value_name = "on|off|PROFILE")]
    layout: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct XidArgs {
    #[command(flatten)]
    gpu: GpuArgs,
    /// Code, as 79 (off the bus) or 48 (uncorrected memory error)
    code: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProcessCommand {
    /// Start a process
    Add(ProcessAddArgs),
    /// End a process
    Rm(ProcessRmArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ProcessAddArgs {
    #[command(flatten)]
    gpu: GpuArgs,
    /// Process id
    pid: u32,
    /// Name of the program
    #[arg(long, default_value = "python3")]
    name: String,
    /// GPU memory that it holds
    #[arg(long, default_value = "1GiB")]
    memory: Size,
    /// What it does with the GPU
    #[arg(long, value_enum, default_value = "compute")]
    kind: Kind,
}

#[derive(Debug, Args)]
pub(crate) struct ProcessRmArgs {
    #[command(flatten)]
    gpu: GpuArgs,
    /// Process id
    pid: u32,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Compute,
    Graphics,
}

pub(crate) fn run(command: &SimCommand, context: &Context) -> Result<u8, Failure> {
    match command {
        SimCommand::List(args) => list(args.format)?,
        SimCommand::Create(args) | SimCommand::Path(args) => {
            let root = machine(context, args.machine.as_deref())?;
            output::text(&format!("{}\n", root.path().display()))?;
        }
        SimCommand::Show(args) => {
            let state = state::read(machine(context, None)?.path())?;
            output::data(args.format, &state, || state_table(&state))?;
        }
        SimCommand::Rm(args) => remove(context, args.machine.as_deref())?,
        change => change_machine(change, machine(context, None)?.path())?,
    }
    Ok(0)
}

fn change_machine(change: &SimCommand, root: &std::path::Path) -> Result<(), Failure> {
    match change {
        SimCommand::Set(SetArgs { gpu, settings }) => {
            settings
                .iter()
                .try_for_each(|(key, value)| command::set(root, &gpu.gpu, key, value))?;
        }
        SimCommand::Mig(MigArgs { gpu, layout }) => {
            let words: Vec<&str> = layout.iter().map(String::as_str).collect();
            match words.as_slice() {
                ["on"] => command::mig_mode(root, &gpu.gpu, true)?,
                ["off"] => command::mig_mode(root, &gpu.gpu, false)?,
                profiles => command::mig_layout(root, &gpu.gpu, profiles)?,
            }
        }
        SimCommand::Xid(XidArgs { gpu, code }) => command::xid(root, &gpu.gpu, *code)?,
        SimCommand::Lose(args) => command::lose(root, &args.gpu)?,
        SimCommand::Restore(args) => command::restore(root, &args.gpu)?,
        SimCommand::Process(ProcessCommand::Add(args)) => command::process_add(root, &args.gpu.gpu, &args.process())?,
        SimCommand::Process(ProcessCommand::Rm(args)) => command::process_remove(root, &args.gpu.gpu, args.pid)?,
        SimCommand::List(_) | SimCommand::Create(_) | SimCommand::Path(_) | SimCommand::Show(_) | SimCommand::Rm(_) => {
        }
    }
    Ok(())
}

impl ProcessAddArgs {
    fn process(&self) -> Process {
        let kind = match self.kind {
            Kind::Compute => ProcessKind::Compute,
            Kind::Graphics => ProcessKind::Graphics,
        };
        Process {
            pid: self.pid,
            name: self.name.clone(),
            memory_mib: self.memory.0 >> 20,
            kind,
            gpu_instance: None,
        }
    }
}

/// The machine that is named here or by `--sim`, made when it is not there yet.
fn machine(context: &Context, named: Option<&str>) -> Result<SimRoot, Failure> {
    sim_root(&context.config()?, machine_name(context, named)?)
}

fn machine_name<'name>(context: &'name Context, named: Option<&'name str>) -> Result<&'name str, Failure> {
    let name = named.or(context.sim());
    name.ok_or_else(|| {
        Failure::usage("which simulated machine? give --sim PROFILE or set NVBIND_SIM; see nvbind sim list")
    })
}

fn remove(context: &Context, named: Option<&str>) -> Result<(), Failure> {
    let profile = profile::load(machine_name(context, named)?)?;
    let path = sim_base(&context.config()?).join(&profile.name);
    let failed = |error| {
        Failure::io(
            format!(
                "cannot remove simulated machine '{}' ({})",
                profile.name,
                path.display()
            ),
            &error,
        )
    };
    std::fs::remove_dir_all(&path).map_err(failed)
}

/// A machine as `sim list` shows it.
#[derive(Serialize)]
struct Listed {
    name: &'static str,
    gpus: usize,
    description: &'static str,
}

fn list(format: Format) -> Result<(), Failure> {
    let listed = |profile: &'static profile::Profile| Listed {
        name: &profile.name,
        gpus: profile.slots.len(),
        description: &profile.description,
    };
    let machines: Vec<Listed> = profile::all().iter().map(listed).collect();
    output::data(format, &machines, || {
        let row = |machine: &Listed| {
            vec![
                machine.name.to_owned(),
                machine.gpus.to_string(),
                machine.description.to_owned(),
            ]
        };
        table(
            &["NAME", "GPUS", "DESCRIPTION"],
            &machines.iter().map(row).collect::<Vec<_>>(),
        )
    })
}

fn state_table(state: &State) -> String {
    let rows: Vec<Vec<String>> = state
        .gpus
        .iter()
        .enumerate()
        .map(|(index, gpu)| gpu_row(state, index, gpu))
        .collect();
    let header = [
        "ID",
        "STATE",
        "UTILIZATION",
        "MEMORY",
        "TEMPERATURE",
        "POWER",
        "PROCESSES",
        "XIDS",
        "UUID",
    ];
    format!(
        "{}: {}\n\n{}",
        state.profile.name,
        state.profile.description,
        table(&header, &rows)
    )
}

fn gpu_row(state: &State, index: usize, gpu: &GpuState) -> Vec<String> {
    let mig = || {
        let profiles: Vec<&str> = gpu.mig.iter().map(|mig| mig.profile.as_str()).collect();
        format!("mig {}", profiles.join(" ")).trim_end().to_owned()
    };
    let condition = match (gpu.lost, gpu.mig_enabled) {
        (true, _) => "lost".to_owned(),
        (false, true) => mig(),
        (false, false) => "ok".to_owned(),
    };
    let xids: Vec<String> = gpu.xids.iter().map(|xid| xid.code.to_string()).collect();
    vec![
        format!("gpu{index}"),
        condition,
        format!("{} %", gpu.utilization),
        format!("{}/{} MiB", gpu.memory_used(), state.profile.model.memory_mib),
        format!("{} C", gpu.temperature),
        format!("{}/{} W", gpu.power_mw / 1000, gpu.power_limit_w),
        gpu.processes.len().to_string(),
        if xids.is_empty() {
            "-".to_owned()
        } else {
            xids.join(" ")
        },
        gpu.uuid.clone(),
    ]
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn settings_help() -> String {
    let rows = nvbind_sim::setting::ALL
        .iter()
        .map(|setting| format!("  {:<22} {}", setting.key, setting.values));
    format!("Settings:\n{}", rows.collect::<Vec<_>>().join("\n"))
}
