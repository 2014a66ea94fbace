//! A container in the background: a process of its own answers for it, keeps its log, writes down its end.

use crate::native::bundle::{self, Lock, Prepared};
use crate::native::capsule::{Capsule, Streams};
use crate::native::foreground::{Signals, forward, wait};
use crate::native::logs::Log;
use crate::native::run::{Request, Step, begin, now, start};
use crate::native::{Dirs, Error, lifecycle, recover, rootfs, terminal};
use nvbind_alloc::{Change, Ledger, Owner};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, read};
use rustix::pipe::{PipeFlags, pipe_with};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};

/// What a supervisor says on its standard output once the container runs. Anything else is its exit code and why.
const STARTED: &str = "started";

/// Environment variable that tells a supervisor who started it. Its parent would not do: that may be a tracer.
const LAUNCHER: &str = "NVBIND_LAUNCHER";

/// Starts a workload in the background and returns once its command runs.
///
/// `supervisor` is the command that ends up in [`supervise`] with the same folders and id (nvbind itself, with its hidden
/// subcommand); its standard streams are set here, and a variable of its environment, which it has to get.
pub fn launch(
    ledger: &mut Ledger,
    dirs: &Dirs,
    request: &Request<'_>,
    supervisor: &mut Command,
    on_step: &mut (dyn FnMut(Step) + Send),
) -> Result<(), Error> {
    let resolved = begin(ledger, dirs, request, on_step)?;
    let prepare = || {
        // Let go again before the supervisor holds it; the binding's owner is alive all the while.
        let _lock = Lock::create(&dirs.bundle(request.id))?;
        bundle::write(request, &resolved, dirs)?.save()
    };
    let outcome = prepare().and_then(|()| hand_over(&request.workload.name, supervisor));
    if outcome.is_err() {
        abandon(ledger, dirs, request)?;
    }
    outcome
}

fn hand_over(name: &str, supervisor: &mut Command) -> Result<(), Error> {
    let program = Path::new(supervisor.get_program()).to_owned();
    let me = Owner::current().map_err(nvbind_alloc::Error::Proc)?;
    let spawned = supervisor
        .env(LAUNCHER, format!("{} {} {}", me.pid, me.start_time, me.boot_id))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = spawned.map_err(Error::io("start", &program))?;
    let mut said = String::new();
    if let Some(stdout) = child.stdout.as_mut() {
        stdout
            .read_to_string(&mut said)
            .map_err(Error::io("listen to", &program))?;
    }
    if said == STARTED {
        return Ok(());
    }
    let _ = child.wait();
    Err(
        match said
            .split_once(' ')
            .and_then(|(code, why)| Some((code.parse().ok()?, why)))
        {
            Some((code, why)) => Error::Supervisor {
                why: why.to_owned(),
                code,
            },
            None => Error::Supervisor {
                why: format!("the supervisor of container '{name}' was killed; try again"),
                code: 1,
            },
        },
    )
}

/// After a start that failed: the supervisor has cleaned up itself, or was killed, or never took the binding over.
fn abandon(ledger: &mut Ledger, dirs: &Dirs, request: &Request<'_>) -> Result<(), Error> {
    let me = Owner::current().map_err(nvbind_alloc::Error::Proc)?;
    if ledger.claim(request.id, &me, &me)? {
        lifecycle::clean(dirs, request.id, &request.workload.name)?;
        ledger.finish(request.id)?;
    }
    recover(ledger, dirs).map(|_| ())
}

/// Who started this supervisor; `None` when [`launch`] did not.
fn launcher() -> Option<Owner> {
    parse_owner(&std::env::var(LAUNCHER).ok()?)
}

fn parse_owner(text: &str) -> Option<Owner> {
    let mut words = text.split(' ');
    Some(Owner {
        pid: words.next()?.parse().ok()?,
        start_time: words.next()?.parse().ok()?,
        boot_id: words.next()?.to_owned(),
    })
}

/// Answers for the container that [`launch`] prepared: returns when it has ended. To be called first thing in a process
/// of one thread that [`launch`] started; says on standard output what came of it.
pub fn supervise(dirs: &Dirs, id: &str) -> Result<(), Error> {
    let outcome = supervise_inner(dirs, id);
    if let Err(error) = &outcome {
        let _ = write!(std::io::stdout(), "{} {error}", error.exit_code());
    }
    outcome
}

