//! `nvbind info`: what is here.

use crate::cli::{Format, RootArgs};
use crate::context::Context;
use crate::failure::{Failure, UNABLE};
use crate::output;
use crate::table::table;
use clap::Args;
use nvbind_config::Roots;
use nvbind_gpu::{
    Architecture, Driver, DriverFiles, DriverKind, FileKind, Gpu, Health, Host, MigDevice, MigState, SearchOptions,
    Source, Topology,
};
use serde::Serialize;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Only what can be handed out, as a list; each id is one that --gpu takes
    #[arg(long, conflicts_with_all = ["driver_check", "topology"])]
    gpus: bool,
    /// Only say whether the driver works; exit code 0 or 5
    #[arg(long, conflicts_with = "topology")]
    driver_check: bool,
    /// Show NVLink, PCIe and NUMA relations too
    #[arg(long)]
    topology: bool,
    #[command(flatten)]
    roots: RootArgs,
}

pub(crate) fn run(args: &InfoArgs, context: &Context) -> Result<u8, Failure> {
    let config = context.config_with(&args.roots)?;
    let roots = context.roots(&config, &args.roots)?;
    let host = nvbind_gpu::discover(&roots)?;
    let format = if args.json { Format::Json } else { args.format };
    if args.driver_check {
        return driver_check(&host);
    }
    host.warnings.iter().for_each(|warning| output::warn(warning));
    if args.gpus {
        output::data(format, &devices(&host), || device_table(&host))?;
        return Ok(0);
    }
    match format {
        Format::Table => output::text(&text(&roots, &host, args.topology))?,
        _ => output::data(format, &Info::of(&roots, &host), String::new)?,
    }
    Ok(0)
}

/// Everything that is known, for programs.
#[derive(Serialize)]
struct Info<'host> {
    driver: DriverInfo<'host>,
    source: Source,
    gpus: Vec<GpuInfo<'host>>,
    topology: Topology,
    driver_files: Option<FileCounts>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct DriverInfo<'host> {
    kind: DriverKind,
    version: Option<&'host str>,
    cuda_version: Option<String>,
}

#[derive(Serialize)]
struct GpuInfo<'host> {
    id: String,
    index: u32,
    uuid: &'host str,
    name: &'host str,
    architecture: Architecture,
    compute_capability: Option<String>,
    memory_mib: u64,
    power_limit_w: Option<u32>,
    pci_bus_id: &'host str,
    pci_device_id: String,
    numa_node: Option<u32>,
    minor: u32,
    nodes: Vec<PathBuf>,
    rt_core_generation: Option<u8>,
    tensor_core_generation: Option<u8>,
    mig: &'host MigState,
    health: &'host Health,
}

/// How much of the driver was found.
#[derive(Serialize)]
struct FileCounts {
    version: String,
    libraries: usize,
    binaries: usize,
    configs: usize,
    firmware: usize,
    sockets: usize,
    nodes: usize,
}

/// One element of the list that Bolt reads; `id` comes back as `--gpu ID`.
#[derive(Serialize)]
struct DeviceInfo<'host> {
    id: String,
    name: String,
    /// MiB, as nvidia-smi counts.
    memory_mb: u64,
    compute_capability: Option<String>,
    driver_version: Option<&'host str>,
    uuid: &'host str,
}

impl<'host> Info<'host> {
    fn of(roots: &Roots, host: &'host Host) -> Self {
        let mut warnings = host.warnings.clone();
        let files = nvbind_gpu::driver_files(roots, host.driver.version.as_deref(), &SearchOptions::default());
        let driver_files = files.map_err(|error| warnings.push(error.to_string())).ok();
        Self {
            driver: DriverInfo {
                kind: host.driver.kind,
                version: host.driver.version.as_deref(),
                cuda_version: host.driver.cuda_version.map(dotted),
            },
            source: host.source,
            gpus: host.gpus.iter().map(|gpu| GpuInfo::of(roots, gpu)).collect(),
            topology: nvbind_gpu::topology(roots, host),
            driver_files: driver_files.as_ref().map(FileCounts::of),
            warnings,
        }
    }
}

