//! Runs a container by an engine, with nothing around it: `engine-run docker|podman|containerd|bolt run [OPTION]... IMAGE [COMMAND]...`
//! (`-` for no image), then `engine-run docker|podman|containerd state|logs|stop|cleanup BINDING`. The tests of the engines run it
//! where a test needs a process of its own.

use nvbind_engine::{Context, ExitStatus, GpuAccess, bolt, containerd, docker, podman};
use nvbind_gpu::Capabilities;
use nvbind_workload::Workload;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

/// How many seconds a container may take to stop by itself: much more than one takes on a busy machine.
const GRACE: u32 = 120;

/// Exit code and message of a failure.
type Failure = (u8, String);

struct Run {
    engine: String,
    workload: Workload,
    gpu: GpuAccess,
    binding: String,
    shim: Option<PathBuf>,
    work_dir: PathBuf,
}

fn main() -> ExitCode {
    match act(std::env::args().skip(1)) {
        Ok(status) => ExitCode::from(status.code),
        Err((code, message)) => {
            eprintln!("engine-run: {message}");
            ExitCode::from(code)
        }
    }
}

fn act(mut words: impl Iterator<Item = String>) -> Result<ExitStatus, Failure> {
    let mut word = |what: &str| words.next().ok_or((2, format!("no {what}")));
    let (engine, action) = (word("engine")?, word("action")?);
    if action == "run" {
        return run(&parse(engine, words).map_err(|error| (2, error.to_string()))?);
    }
    let binding = word("binding")?;
    match engine.as_str() {
        "docker" => manage_docker(&action, &binding).map_err(|error| (error.exit_code(), error.to_string())),
        "containerd" => manage_containerd(&action, &binding).map_err(|error| (error.exit_code(), error.to_string())),
        _ => manage_podman(&action, &binding).map_err(|error| (error.exit_code(), error.to_string())),
    }?;
    Ok(ExitStatus { code: 0 })
}

fn manage_docker(action: &str, binding: &str) -> Result<(), docker::Error> {
    match action {
        "state" => docker::state(binding).map(|state| println!("{state:?}")),
        "logs" => docker::logs(binding, false),
        "stop" => docker::stop(binding, GRACE),
        _ => docker::cleanup(binding),
    }
}

fn manage_podman(action: &str, binding: &str) -> Result<(), podman::Error> {
    match action {
        "state" => podman::state(binding).map(|state| println!("{state:?}")),
        "logs" => podman::logs(binding, false),
        "stop" => podman::stop(binding, GRACE),
        _ => podman::cleanup(binding),
    }
}

fn manage_containerd(action: &str, binding: &str) -> Result<(), containerd::Error> {
    match action {
        "state" => containerd::state(binding).map(|state| println!("{state:?}")),
        "logs" => containerd::logs(binding, false),
        "follow" => containerd::logs(binding, true),
        "stop" => containerd::stop(binding, GRACE),
        "stop-now" => containerd::stop(binding, 1),
        _ => containerd::cleanup(binding),
    }
}

fn run(run: &Run) -> Result<ExitStatus, Failure> {
    let Run { workload, gpu, .. } = run;
    let context = Context {
        binding: &run.binding,
        shim: run.shim.as_deref(),
        work_dir: &run.work_dir,
        engine_args: &[],
        progress: &|line| eprintln!("{line}"),
    };
    match run.engine.as_str() {
        "docker" => docker::run(workload, gpu, &context).map_err(|error| (error.exit_code(), error.to_string())),
        "podman" => podman::run(workload, gpu, &context).map_err(|error| (error.exit_code(), error.to_string())),
        "containerd" => {
            containerd::run(workload, gpu, &context).map_err(|error| (error.exit_code(), error.to_string()))
        }
        "bolt" => bolt::run(workload, gpu, &context).map_err(|error| (error.exit_code(), error.to_string())),
        other => Err((2, format!("unknown engine '{other}'"))),
    }
}

fn parse(engine: String, mut words: impl Iterator<Item = String>) -> Result<Run, Box<dyn Error>> {
    let mut workload = Workload::new("engine-run");
    let mut gpu = GpuAccess {
        devices: Vec::new(),
        capabilities: Capabilities::DEFAULT,
    };
    let (mut binding, mut shim, mut work_dir) = ("engine-run".to_owned(), None, PathBuf::from("."));
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "-i" => workload.stdin = true,
            "-t" => workload.tty = true,
            "-d" => workload.detach = true,
            "--name" => workload.name = value()?,
            "--rootfs" => workload.rootfs = Some(value()?.into()),
            "--user" => workload.user = Some(value()?),
            "--memory" => workload.memory_bytes = Some(value()?.parse()?),
            "-v" => workload.volumes.push(value()?.parse()?),
            "-e" => {
                let entry = value()?;
                let (name, value) = entry.split_once('=').ok_or("-e NAME=VALUE")?;
                workload.env.push((name.to_owned(), value.to_owned()));
            }
            "--gpu" => gpu.devices.push(value()?),
            "--binding" => binding = value()?,
            "--shim" => shim = Some(value()?.into()),
            "--work-dir" => work_dir = value()?.into(),
            "-" => break,
            image => {
                workload.image = Some(image.parse()?);
                break;
            }
        }
    }
    workload.command = words.collect();
    Ok(Run {
        engine,
        workload,
        gpu,
        binding,
        shim,
        work_dir,
    })
}
