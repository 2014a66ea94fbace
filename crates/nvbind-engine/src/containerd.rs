//! Containers by containerd, through `ctr`, which comes with it, and two calls of its interface that `ctr` lacks.
//!
//! The interface alone would want the whole of gRPC and containerd's protocol files compiled, to do again what `ctr` does:
//! pull, unpack, make the container's configuration. GPUs come by `nvbind-runtime` as the OCI runtime (`--runc-binary`).

mod api;
mod arguments;
mod ctr;
mod error;
mod files;
mod foreground;
mod image;
mod input;

pub use error::Error;

use crate::{BINDING_LABEL, ContainerState, Context, ExitStatus, GpuAccess};
use api::Task;
use input::Input;
use nvbind_workload::Workload;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Label of a container in the background: the file that has its output.
const LOG_LABEL: &str = "nvbind.log";
/// Pause before a container is looked at again.
const POLL: Duration = Duration::from_millis(50);
/// How long a killed container may take to end.
const KILLED: Duration = Duration::from_secs(60);

/// What is said of a task whose shim goes away or has no time, how often it is asked again, and after what pause.
const SHIM_BUSY: [&str; 2] = ["ttrpc: closed", api::SHIM_SILENT];
const SHIM_RETRIES: u32 = 20;
const SHIM_PAUSE: Duration = Duration::from_millis(100);

/// Exit code when the engine could not start the container, as docker and podman have it.
const ENGINE_FAILED: u8 = 125;
/// Exit codes for commands that cannot be started, as shells have them, by what runc says.
const NOT_STARTED: [(&str, u8); 3] = [
    ("executable file not found", 127),
    ("no such file or directory", 127),
    ("permission denied", 126),
];

/// Runs a workload to its end (or, detached, until it has started) and returns its exit code; the engine's own failures are
/// 125, told by ctr. Standard streams and terminal are this process's, signals are passed on.
pub fn run(workload: &Workload, gpu: &GpuAccess, context: &Context<'_>) -> Result<ExitStatus, Error> {
    let input = input(workload)?;
    arguments::check(workload, &ctr::ask(["run", "--help"])?.unwrap_or_default())?;
    let image = match &workload.rootfs {
        Some(_) => None,
        None => Some(image::provide(workload, context)?),
    };
    let arguments = arguments::arguments(workload, gpu, context, image.as_deref())?;
    let pid_file = files::pid(context.work_dir);
    prepare(context.work_dir, &pid_file).map_err(|source| Error::Io {
        action: "make the container's folder",
        source,
    })?;
    let mut command = ctr::command();
    command.args(arguments);
    if workload.detach {
        command.stdout(Stdio::null());
    }
    let (status, said) = foreground::attend(command, &workload.name, input).map_err(ctr::start)?;
    if pid_file.exists() {
        return Ok(status);
    }
    cleanup(context.binding)?;
    let known = NOT_STARTED.iter().find(|(words, _)| said.contains(words));
    Ok(ExitStatus {
        code: known.map_or(ENGINE_FAILED, |(_, code)| *code),
    })
}

fn input(workload: &Workload) -> Result<Input, Error> {
    match (workload.tty, workload.detach, workload.stdin) {
        (true, false, _) if !rustix::termios::isatty(io::stdin()) => Err(Error::NoTerminal),
        (true, false, _) => Ok(Input::Terminal),
        (_, true, _) => Ok(Input::Detached),
        (_, _, true) => Ok(Input::Piped),
        (_, _, false) => Ok(Input::Nothing),
    }
}

