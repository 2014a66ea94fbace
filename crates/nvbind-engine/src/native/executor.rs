//! The last moments of a container's first process before it becomes the command.

use libcontainer::oci_spec::runtime::Spec;
use libcontainer::workload::default::DefaultExecutor;
use libcontainer::workload::{Executor, ExecutorError, ExecutorValidationError};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, Signal, getpid, pidfd_open, set_parent_process_death_signal};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// `libcontainer`'s own executor, for a parent that blocks signals and answers for its child.
#[derive(Clone)]
pub(super) struct CapsuleExecutor {
    inner: DefaultExecutor,
    /// The process that answers for the container.
    owner: Arc<OwnedFd>,
}

impl CapsuleExecutor {
    /// For a container that the calling process answers for.
    pub(super) fn new() -> rustix::io::Result<Self> {
        Ok(Self {
            inner: DefaultExecutor {},
            owner: Arc::new(pidfd_open(getpid(), PidfdFlags::empty())?),
        })
    }

    /// Whether the process that answers for the container is gone.
    fn is_orphan(&self) -> bool {
        let mut fds = [PollFd::new(&self.owner, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }
}

impl Executor for CapsuleExecutor {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        // nvbind blocks the signals that it forwards; the command must not inherit that.
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
            .map_err(|error| ExecutorError::Other(format!("cannot unblock signals: {error}")))?;
        default_sigpipe();
        // A container does not outlive the nvbind that answers for it, whatever kills that.
        set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(|error| ExecutorError::Other(format!("cannot tie the command to nvbind: {error}")))?;
        // It may have been killed before that: whoever cleans up after it has then let us get here.
        if self.is_orphan() {
            return Err(ExecutorError::Other(
                "the nvbind that answers for the container is gone".to_owned(),
            ));
        }
        self.inner.exec(spec)
    }

    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        self.inner.validate(spec)
    }
}

/// Rust programs ignore SIGPIPE and an ignored signal stays ignored across exec: `yes | head` would never end.
#[allow(unsafe_code)]
fn default_sigpipe() {
    // SAFETY: installs the default disposition, no handler; the process has one thread and is about to exec.
    let _ =
        unsafe { nix::sys::signal::signal(nix::sys::signal::Signal::SIGPIPE, nix::sys::signal::SigHandler::SigDfl) };
}
