//! One container on `libcontainer`: create, start, wait, signal, delete.

use crate::native::executor::CapsuleExecutor;
use crate::native::{Error, Prepared, cgroup, loopback, userns};
use libcontainer::container::Container;
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};
use rustix::thread::set_thread_groups;
use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// A container whose first process is a child of the calling process.
pub struct Capsule {
    container: Container,
    name: String,
    cgroup: String,
    pid: Pid,
    pidfd: OwnedFd,
    /// The signal on whose behalf it was killed.
    ended_by: Cell<Option<Signal>>,
}

/// Standard streams for a container; `None` is the caller's own.
#[derive(Debug, Default)]
pub struct Streams {
    /// Standard input.
    pub stdin: Option<OwnedFd>,
    /// Standard output.
    pub stdout: Option<OwnedFd>,
    /// Standard error.
    pub stderr: Option<OwnedFd>,
}

impl Streams {
    /// The caller's own streams, but nothing to read.
    pub(super) fn without_input() -> Result<Self, Error> {
        let null = Path::new("/dev/null");
        let stdin = std::fs::File::open(null).map_err(Error::io("open", null))?;
        Ok(Self {
            stdin: Some(stdin.into()),
            ..Self::default()
        })
    }
}

impl Capsule {
    /// Makes the container of a bundle, up to the moment before its command runs. With `console` its terminal's master
    /// is sent there.
    pub fn create(prepared: &Prepared, streams: Streams, console: Option<&Path>) -> Result<Self, Error> {
        let refused = |error: &dyn std::error::Error| runtime_error("create", prepared, error);
        // `libcontainer` leaves the caller's groups in place when the container is to have none. An ordinary user's own
        // stay: device nodes may be open to them alone, and where one id is mapped the kernel lets no group go.
        if userns::current().is_none() {
            set_thread_groups(&[]).map_err(|error| refused(&error))?;
        } else if prepared.own_network {
            loopback::leave_network()?;
        }
        let mut builder = ContainerBuilder::new(prepared.id.clone(), SyscallType::default())
            .with_executor(CapsuleExecutor::new().map_err(|error| refused(&error))?)
            .with_console_socket(console);
        (builder.stdin, builder.stdout, builder.stderr) = (streams.stdin, streams.stdout, streams.stderr);
        let container = builder
            .with_root_path(&prepared.bundle)
            .map_err(|error| refused(&error))?
            .as_init(&prepared.bundle)
            .with_systemd(false)
            .with_detach(console.is_some())
            .build()
            .map_err(|error| refused(&error))?;
        let pid = container.pid().and_then(|pid| Pid::from_raw(pid.as_raw()));
        let pid = pid.ok_or_else(|| refused(&std::io::Error::other("it has no process")))?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| refused(&error))?;
        Ok(Self {
            container,
            name: prepared.name.clone(),
            cgroup: prepared.cgroup.clone(),
            pid,
            pidfd,
            ended_by: Cell::new(None),
        })
    }

    /// Lets the command run.
    pub fn start(&mut self) -> Result<(), Error> {
        self.container.start().map_err(|error| Error::Runtime {
            action: "start",
            name: self.name.clone(),
            why: one_line(&error),
        })
    }

    /// The first process as the host numbers it.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Readable once the first process has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Sends a signal to the first process; one that is gone needs none.
    pub fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.pidfd, signal);
    }

    /// Hands on a signal that ends a process by default. The kernel keeps it from the first process of a container unless
    /// that has a handler; a command that would end on it anywhere else is ended here, too.
    pub(super) fn deliver(&self, signal: Signal) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid.as_raw_nonzero()));
        let status = status.unwrap_or_default();
        if has_in_mask(&status, "SigCgt:", signal) || has_in_mask(&status, "SigIgn:", signal) {
            self.signal(signal);
        } else {
            self.ended_by.set(Some(signal));
            self.signal(Signal::KILL);
        }
    }

    /// Kills every process of the container.
    pub fn kill(&self) -> Result<(), Error> {
        cgroup::kill(&self.cgroup, &self.name)
    }

    /// Waits for the first process to end: its exit code, or 128 and the signal that ended it.
    pub fn wait(&self) -> Result<u8, Error> {
        let failed = |why: String| Error::Runtime {
            action: "wait for",
            name: self.name.clone(),
            why,
        };
        loop {
            match waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED) {
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(failed(error.to_string())),
                Ok(None) => {}
                Ok(Some(status)) => {
                    let signal = status.terminating_signal();
                    let asked = self.ended_by.get().filter(|_| signal == Some(Signal::KILL.as_raw()));
                    let signal = asked.map(Signal::as_raw).or(signal);
                    let code = status.exit_status().or(signal.map(|signal| 128 + signal));
                    let code = code.and_then(|code| u8::try_from(code).ok());
                    return code.ok_or_else(|| failed("its exit status cannot be read".to_owned()));
                }
            }
        }
    }
}

/// Nobody answers for it any more.
impl Drop for Capsule {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Whether a signal is in a mask of `/proc/<pid>/status`: `SigCgt:` has handlers, `SigIgn:` is ignored.
fn has_in_mask(status: &str, mask: &str, signal: Signal) -> bool {
    let text = status.lines().find_map(|line| line.strip_prefix(mask));
    let bits = text.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    bits.is_some_and(|bits| bits >> (signal.as_raw() - 1) & 1 == 1)
}

/// Which failures are the command's own, by the words of `libcontainer` 0.7 (`workload/default.rs`).
const COMMAND_FAILURES: [(&str, u8, &str); 3] = [
    ("not found in $PATH", 127, "not found"),
    ("does not have correct permissions", 126, "it is not an executable file"),
    (
        "failed to check permissions for executable",
        126,
        "it cannot be looked at",
    ),
];

fn runtime_error(action: &'static str, prepared: &Prepared, error: &dyn std::error::Error) -> Error {
    let why = one_line(error);
    let command = COMMAND_FAILURES.iter().find(|(words, ..)| why.contains(words));
    match command {
        Some((_, code, why)) => Error::Command {
            command: prepared.command.clone(),
            why: (*why).to_owned(),
            code: *code,
        },
        None => Error::Runtime {
            action,
            name: prepared.name.clone(),
            why,
        },
    }
}

/// An error with its causes, each said once, in one line.
fn one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_is_seen() {
        let status = "Name:\tsh\nSigIgn:\t0000000000000001\nSigCgt:\t0000000000010002\n";
        assert!(has_in_mask(status, "SigCgt:", Signal::INT));
        assert!(!has_in_mask(status, "SigCgt:", Signal::HUP));
        assert!(has_in_mask(status, "SigIgn:", Signal::HUP));
        assert!(!has_in_mask("", "SigCgt:", Signal::HUP));
    }
}
