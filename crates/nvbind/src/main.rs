//! The `nvbind` command.

mod cli;
mod command;
mod containers;
mod context;
mod doctor;
mod failure;
mod launch;
mod output;
mod progress;
mod shim;
mod supervise;
mod sweep;
mod table;
mod watch;

use crate::cli::Cli;
use crate::context::Context;
use crate::failure::Failure;
use crate::supervise::Supervise;
use crate::sweep::Sweep;
use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(supervise) = Supervise::parse(std::env::args_os().skip(1)) {
        return end(supervise.run(), false);
    }
    if let Some(sweep) = Sweep::parse(std::env::args_os().skip(1)) {
        return end(sweep.run(), false);
    }
    let words = match std::env::args_os().map(OsString::into_string).collect() {
        Ok(words) => words,
        Err(word) => return end(Err(not_text(&word)), false),
    };
    let cli = match Cli::of(words) {
        Ok(cli) => cli,
        Err(error) => return cli::not_parsed(&error).into(),
    };
    let verbose = cli.global.is_verbose();
    end(run(cli), verbose)
}

/// A path that is no UTF-8 cannot be written in a workload file or a spec either.
fn not_text(word: &OsString) -> Failure {
    Failure::usage(format!(
        "argument '{}' is not UTF-8: rename what it names",
        word.display()
    ))
}

fn end(outcome: Result<u8, Failure>, verbose: bool) -> ExitCode {
    match outcome {
        Ok(code) => code.into(),
        Err(failure) => {
            failure.print(verbose);
            failure.code.into()
        }
    }
}

fn run(cli: Cli) -> Result<u8, Failure> {
    let context = Context::new(&cli.global);
    command::run(cli.command, &context)
}
