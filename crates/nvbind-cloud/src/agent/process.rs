//! Processes of an agent: named so that a later one of the same number is not taken for them; what they print goes to the log.

use super::log::Log;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// What is left of a child's output after its end is waited for so long: what it left in the background may hold the pipe for ever.
const REST: Duration = Duration::from_millis(500);

/// A child with its own process group, whose output goes to a log.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    is_read: Receiver<()>,
}

impl Process {
    /// Starts a command; what it prints is appended to the log at `path`.
    pub(super) fn start(mut command: Command, path: &Path, limit: u64) -> io::Result<Self> {
        let mut log = Log::open(path, limit)?;
        let (mut output, pipe) = io::pipe()?;
        command.stdin(Stdio::null()).stdout(pipe.try_clone()?).stderr(pipe);
        let child = command.process_group(0).spawn()?;
        // It holds the writing end of the pipe.
        drop(command);
        let (sender, is_read) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                // A full disk must not stop the workload.
                let _ = log.write_all(&buffer[..length]);
            }
            let _ = sender.send(());
        });
        Ok(Self { child, is_read })
    }

    /// Its number and when it began.
    pub(super) fn name(&self) -> Option<(u32, u64)> {
        let pid = self.child.id();
        start_time(pid).map(|time| (pid, time))
    }

    /// Its exit code, once it has ended: 128 and the number of the signal where one ended it.
    pub(super) fn ended(&mut self) -> io::Result<Option<i32>> {
        use std::os::unix::process::ExitStatusExt;
        let Some(status) = self.child.try_wait()? else {
            return Ok(None);
        };
        let _ = self.is_read.recv_timeout(REST);
        Ok(status.code().or(status.signal().map(|signal| 128 + signal)))
    }

    /// Sends it alone a signal.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            let _ = kill_process(pid, signal);
        }
    }

    /// Sends it and what it started a signal.
    pub(super) fn signal_all(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            let _ = kill_process_group(pid, signal);
        }
    }

    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }
}

/// Kills the process group of a process that was named so, if it is still there.
pub(super) fn kill_named((pid, began): (u32, u64)) {
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(number) = number
        && start_time(pid) == Some(began)
    {
        let _ = kill_process_group(number, Signal::KILL);
    }
}

/// When a process began, in ticks since the host was started: field 22 of `/proc/PID/stat` (proc(5)).
fn start_time(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything.
    text.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}
