//! Signals as something to wait for.

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::fd::{AsFd, BorrowedFd};
use std::io;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// SIGTERM, SIGINT: end.
    End,
    /// SIGHUP: look at the host now.
    Reload,
}

/// The signals that arrive from now on instead of ending this process.
pub(super) struct Signals(SignalFd);

impl Signals {
    pub(super) fn catch() -> io::Result<Self> {
        let mut set = SigSet::empty();
        [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]
            .into_iter()
            .for_each(|signal| set.add(signal));
        // Children do not inherit this: the standard library clears the mask before it starts them.
        set.thread_block()?;
        Ok(Self(SignalFd::with_flags(
            &set,
            SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC,
        )?))
    }

    /// What was asked for since the last call.
    pub(super) fn next(&mut self) -> io::Result<Option<Asked>> {
        let Some(info) = self.0.read_signal()? else {
            return Ok(None);
        };
        let is_reload = i32::try_from(info.ssi_signo) == Ok(Signal::SIGHUP as i32);
        Ok(Some(if is_reload { Asked::Reload } else { Asked::End }))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
