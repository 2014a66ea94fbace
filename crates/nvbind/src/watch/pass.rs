//! One pass: a process that makes missing nodes, asks the driver and writes the spec when it has changed.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// This program, also after a newer one was installed in its place.
const PROGRAM: &str = "/proc/self/exe";
/// How long the driver may take: without persistence mode 16 GPUs take up to 3 s each to wake.
const LIMIT: Duration = Duration::from_secs(120);
/// Bytes of a pass's words that are kept.
const LONGEST_TEXT: u64 = 64 << 10;
/// How the line begins that says that a spec was written.
pub(crate) const WRITTEN: &str = "written ";

/// A pass that runs.
pub(super) struct Pass {
    child: Child,
    pidfd: OwnedFd,
    stdout: File,
    stderr: File,
    started: Instant,
}

/// How a pass ended.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) is_success: bool,
    /// What it printed: what became of the spec.
    pub(super) result: String,
    /// What it warned of, or why it failed.
    pub(super) said: String,
}

impl Pass {
    pub(super) fn start(arguments: &[OsString]) -> io::Result<Self> {
        // Files in memory: a pipe that no one reads would hold up a pass that says much.
        let (stdout, stderr) = (text_file("stdout")?, text_file("stderr")?);
        let child = Command::new(PROGRAM)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(stdout.try_clone()?)
            .stderr(stderr.try_clone()?)
            .spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pidfd = pidfd_open(pid.ok_or(io::ErrorKind::InvalidData)?, PidfdFlags::empty())?;
        Ok(Self {
            child,
            pidfd,
            stdout,
            stderr,
            started: Instant::now(),
        })
    }

    /// How it ended, if it has; one that takes too long is ended.
    pub(super) fn outcome(&mut self) -> io::Result<Option<Outcome>> {
        let status = match self.child.try_wait()? {
            Some(status) => status,
            None if self.started.elapsed() < LIMIT => return Ok(None),
            None => {
                self.child.kill()?;
                self.child.wait()?
            }
        };
        let mut said = text_of(&mut self.stderr)?;
        if !status.success() && said.is_empty() {
            said = format!(
                "nvbind: asking the driver ended with {status} after {:?}",
                self.started.elapsed()
            );
        }
        Ok(Some(Outcome {
            is_success: status.success(),
            result: text_of(&mut self.stdout)?,
            said,
        }))
    }

    /// Ends it now. The spec is written by rename, so it is whole.
    pub(super) fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl AsFd for Pass {
    /// Readable once the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Outcome {
    pub(super) fn has_written(&self) -> bool {
        self.result.starts_with(WRITTEN)
    }

    /// The state of the service in a line.
    pub(super) fn summary(&self) -> String {
        let text = if self.said.is_empty() { &self.result } else { &self.said };
        text.lines().last().unwrap_or_default().to_owned()
    }
}

fn text_file(name: &str) -> io::Result<File> {
    Ok(File::from(memfd_create(name, MemfdFlags::CLOEXEC)?))
}

fn text_of(file: &mut File) -> io::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.take(LONGEST_TEXT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
