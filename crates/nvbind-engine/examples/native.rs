//! The native engine as a small program: what its tests kill at every step, and what its speed is measured with.
//!
//! `native STATE run [OPTIONS] -- COMMAND...`, `native STATE ps|recover|supervise ID|logs ID|stop ID|rm ID`
#![allow(clippy::print_stdout)]

use nvbind_alloc::Ledger;
use nvbind_cdi::Edits;
use nvbind_engine::image::Registries;
use nvbind_engine::native::{self, Dirs, Error, Request};
use nvbind_workload::{Network, Workload};
use std::collections::VecDeque;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

/// How long a container may take to stop by itself: much longer than one takes on a busy machine.
const GRACE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let mut arguments: VecDeque<String> = std::env::args().skip(1).collect();
    match act(&mut arguments) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("native: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn act(arguments: &mut VecDeque<String>) -> Result<u8, Error> {
    let state = arguments.pop_front().unwrap_or_default();
    let dirs = Dirs::of_state(Path::new(&state));
    let verb = arguments.pop_front().unwrap_or_default();
    if verb == "supervise" {
        return native::supervise(&dirs, &next(arguments)).map(|()| 0);
    }
    let mut ledger = Ledger::open(&dirs.state)?;
    let recovered = native::recover(&mut ledger, &dirs)?;
    match verb.as_str() {
        "run" => run(&mut ledger, &dirs, arguments),
        "recover" => {
            recovered.iter().for_each(|name| println!("{name}"));
            Ok(0)
        }
        "ps" => {
            for binding in native::list(&ledger)? {
                println!(
                    "{} {} {} {:?}",
                    binding.id,
                    binding.name,
                    binding.status.as_str(),
                    binding.exit_code
                );
            }
            Ok(0)
        }
        "logs" => native::logs(
            &ledger,
            &dirs,
            &next(arguments),
            next(arguments) == "-f",
            &mut std::io::stdout(),
        )
        .map(|()| 0),
        "stop" => native::stop(&ledger, &next(arguments), GRACE).map(|()| 0),
        "rm" => native::remove(&mut ledger, &dirs, &next(arguments), next(arguments) == "-f").map(|()| 0),
        other => {
            eprintln!("native: unknown verb '{other}'");
            Ok(2)
        }
    }
}

fn next(arguments: &mut VecDeque<String>) -> String {
    arguments.pop_front().unwrap_or_default()
}

fn run(ledger: &mut Ledger, dirs: &Dirs, arguments: &mut VecDeque<String>) -> Result<u8, Error> {
    let mut options = Options {
        id: native::new_id()?,
        supervisor: vec!["/proc/self/exe".to_owned()],
    };
    let workload = workload(&mut options, arguments);
    let id = options.id;
    let devices = ["GPU-1".to_owned()];
    let edits = Edits::default();
    let request = Request {
        id: &id,
        engine: "native",
        workload: &workload,
        edits: &edits,
        devices: &devices,
        facts: None,
        registries: &Registries::default(),
    };
    if !workload.detach {
        return native::run(ledger, dirs, &request, &mut |_| {});
    }
    let mut supervisor = Command::new(&options.supervisor[0]);
    supervisor
        .args(&options.supervisor[1..])
        .arg(&dirs.state)
        .arg("supervise")
        .arg(&id);
    native::launch(ledger, dirs, &request, &mut supervisor, &mut |_| {})?;
    println!("{id}");
    Ok(0)
}

/// What is no part of the workload.
struct Options {
    id: String,
    /// Program and first arguments of the supervisor.
    supervisor: Vec<String>,
}

/// Options are taken as they come: this is no place for a parser.
fn workload(options: &mut Options, arguments: &mut VecDeque<String>) -> Workload {
    let mut workload = Workload::new(&options.id);
    workload.network = Network::Host;
    while let Some(option) = arguments.pop_front() {
        match option.as_str() {
            "--" => break,
            "-t" => workload.tty = true,
            "-i" => workload.stdin = true,
            "-d" => workload.detach = true,
            "--read-only" => workload.read_only = true,
            "--id" => {
                options.id = next(arguments);
                workload.name.clone_from(&options.id);
            }
            "--supervisor" => options.supervisor = next(arguments).split(' ').map(str::to_owned).collect(),
            "--name" => workload.name = next(arguments),
            "--rootfs" => workload.rootfs = Some(next(arguments).into()),
            "--image" => workload.image = next(arguments).parse().ok(),
            "--user" => workload.user = Some(next(arguments)),
            "--workdir" => workload.workdir = Some(next(arguments).into()),
            "--network" => workload.network = next(arguments).parse().unwrap_or_default(),
            "--memory" => workload.memory_bytes = next(arguments).parse().ok(),
            "--cpus" => workload.cpus = next(arguments).parse().ok(),
            "--volume" => workload.volumes.extend(next(arguments).parse()),
            "--env" => workload.env.extend(
                next(arguments)
                    .split_once('=')
                    .map(|(name, value)| (name.into(), value.into())),
            ),
            "--exclusive" => workload.isolation = nvbind_workload::Isolation::Exclusive,
            other => eprintln!("native: option '{other}' is not known"),
        }
    }
    workload.command = arguments.drain(..).collect();
    workload
}
