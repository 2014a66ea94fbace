//! `nvbind sim`: simulated machines.

use crate::cli::Format;
use crate::context::{Context, sim_base, sim_root};
use crate::failure::Failure;
use crate::output;
use crate::table::table;
use clap::{Args, Subcommand, ValueEnum};
use nvbind_sim::mig::{GpuInstance, compute_instance};
use nvbind_sim::state::{self, GpuState, Process, ProcessKind, State};
use nvbind_sim::{SimRoot, command, profile};
use nvbind_workload::Size;
use serde::Serialize;

#[derive(Debug, Subcommand)]
#[command(defer = true)]
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
    /// Switch MIG mode on or off, cut GPUs into MIG devices
    #[command(after_help = MIG_HELP)]
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
    /// on, off, or the MIG devices to make in place of those that there are
    #[arg(required = true, value_name = "on|off|INSTANCE")]
    layout: Vec<String>,
    /// Make the MIG devices beside those that there are
    #[arg(long)]
    add: bool,
    /// Destroy these: 2 is GPU instance 2 with what is in it, 2/0 its compute instance 0
    #[arg(long, conflicts_with = "add")]
    destroy: bool,
}

const MIG_HELP: &str = "\
An instance to make is a profile, with its first memory slice and its compute instances where they matter:
  3g.40gb          a GPU instance with one compute instance that fills it
  3g.40gb:4        the same at memory slice 4
  3g.40gb/1c/2c    with two compute instances, of one and of two slices
  3g.40gb/-        without a compute instance: not a MIG device yet

Examples:
  nvbind --sim hgx-h100 sim mig 0 3g.40gb 1g.10gb
  nvbind --sim hgx-h100 sim mig 0 --add 2g.20gb
  nvbind --sim hgx-h100 sim mig 0 --destroy 2/0
  nvbind --sim hgx-h100 sim mig 0 off

`nvidia-smi mig` on the simulated machine does the same.";

#[derive(Debug, Args)]
pub(crate) struct XidArgs {
    #[command(flatten)]
    gpu: GpuArgs,
    /// Code, as 79 (off the bus) or 48 (uncorrected memory error)
    code: u64,
}

#[derive(Debug, Subcommand)]
#[command(defer = true)]
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
    /// GPU instance that it runs on, in MIG mode
    #[arg(long, value_name = "ID")]
    gpu_instance: Option<u32>,
    /// Compute instance of the GPU instance [default: 0]
    #[arg(long, value_name = "ID", requires = "gpu_instance")]
    compute_instance: Option<u32>,
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
        SimCommand::Mig(args) => change_mig(args, root)?,
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

fn change_mig(args: &MigArgs, root: &std::path::Path) -> Result<(), Failure> {
    let words: Vec<&str> = args.layout.iter().map(String::as_str).collect();
    let gpu = &args.gpu.gpu;
    match words.as_slice() {
        instances if args.destroy => command::mig_remove(root, gpu, instances)?,
        instances if args.add => command::mig_add(root, gpu, instances)?,
        ["on"] => command::mig_mode(root, gpu, true)?,
        ["off"] => command::mig_mode(root, gpu, false)?,
        instances => command::mig_layout(root, gpu, instances)?,
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
            gpu_instance: self.gpu_instance,
            compute_instance: self.compute_instance,
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
        let instances: Vec<String> = gpu.mig.iter().map(|mig| instance_word(state, mig)).collect();
        format!("mig {}", instances.join(" ")).trim_end().to_owned()
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

/// A GPU instance as `sim mig` takes it.
fn instance_word(state: &State, instance: &GpuInstance) -> String {
    let profile = state.mig_profile(&instance.profile);
    let known = profile.map_or_else(Vec::new, |profile| {
        compute_instance::profiles(&state.profile.model, profile)
    });
    let slices = |id: u32| known.iter().find(|row| row.id == id).map_or(0, |row| row.slices);
    let whole = profile.map_or(0, |profile| profile.slices);
    let compute: Vec<u32> = instance.compute.iter().map(|compute| slices(compute.profile)).collect();
    let parts = match compute.as_slice() {
        [one] if *one == whole => String::new(),
        [] => "/-".to_owned(),
        several => several.iter().map(|slices| format!("/{slices}c")).collect(),
    };
    format!("{}:{}{parts}", instance.profile, instance.start)
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
