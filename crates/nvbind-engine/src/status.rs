//! How a container ended, or that it has not.

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitStatus {
    /// The command's own exit code, or 128 + the signal that ended it. 0 for a container left in the background.
    pub code: u8,
}

impl ExitStatus {
    /// Number that is added to a signal's to make an exit code of it.
    const SIGNAL_BASE: i32 = 128;

    /// From the code that an engine reports.
    pub(crate) fn from_engine(code: i64) -> Self {
        Self {
            code: u8::try_from(code).unwrap_or(1),
        }
    }

    /// Of a program that the kernel reports on.
    #[cfg_attr(not(feature = "bolt"), allow(dead_code))]
    pub(crate) fn of_process(status: std::process::ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let signal = status.signal().map(|signal| Self::SIGNAL_BASE + signal);
        Self::from_engine(status.code().or(signal).map_or(1, i64::from))
    }

    /// Of a run that a signal ended.
    pub(crate) fn of_signal(signal: i32) -> Self {
        Self::from_engine(i64::from(Self::SIGNAL_BASE + signal))
    }
}

/// What a container that was started for a binding is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerState {
    /// It was made and not started.
    Created,
    /// It runs (or is paused).
    Running,
    /// It has ended, with that exit code.
    Exited(u8),
}
