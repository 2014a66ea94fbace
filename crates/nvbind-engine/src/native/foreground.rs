//! A container in the foreground: the caller's streams, signals handed on.

use crate::native::{Capsule, Error};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// Signals that are handed on to the command, and the one that says that the terminal has another size.
const FORWARDED: [Signal; 6] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// The forwarded signals, blocked for as long as this lives and read from a descriptor instead.
#[derive(Debug)]
pub(super) struct Signals {
    fd: SignalFd,
    before: SigSet,
}

/// What came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// To be handed on.
    Forward(rustix::process::Signal),
    /// The terminal has another size.
    Resize,
}

impl Signals {
    /// Blocks the signals of the calling thread, the only one.
    pub(super) fn block() -> Result<Self, Error> {
        let failed = |error: nix::Error| Error::io("block signals of", Path::new("nvbind"))(error);
        let mut set = SigSet::empty();
        FORWARDED
            .iter()
            .chain(&[Signal::SIGWINCH])
            .for_each(|signal| set.add(*signal));
        let mut before = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), Some(&mut before)).map_err(failed)?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).map_err(failed)?;
        Ok(Self { fd, before })
    }

    /// Readable when a signal waits.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The signals that wait.
    pub(super) fn pending(&self) -> impl Iterator<Item = Event> + '_ {
        let read = || self.fd.read_signal().ok().flatten();
        std::iter::from_fn(read).filter_map(|info| event(i32::try_from(info.ssi_signo).ok()?))
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}

fn event(number: i32) -> Option<Event> {
    if number == Signal::SIGWINCH as i32 {
        return Some(Event::Resize);
    }
    rustix::process::Signal::from_named_raw(number).map(Event::Forward)
}

/// Hands signals on until the command ends: its exit code.
pub(super) fn attend(capsule: &Capsule, signals: &Signals) -> Result<u8, Error> {
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(capsule.pidfd(), PollFlags::IN),
            PollFd::from_borrowed_fd(signals.fd(), PollFlags::IN),
        ];
        wait(&mut fds)?;
        if !fds[0].revents().is_empty() {
            return capsule.wait();
        }
        forward(capsule, signals);
    }
}

/// Hands on what waits; whether the terminal has another size.
pub(super) fn forward(capsule: &Capsule, signals: &Signals) -> bool {
    let mut resized = false;
    for event in signals.pending() {
        match event {
            Event::Forward(signal) => capsule.deliver(signal),
            Event::Resize => resized = true,
        }
    }
    resized
}

/// `poll`, again when a signal came in between.
pub(super) fn wait(fds: &mut [PollFd<'_>]) -> Result<(), Error> {
    loop {
        match poll(fds, None) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Error::io("wait for", Path::new("the container"))(error)),
            Ok(_) => return Ok(()),
        }
    }
}