fn prepare(work_dir: &Path, pid_file: &Path) -> io::Result<()> {
    fs::create_dir_all(work_dir)?;
    match fs::remove_file(pid_file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes the container of a binding, running or not. `Ok` when there is none (any more).
pub fn cleanup(binding: &str) -> Result<(), Error> {
    for id in find(binding)? {
        ask_shim(|| ask("kill", binding, &["task", "rm", "--force", &id]).or_else(absent))?;
        ask("remove", binding, &["container", "rm", &id]).or_else(absent)?;
    }
    Ok(())
}

/// What is gone need not be removed.
fn absent(error: Error) -> Result<String, Error> {
    match error {
        Error::Failed { why, .. } if why.contains("not found") => Ok(String::new()),
        error => Err(error),
    }
}

/// Asks the container of a binding to stop, by its image's stop signal, and kills it after `seconds`.
pub fn stop(binding: &str, seconds: u32) -> Result<(), Error> {
    let id = find_one(binding)?;
    ask_shim(|| ask("stop", binding, &["task", "kill", &id]).or_else(absent))?;
    if ends_within(&id, Duration::from_secs(seconds.into()))? {
        return Ok(());
    }
    ask_shim(|| ask("kill", binding, &["task", "kill", "--all", "--signal", "SIGKILL", &id]).or_else(absent))?;
    match ends_within(&id, KILLED)? {
        true => Ok(()),
        false => Err(Error::Failed {
            action: "kill",
            binding: binding.to_owned(),
            why: "it still runs".to_owned(),
        }),
    }
}

fn ends_within(id: &str, time: Duration) -> Result<bool, Error> {
    let start = Instant::now();
    while !matches!(task(id)?, None | Some(Task::Stopped(_))) {
        if start.elapsed() >= time {
            return Ok(false);
        }
        std::thread::sleep(POLL);
    }
    Ok(true)
}

/// Writes what the container of a binding has said to standard output; with `follow` until it ends. containerd keeps
/// standard output and error in one file.
pub fn logs(binding: &str, follow: bool) -> Result<(), Error> {
    let id = find_one(binding)?;
    let failed = |source| Error::Io {
        action: "read the container's log",
        source,
    };
    let mut log = File::open(log_file(binding, &id)?).map_err(failed)?;
    loop {
        // Asked before the file is read: what is written until the end is then in it.
        let runs = follow && matches!(task(&id)?, Some(Task::Created | Task::Running));
        let mut text = Vec::new();
        log.read_to_end(&mut text).map_err(failed)?;
        match io::Write::write_all(&mut io::stdout(), &text) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written.map_err(failed)?,
        }
        if !runs {
            return Ok(());
        }
        std::thread::sleep(POLL);
    }
}

fn log_file(binding: &str, id: &str) -> Result<PathBuf, Error> {
    let info = ask("inspect", binding, &["container", "info", id])?;
    let info: Value = serde_json::from_str(&info).unwrap_or_default();
    let label = info.get("Labels").and_then(|labels| labels.get(LOG_LABEL));
    let path = label.and_then(Value::as_str).map(PathBuf::from);
    path.ok_or_else(|| Error::NoLog {
        binding: binding.to_owned(),
    })
}

/// What the container of a binding is doing; `None` when there is none.
pub fn state(binding: &str) -> Result<Option<ContainerState>, Error> {
    let Some(id) = find(binding)?.into_iter().next() else {
        return Ok(None);
    };
    Ok(Some(match task(&id)? {
        Some(Task::Stopped(code)) => ContainerState::Exited(ExitStatus::from_engine(code.into()).code),
        Some(Task::Running) => ContainerState::Running,
        // Without a task: not started yet, or the machine was.
        Some(Task::Created) | None => ContainerState::Created,
    }))
}

fn task(id: &str) -> Result<Option<Task>, Error> {
    ask_shim(|| {
        api::task(id).map_err(|source| Error::Io {
            action: "ask containerd for its tasks",
            source,
        })
    })
}

/// Asks something about a task. The task's shim goes away under the question when someone else removes the task (a ctr whose
/// nvbind was killed does), and may be slow to answer on a busy machine: containerd is asked again then.
fn ask_shim<T>(question: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
    let mut answer = question();
    for _ in 0..SHIM_RETRIES {
        let Err(error) = &answer else { break };
        let said = error.to_string();
        if !SHIM_BUSY.iter().any(|words| said.contains(words)) {
            break;
        }
        std::thread::sleep(SHIM_PAUSE);
        answer = question();
    }
    answer
}

/// Ids of the containers of a binding: one, or none.
fn find(binding: &str) -> Result<Vec<String>, Error> {
    let filter = format!("labels.\"{BINDING_LABEL}\"=={binding}");
    let listed = ask("list containers of", binding, &["container", "ls", "--quiet", &filter])?;
    Ok(listed.split_whitespace().map(str::to_owned).collect())
}

fn find_one(binding: &str) -> Result<String, Error> {
    find(binding)?.into_iter().next().ok_or_else(|| Error::NoContainer {
        binding: binding.to_owned(),
    })
}

fn ask(action: &'static str, binding: &str, arguments: &[&str]) -> Result<String, Error> {
    ctr::ask(arguments)?.map_err(|why| Error::Failed {
        action,
        binding: binding.to_owned(),
        why,
    })
}
