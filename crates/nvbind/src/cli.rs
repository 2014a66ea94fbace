//! What can be written on the command line; completions and man pages come from the same definitions.

use crate::command::Command;
use crate::command::runtime::RuntimeCommand;
use crate::failure::{self, Failure};
use clap::builder::styling::Styles;
use clap::parser::ValueSource;
use clap::{Args, CommandFactory, FromArgMatches, Parser, ValueEnum};
use std::mem::ManuallyDrop;
use std::path::PathBuf;

/// Binds NVIDIA GPUs to work: finds them, and gives containers exactly those they were promised.
#[derive(Debug, Parser)]
#[command(
    name = "nvbind",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    styles = Styles::plain(),
    after_help = "Exit codes: 0 success, 1 failure, 2 usage or configuration, 3 permission, 4 not found, 5 this system \
                  cannot do it. `run` returns the container's own."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Reads a command line, the program's name first.
    ///
    /// `run` and `cloud deploy` have an optional image before their command, so what stands before the first `--` is read alone: only then is
    /// it clear whether there is an image.
    pub(crate) fn of(words: Vec<String>) -> Result<Self, clap::Error> {
        if let Some(at) = words.iter().position(|word| word == "--")
            && let Ok(mut cli) = Self::try_parse_from(&words[..at])
            && let Some(command) = cli.command.words()
        {
            // The command began before: these are some more of its arguments.
            if !command.is_empty() {
                command.push("--".to_owned());
            }
            command.extend_from_slice(&words[at + 1..]);
            return Ok(cli);
        }
        Self::parsed(words)
    }

    /// `runtime configure --config` is the engine's file, as nvidia-ctk has it, and stands in for the global option there.
    fn parsed(words: Vec<String>) -> Result<Self, clap::Error> {
        // The process ends soon: taking the definitions apart again would be for nothing.
        let mut definitions = ManuallyDrop::new(Self::command());
        let mut matches = definitions.try_get_matches_from_mut(words)?;
        let is_written = matches.value_source("config") == Some(ValueSource::CommandLine);
        let mut cli = Self::from_arg_matches_mut(&mut matches)?;
        if let Command::Runtime(RuntimeCommand::Configure(args)) = &mut cli.command {
            let from_environment = std::env::var_os("NVBIND_CONFIG").map(PathBuf::from);
            match is_written {
                true => cli.global.config = from_environment,
                false => args.config = None,
            }
        }
        Ok(cli)
    }
}

// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Use a simulated machine: a profile (see `nvbind sim list`) or a profile file
    #[arg(
        long,
        global = true,
        help_heading = "Global options",
        value_name = "PROFILE|PATH",
        env = "NVBIND_SIM",
        hide_env_values = true
    )]
    pub(crate) sim: Option<String>,
    /// Read this configuration file and no other
    #[arg(
        long,
        global = true,
        help_heading = "Global options",
        value_name = "FILE",
        env = "NVBIND_CONFIG",
        hide_env_values = true
    )]
    pub(crate) config: Option<PathBuf>,
    /// With an error, print what caused it
    #[arg(long, global = true, help_heading = "Global options")]
    verbose: bool,
    /// Same as --verbose, before the command
    #[arg(short = 'v', help_heading = "Global options")]
    v: bool,
}

impl Global {
    pub(crate) fn is_verbose(&self) -> bool {
        self.verbose || self.v
    }
}

// Where the driver and its device nodes are looked for.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct RootArgs {
    /// Folder under which the driver's files lie [default: /]
    #[arg(long, value_name = "DIR")]
    pub(crate) driver_root: Option<PathBuf>,
    /// Folder that holds dev/ with the device nodes [default: the driver root]
    #[arg(long, value_name = "DIR")]
    pub(crate) dev_root: Option<PathBuf>,
}

impl RootArgs {
    /// Whether the command line names a root: it then wins over a simulated machine.
    pub(crate) fn is_given(&self) -> bool {
        self.driver_root.is_some() || self.dev_root.is_some()
    }
}

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// Prints help and version where they belong, and a usage error as one line. Returns the exit code.
pub(crate) fn not_parsed(error: &clap::Error) -> u8 {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    match error.kind() {
        // A reader that has gone away is no failure of ours.
        DisplayHelp | DisplayVersion => error.print().map_or(0, |()| 0),
        DisplayHelpOnMissingArgumentOrSubcommand => error.print().map_or(failure::USAGE, |()| failure::USAGE),
        _ => {
            Failure::usage(usage_line(&error.to_string())).print(false);
            failure::USAGE
        }
    }
}

/// clap's paragraphs as one line: what is wrong, its first tip, where to read on.
fn usage_line(text: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    for paragraph in text.split("\n\n") {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let first_line = words(paragraph.lines().next().unwrap_or_default());
        match words(paragraph).split_once(": ") {
            Some(("error", what)) => parts.push(what.to_owned()),
            Some(("tip", _)) => parts.push(first_line.trim_start_matches("tip: ").to_owned()),
            Some(("Usage", usage)) => parts.push(format!("see {} --help", command_of(usage))),
            _ => {}
        }
    }
    parts.join("; ")
}

/// `nvbind run` of `nvbind run [OPTIONS] ...`.
fn command_of(usage: &str) -> String {
    let is_name = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-');
    usage.split(' ').take_while(is_name).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    fn line(arguments: &[&str]) -> String {
        let error = Cli::try_parse_from(arguments).expect_err("a usage error");
        usage_line(&error.to_string())
    }

    #[test]
    fn usage_errors_are_one_line() {
        assert_eq!(
            line(&["nvbind", "info", "--formt", "json"]),
            "unexpected argument '--formt' found; a similar argument exists: '--format'; see nvbind info --help"
        );
        assert_eq!(
            line(&["nvbind", "run", "--gpuu", "0", "img"]),
            "unexpected argument '--gpuu' found; a similar argument exists: '--gpu'; see nvbind run --help"
        );
        assert_eq!(
            line(&["nvbind", "inf"]),
            "unrecognized subcommand 'inf'; a similar subcommand exists: 'info'; see nvbind --help"
        );
        assert_eq!(
            line(&["nvbind", "info", "--format", "csv"]),
            "invalid value 'csv' for '--format <FORMAT>' [possible values: table, json, yaml]"
        );
    }
}
