//! `nvbind sweep STATE-DIR`: cleans up after native containers whose nvbind was killed, in a process of its own. It is no
//! command for people.
//!
//! An ordinary user's containers are cleaned up by root of a user namespace, which cannot be left again: other engines, asked
//! later by the same command, would not be the user's any more.

use crate::failure::{FAILED, Failure};
use nvbind_alloc::Ledger;
use nvbind_engine::native::{self, Dirs};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

const WORD: &str = "sweep";
/// What a message of ours begins with.
const PREFIX: &str = "nvbind: ";

/// What a sweeper is started with.
pub(crate) struct Sweep {
    state: PathBuf,
}

impl Sweep {
    /// Reads the arguments of this process (its own name left out), if they are a sweeper's.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = OsString>) -> Option<Self> {
        let word = arguments.next()?;
        let state = PathBuf::from(arguments.next()?);
        (word == WORD && state.is_absolute() && arguments.next().is_none()).then_some(Self { state })
    }

    /// Cleans up.
    pub(crate) fn run(&self) -> Result<u8, Failure> {
        native::recover(&mut Ledger::open(&self.state)?, &Dirs::of_state(&self.state))?;
        Ok(0)
    }
}

/// Lets a sweeper clean up.
pub(crate) fn run(state: &Path) -> Result<(), Failure> {
    let program = std::env::current_exe().map_err(|error| Failure::io("cannot find the running nvbind", &error))?;
    let output = Command::new(program).arg(WORD).arg(state).output();
    let output = output.map_err(|error| Failure::io("cannot start nvbind", &error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code().and_then(|code| u8::try_from(code).ok());
    Err(Failure::new(
        code.unwrap_or(FAILED),
        said.strip_prefix(PREFIX).unwrap_or(&said),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_form_is_taken() {
        let parse = |line: &str| Sweep::parse(line.split(' ').map(OsString::from)).map(|found| found.state);
        assert_eq!(parse("sweep /s"), Some("/s".into()));
        assert_eq!(parse("sweep"), None);
        assert_eq!(parse("sweep s"), None);
        assert_eq!(parse("sweep /s x"), None);
    }
}
