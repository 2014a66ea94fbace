//! `nvbind supervise STATE-DIR ID`: the process behind a native container in the background. It is no command for people,
//! so it is not among those that the command line knows.

use crate::failure::Failure;
use nvbind_engine::native::{self, Dirs};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

const WORD: &str = "supervise";

/// What a supervisor is started with.
pub(crate) struct Supervise {
    state: PathBuf,
    id: String,
}

impl Supervise {
    /// Reads the arguments of this process (its own name left out), if they are a supervisor's.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = OsString>) -> Option<Self> {
        let word = arguments.next()?;
        let state = PathBuf::from(arguments.next()?);
        let id = arguments.next()?.into_string().ok()?;
        (word == WORD && arguments.next().is_none()).then_some(Self { state, id })
    }

    /// Answers for the container until it ends.
    pub(crate) fn run(&self) -> Result<u8, Failure> {
        native::supervise(&Dirs::of_state(&self.state), &self.id)?;
        Ok(0)
    }
}

/// The command that starts a supervisor.
pub(crate) fn command(state: &Path, id: &str) -> Result<Command, Failure> {
    let program = std::env::current_exe().map_err(|error| Failure::io("cannot find the running nvbind", &error))?;
    let mut command = Command::new(program);
    command.arg(WORD).arg(state).arg(id);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_form_is_taken() {
        let parse = |line: &str| Supervise::parse(line.split(' ').map(OsString::from)).map(|found| found.id);
        assert_eq!(parse("supervise /s abc"), Some("abc".to_owned()));
        assert_eq!(parse("supervise /s"), None);
        assert_eq!(parse("supervise /s abc x"), None);
        assert_eq!(parse("run supervise abc"), None);
    }
}
