//! `nvbind runtime`: how engines come to start containers through `nvbind-runtime`.

use crate::context::Context;
use crate::failure::{Failure, USAGE};
use crate::output;
use clap::{ArgAction, Args, Subcommand, ValueEnum, ValueHint};
use nvbind_engine::configure::{self, DropIn, Engine, Error, Outcome, Request, Source, alias};
use nvbind_engine::find_shim;
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub(crate) enum RuntimeCommand {
    /// Tell an engine of nvbind-runtime, or take that back
    Configure(Box<ConfigureArgs>),
    /// Make the names of NVIDIA's programs links to nvbind's
    Alias(AliasArgs),
}

// The options of `nvidia-ctk runtime configure`, by the same names.
#[derive(Debug, Args)]
#[command(
    after_help = "--config is here the engine's file, as with nvidia-ctk; nvbind's own can be named in NVBIND_CONFIG."
)]
pub(crate) struct ConfigureArgs {
    /// The engine
    #[arg(long, value_enum, default_value = "docker")]
    runtime: EngineName,
    /// The engine's configuration file [default: where it usually lies]
    // The same id as the global option: it takes its place for this command.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Write to this file, which the engine reads besides; '' for none [default: where the engine reads one]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    drop_in_config: Option<PathBuf>,
    /// The engine's program, to check what is written [default: the one on PATH]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::ExecutablePath)]
    executable_path: Option<PathBuf>,
    /// How the engine is told
    #[arg(long, value_enum, default_value = "config-file")]
    config_mode: ConfigMode,
    /// Where the present configuration is read from: the file, or what the engine prints when asked
    #[arg(long, value_enum, default_value = "file")]
    config_source: ConfigSource,
    /// Name of the runtime; may be repeated [default: nvbind, and nvidia where nothing else has it]
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = runtime_name)]
    nvidia_runtime_name: Vec<String>,
    /// The runtime [default: nvbind-runtime beside nvbind or on PATH]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::ExecutablePath)]
    nvidia_runtime_path: Option<PathBuf>,
    /// Containers that name no runtime get this one
    #[arg(long, visible_alias = "set-as-default", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value = "false", hide_default_value = true, hide_possible_values = true, action = ArgAction::Set, value_name = "true|false")]
    nvidia_set_as_default: bool,
    /// Switch the engine's own CDI support on, or with =false off
    #[arg(long = "cdi.enabled", visible_aliases = ["cdi.enable", "enable-cdi"], num_args = 0..=1, require_equals = true,
          default_missing_value = "true", hide_possible_values = true, value_name = "true|false")]
    cdi_enabled: Option<bool>,
    /// Print what would change, as diff -u does, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Take out what nvbind put in; with --config only of that file
    #[arg(long)]
    undo: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AliasArgs {
    /// Folder of the links
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, default_value = "/usr/bin")]
    dir: PathBuf,
    /// Print what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Remove the links
    #[arg(long)]
    undo: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum EngineName {
    Docker,
    Containerd,
    Crio,
    Podman,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ConfigMode {
    ConfigFile,
    #[value(hide = true)]
    OciHook,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ConfigSource {
    File,
    Command,
}

pub(crate) fn run(command: &RuntimeCommand, context: &Context) -> Result<u8, Failure> {
    match command {
        RuntimeCommand::Configure(args) => configure(args, context),
        RuntimeCommand::Alias(args) => alias(args),
    }
}

fn configure(args: &ConfigureArgs, context: &Context) -> Result<u8, Failure> {
    if args.config_mode == ConfigMode::OciHook {
        return Err(Failure::new(
            USAGE,
            "--config-mode oci-hook: nvbind has no such hook; leave it out, the runtime does its work",
        ));
    }
    let state = context.config()?.state_dir();
    let outcome = match args.undo {
        true => configure::undo(args.engine(), args.config()?.as_deref(), &state, args.dry_run)?,
        false => configure::configure(&args.request()?, &state, args.dry_run)?,
    };
    outcome.notes.iter().for_each(|note| output::warn(note));
    if args.dry_run {
        let diffs: Vec<String> = outcome.changes.iter().map(configure::FileChange::diff).collect();
        output::text(&diffs.concat())?;
        return Ok(0);
    }
    output::text(&args.report(&outcome))?;
    Ok(0)
}

impl ConfigureArgs {
    fn engine(&self) -> Engine {
        match self.runtime {
            EngineName::Docker => Engine::Docker,
            EngineName::Containerd => Engine::Containerd,
            EngineName::Crio => Engine::Crio,
            EngineName::Podman => Engine::Podman,
        }
    }

    fn config(&self) -> Result<Option<PathBuf>, Failure> {
        self.config.as_deref().map(absolute).transpose()
    }

    fn request(&self) -> Result<Request, Failure> {
        let program = self.nvidia_runtime_path.clone().or_else(find_shim);
        Ok(Request {
            engine: self.engine(),
            config: self.config()?,
            drop_in: match &self.drop_in_config {
                None => DropIn::Auto,
                Some(path) if path.as_os_str().is_empty() => DropIn::Never,
                Some(path) => DropIn::At(absolute(path)?),
            },
            executable: self.executable_path.clone(),
            source: match self.config_source {
                ConfigSource::File => Source::File,
                ConfigSource::Command => Source::Command,
            },
            names: self.nvidia_runtime_name.clone(),
            program: program.ok_or(Error::NoRuntime)?,
            set_as_default: self.nvidia_set_as_default,
            cdi: self.cdi_enabled,
        })
    }

    /// What was done, and what is left to the user.
    fn report(&self, outcome: &Outcome) -> String {
        if outcome.changes.is_empty() {
            let why = if self.undo {
                "nothing of nvbind's is left"
            } else {
                "it is so already"
            };
            return format!("{}: nothing to change, {why}\n", self.engine());
        }
        let line = |change: &configure::FileChange| {
            let action = match (&change.before, &change.after) {
                (None, _) => "wrote",
                (_, None) => "removed",
                _ => "changed",
            };
            format!("{action} {}\n", change.path.display())
        };
        let next = match outcome.next {
            "" => String::new(),
            command => format!("to take effect: {command}\n"),
        };
        outcome.changes.iter().map(line).collect::<String>() + &next
    }
}

fn alias(args: &AliasArgs) -> Result<u8, Failure> {
    let dir = absolute(&args.dir)?;
    let links = match args.undo {
        true => alias::unlink(&dir, args.dry_run)?,
        false => alias::link(&dir, &find_shim().ok_or(Error::NoRuntime)?, args.dry_run)?,
    };
    let line = |link: &alias::Link| match args.undo {
        true => format!("removed {}\n", link.path.display()),
        false => format!("{} -> {}\n", link.path.display(), link.target.display()),
    };
    output::text(&links.iter().map(line).collect::<String>())?;
    Ok(0)
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| Failure::io(format!("bad path '{}'", path.display()), &error))
}

/// Names go into files of several formats and onto command lines.
fn runtime_name(text: &str) -> Result<String, String> {
    let ordinary = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(ordinary) {
        true => Ok(text.to_owned()),
        false => Err("write it with letters, digits, '.', '_' and '-'".to_owned()),
    }
}