impl<'host> GpuInfo<'host> {
    fn of(roots: &Roots, gpu: &'host Gpu) -> Self {
        Self {
            id: id(gpu),
            index: gpu.index,
            uuid: &gpu.uuid,
            name: &gpu.name,
            architecture: gpu.architecture,
            compute_capability: gpu.compute_capability.map(dotted),
            memory_mib: gpu.memory_mib,
            power_limit_w: gpu.power_limit_w,
            pci_bus_id: &gpu.pci_bus_id,
            pci_device_id: format!("{:#06x}", gpu.pci_device_id),
            numa_node: gpu.numa_node,
            minor: gpu.minor,
            nodes: nvbind_gpu::gpu_nodes(roots, gpu).nodes,
            rt_core_generation: gpu.rt_core_generation,
            tensor_core_generation: gpu.tensor_core_generation,
            mig: &gpu.mig,
            health: &gpu.health,
        }
    }
}

impl FileCounts {
    fn of(files: &DriverFiles) -> Self {
        let count = |kind| files.files.iter().filter(|file| file.kind == kind).count();
        Self {
            version: files.version.clone(),
            libraries: files.libraries.len(),
            binaries: count(FileKind::Binary),
            configs: count(FileKind::Config),
            firmware: count(FileKind::Firmware),
            sockets: count(FileKind::Socket),
            nodes: files.nodes.len(),
        }
    }
}

/// What can be handed out: full GPUs, and the MIG devices of GPUs in MIG mode.
fn devices(host: &Host) -> Vec<DeviceInfo<'_>> {
    let usable = host.gpus.iter().filter(|gpu| gpu.health != Health::Lost);
    usable
        .flat_map(|gpu| match gpu.mig.enabled {
            true => gpu
                .mig
                .devices
                .iter()
                .map(|mig| DeviceInfo::mig(host, gpu, mig))
                .collect(),
            false => vec![DeviceInfo::gpu(host, gpu)],
        })
        .collect()
}

impl<'host> DeviceInfo<'host> {
    fn gpu(host: &'host Host, gpu: &'host Gpu) -> Self {
        Self {
            id: id(gpu),
            name: gpu.name.clone(),
            memory_mb: gpu.memory_mib,
            compute_capability: gpu.compute_capability.map(dotted),
            driver_version: host.driver.version.as_deref(),
            uuid: &gpu.uuid,
        }
    }

    fn mig(host: &'host Host, gpu: &'host Gpu, mig: &'host MigDevice) -> Self {
        Self {
            id: format!("{}:{}", gpu.index, mig.index),
            name: format!("{} MIG {}", gpu.name, mig.profile),
            memory_mb: mig.memory_mib,
            uuid: &mig.uuid,
            ..Self::gpu(host, gpu)
        }
    }
}

fn id(gpu: &Gpu) -> String {
    format!("gpu{}", gpu.index)
}

fn dotted((major, minor): (u32, u32)) -> String {
    format!("{major}.{minor}")
}

fn driver_check(host: &Host) -> Result<u8, Failure> {
    if let Some(trouble) = driver_trouble(host) {
        return Err(Failure::new(UNABLE, format!("driver check: {trouble}")));
    }
    let count = host.gpus.len();
    output::text(&format!(
        "{}, {count} device(s), NVML answers\n",
        driver_line(&host.driver)
    ))
    .map(|()| 0)
}

/// What keeps the driver from serving, and what to do about it.
fn driver_trouble(host: &Host) -> Option<String> {
    let driver = &host.driver;
    if !driver.kind.is_nvidia() {
        let kind = driver.kind;
        return Some(format!(
            "the driver is '{kind}': install NVIDIA's driver and load it (modprobe nvidia)"
        ));
    }
    if host.source == Source::Procfs {
        let why = host.warnings.first().map_or("NVML does not answer", String::as_str);
        return Some(format!("{}: {why}", driver_line(driver)));
    }
    let lost = host.gpus.iter().find(|gpu| gpu.health == Health::Lost)?;
    let (index, bus) = (lost.index, &lost.pci_bus_id);
    Some(format!("GPU {index} ({bus}) is lost from the bus: reset it or restart"))
}

