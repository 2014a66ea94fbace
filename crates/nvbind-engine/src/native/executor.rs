//! The last moments of a container's first process before it becomes the command.

use libcontainer::oci_spec::runtime::Spec;
use libcontainer::workload::default::DefaultExecutor;
use libcontainer::workload::{Executor, ExecutorError, ExecutorValidationError};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use rustix::process::{Signal, set_parent_process_death_signal};

/// `libcontainer`'s own executor, for a parent that blocks signals and answers for its child.
#[derive(Clone)]
pub(super) struct CapsuleExecutor {
    inner: DefaultExecutor,
}

impl CapsuleExecutor {
    pub(super) fn new() -> Self {
        Self {
            inner: DefaultExecutor {},
        }
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