fn supervise_inner(dirs: &Dirs, id: &str) -> Result<(), Error> {
    let _ = rustix::process::setsid();
    let mut ledger = Ledger::open(&dirs.state)?;
    let binding = lifecycle::own(ledger.find(id)?)?;
    let me = Owner::current().map_err(nvbind_alloc::Error::Proc)?;
    // Only from the launcher: another owner has found it dead, and removes what it left.
    let claimed = launcher().map_or(Ok(false), |launcher| ledger.claim(id, &launcher, &me))?;
    if !claimed {
        return Err(nvbind_alloc::Error::NotFound { key: id.to_owned() }.into());
    }
    let outcome = live(&mut ledger, dirs, id);
    match outcome {
        Ok(code) => {
            lifecycle::clean_but_log(dirs, id, &binding.name)?;
            ledger.update(id, &Change::exited(code, now()))?;
            Ok(())
        }
        Err(error) => {
            lifecycle::clean(dirs, id, &binding.name)?;
            ledger.finish(id)?;
            Err(error)
        }
    }
}

fn live(ledger: &mut Ledger, dirs: &Dirs, id: &str) -> Result<u8, Error> {
    let bundle = dirs.bundle(id);
    let _lock = Lock::hold(&bundle)?;
    let prepared = Prepared::load(&bundle)?;
    let mut log = Log::create(&dirs.container(id))?;
    let _image = prepared.hold_image()?;
    rootfs::mount(&prepared, dirs, &mut |_| {})?;
    let signals = Signals::block()?;
    let console = prepared.tty.then(|| terminal::Console::listen(&bundle)).transpose()?;
    let (streams, mut outputs) = if prepared.tty {
        (Streams::default(), Vec::new())
    } else {
        logged_streams()?
    };
    let mut capsule = Capsule::create(&prepared, streams, console.as_ref().map(terminal::Console::path))?;
    if let Some(console) = console {
        outputs.push(console.accept()?);
    }
    start(&mut capsule, &prepared)?;
    ledger.update(
        id,
        &Change::running(capsule.pid().as_raw_nonzero().get().unsigned_abs()),
    )?;
    report_start()?;
    attend(&capsule, &signals, outputs, &mut log)
}

/// Nothing to read, and a pipe each for output and errors, whose other sides come back.
fn logged_streams() -> Result<(Streams, Vec<OwnedFd>), Error> {
    let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(Error::io("make a pipe for", Path::new("the log")));
    let ((out, stdout), (err, stderr)) = (pipe()?, pipe()?);
    let streams = Streams {
        stdout: Some(stdout),
        stderr: Some(stderr),
        ..Streams::without_input()?
    };
    Ok((streams, vec![out, err]))
}

/// Tells [`launch`], and lets its pipe go, so that it does not wait for the container's end.
fn report_start() -> Result<(), Error> {
    let mut stdout = std::io::stdout();
    let _ = stdout.write_all(STARTED.as_bytes()).and_then(|()| stdout.flush());
    let null = Path::new("/dev/null");
    let file = File::options()
        .write(true)
        .open(null)
        .map_err(Error::io("open", null))?;
    rustix::stdio::dup2_stdout(file).map_err(Error::io("open", null))
}

/// Writes output down and hands signals on until the command ends: its exit code.
fn attend(capsule: &Capsule, signals: &Signals, mut outputs: Vec<OwnedFd>, log: &mut Log) -> Result<u8, Error> {
    for output in &outputs {
        let flags = fcntl_getfl(output).map_err(Error::io("set up", Path::new("the log's pipe")))?;
        fcntl_setfl(output, flags | OFlags::NONBLOCK).map_err(Error::io("set up", Path::new("the log's pipe")))?;
    }
    loop {
        let mut fds = vec![
            PollFd::from_borrowed_fd(capsule.pidfd(), PollFlags::IN),
            PollFd::from_borrowed_fd(signals.fd(), PollFlags::IN),
        ];
        fds.extend(
            outputs
                .iter()
                .map(|output| PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN)),
        );
        wait(&mut fds)?;
        let ended = !fds[0].revents().is_empty();
        drop(fds);
        forward(capsule, signals);
        outputs.retain(|output| drain(output, log));
        if ended {
            return capsule.wait();
        }
    }
}

/// Writes down what waits; `false` when there will be no more.
fn drain(output: &OwnedFd, log: &mut Log) -> bool {
    let mut buffer = [0u8; 65536];
    // A command that never stops printing must not keep the signals waiting: some buffers, then a look around.
    for _ in 0..16 {
        match read(output, &mut buffer) {
            Ok(0) => return false,
            Ok(length) => log.write(&buffer[..length]),
            Err(Errno::AGAIN | Errno::INTR) => return true,
            Err(_) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launcher_is_named_in_full() {
        let owner = parse_owner("7 4711 boot").unwrap();
        assert_eq!((owner.pid, owner.start_time, owner.boot_id.as_str()), (7, 4711, "boot"));
        assert_eq!(parse_owner("7 4711"), None);
        assert_eq!(parse_owner("a 4711 boot"), None);
    }
}