/// The text for people. Bolt counts the word `GPU` in it: it stands there once per GPU, at the head of its UUID.
fn text(roots: &Roots, host: &Host, with_topology: bool) -> String {
    let mut text = format!("Driver: {}\n", driver_line(&host.driver));
    if host.gpus.is_empty() {
        text.push_str("No NVIDIA device found\n");
        return text;
    }
    text.push('\n');
    text.push_str(&device_table(host));
    if with_topology {
        text.push('\n');
        text.push_str(&topology_table(&nvbind_gpu::topology(roots, host)));
    }
    text
}

fn driver_line(driver: &Driver) -> String {
    let mut line = driver.kind.to_string();
    if let Some(version) = &driver.version {
        line.push_str(&format!(" {version}"));
    }
    if let Some(cuda) = driver.cuda_version {
        line.push_str(&format!(", CUDA {}", dotted(cuda)));
    }
    line
}

fn device_table(host: &Host) -> String {
    let rows: Vec<Vec<String>> = host.gpus.iter().flat_map(gpu_rows).collect();
    table(
        &["ID", "NAME", "MEMORY", "CC", "BUS ID", "NUMA", "STATE", "UUID"],
        &rows,
    )
}

/// A row for the GPU, and one for each of its MIG devices.
fn gpu_rows(gpu: &Gpu) -> Vec<Vec<String>> {
    let mut rows = vec![vec![
        id(gpu),
        without_the_word(&gpu.name),
        mib(gpu.memory_mib),
        gpu.compute_capability.map_or_else(unknown, dotted),
        gpu.pci_bus_id.clone(),
        gpu.numa_node.map_or_else(unknown, |node| node.to_string()),
        state(gpu).to_owned(),
        gpu.uuid.clone(),
    ]];
    rows.extend(gpu.mig.devices.iter().map(|mig| {
        let empty = String::new;
        let id = format!("{}:{}", gpu.index, mig.index);
        vec![
            id,
            format!("MIG {}", mig.profile),
            mib(mig.memory_mib),
            empty(),
            empty(),
            empty(),
            empty(),
            mig.uuid.clone(),
        ]
    }));
    rows
}

/// Laptop parts have the word in their product name.
fn without_the_word(text: &str) -> String {
    text.replace(" GPU", "").replace("GPU", "device")
}

fn state(gpu: &Gpu) -> &'static str {
    match (&gpu.health, gpu.mig.enabled) {
        (Health::Lost, _) => "lost",
        (Health::Unknown, _) => "unknown",
        (Health::Ok, true) => "mig",
        (Health::Ok, false) => "ok",
    }
}

fn unknown() -> String {
    "-".to_owned()
}

fn mib(mib: u64) -> String {
    if mib == 0 { unknown() } else { format!("{mib} MiB") }
}

fn topology_table(topology: &Topology) -> String {
    let ids: Vec<String> = topology.gpus.iter().map(|row| format!("gpu{}", row.index)).collect();
    let mut header = vec![""];
    header.extend(ids.iter().map(String::as_str));
    header.extend(["CPUS", "NUMA"]);
    let rows: Vec<Vec<String>> = topology
        .gpus
        .iter()
        .zip(&ids)
        .map(|(row, id)| {
            let mut cells = vec![id.clone()];
            cells.extend(row.relations.iter().map(ToString::to_string));
            cells.push(row.cpu_affinity.clone().unwrap_or_else(unknown));
            cells.push(row.numa_node.map_or_else(unknown, |node| node.to_string()));
            cells
        })
        .collect();
    table(&header, &rows)
}

#[cfg(test)]
mod tests;
