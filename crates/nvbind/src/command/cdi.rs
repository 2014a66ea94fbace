//! `nvbind cdi`: Container Device Interface specs.

mod generate;
mod transform;
mod watch;

use crate::cli::Format;
use crate::context::Context;
use crate::failure::{Failure, NOT_FOUND};
use crate::output;
use clap::{Args, Subcommand};
use generate::GenerateArgs;
use nvbind_cdi::{Format as SpecFormat, Registry, Spec};
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum CdiCommand {
    /// Make the spec of this host
    Generate(Box<GenerateArgs>),
    /// Keep the spec right while the driver, the device nodes and the MIG layout change
    Watch(Box<watch::WatchArgs>),
    /// List the devices that specs define
    List(ListArgs),
    /// Show what containers get for devices
    Show(ShowArgs),
    /// Check spec files
    Validate(ValidateArgs),
    /// Change what a spec says
    #[command(subcommand)]
    Transform(transform::TransformCommand),
}

#[derive(Debug, Args)]
pub(crate) struct SpecDirArgs {
    /// Folders of specs instead of the configured ones
    #[arg(
        long,
        value_name = "DIR",
        value_delimiter = ',',
        env = "NVIDIA_CTK_CDI_SPEC_DIRS",
        hide_env_values = true
    )]
    spec_dir: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    dirs: SpecDirArgs,
    /// How to print
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    dirs: SpecDirArgs,
    /// json or yaml
    #[arg(long, default_value = "yaml")]
    format: String,
    /// Qualified names, as nvidia.com/gpu=0
    #[arg(required = true, value_name = "DEVICE")]
    devices: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    #[command(flatten)]
    dirs: SpecDirArgs,
    /// Spec files [default: every file in the folders of specs]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(crate) fn run(command: &CdiCommand, context: &Context) -> Result<u8, Failure> {
    match command {
        CdiCommand::Generate(args) => generate::run(args, context)?,
        CdiCommand::Watch(args) => return watch::run(args, context),
        CdiCommand::List(args) => list(args, context)?,
        CdiCommand::Show(args) => show(args, context)?,
        CdiCommand::Validate(args) => return validate(args, context),
        CdiCommand::Transform(command) => transform::run(command)?,
    }
    Ok(0)
}

/// The folders of specs that are meant.
fn spec_dirs(dirs: &SpecDirArgs, context: &Context) -> Result<Vec<PathBuf>, Failure> {
    let given = dirs.spec_dir.iter().filter(|dir| !dir.is_empty());
    let given: Vec<PathBuf> = given.map(PathBuf::from).collect();
    match given.is_empty() {
        true => Ok(context.config()?.cdi.spec_dirs),
        false => Ok(given),
    }
}

fn registry(dirs: &SpecDirArgs, context: &Context) -> Result<Registry, Failure> {
    Ok(Registry::load(&spec_dirs(dirs, context)?))
}

/// Writes a spec into a folder that is there.
fn write(spec: &Spec, path: &Path, format: SpecFormat) -> Result<(), Failure> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    if !folder.is_dir() {
        let message = format!(
            "cannot write '{}': there is no folder '{}'",
            path.display(),
            folder.display()
        );
        return Err(Failure::new(NOT_FOUND, format!("{message}; make it first")));
    }
    Ok(spec.write(path, format)?)
}

/// A device as `cdi list` shows it.
#[derive(Serialize)]
struct Listed<'registry> {
    name: &'registry str,
    spec: Option<&'registry Path>,
}

fn list(args: &ListArgs, context: &Context) -> Result<(), Failure> {
    let registry = registry(&args.dirs, context)?;
    registry
        .errors()
        .iter()
        .for_each(|error| output::warn(&error.to_string()));
    if registry.specs().is_empty() && registry.errors().is_empty() {
        let dirs: Vec<String> = spec_dirs(&args.dirs, context)?
            .iter()
            .map(|dir| dir.display().to_string())
            .collect();
        let last = dirs.last().map_or("/etc/cdi", String::as_str);
        output::warn(&format!(
            "no CDI specs in {}: nvbind cdi generate --output {last}/nvidia.yaml makes one",
            dirs.join(", ")
        ));
    }
    let listed = |name| Listed {
        name,
        spec: registry.spec_of(name).map(|file| file.path.as_path()),
    };
    let devices: Vec<Listed<'_>> = registry.devices().map(|(name, _)| listed(name)).collect();
    output::data(args.format, &devices, || {
        devices.iter().map(|device| format!("{}\n", device.name)).collect()
    })
}

fn show(args: &ShowArgs, context: &Context) -> Result<(), Failure> {
    let registry = registry(&args.dirs, context)?;
    let edits = registry.edits(&args.devices)?;
    match args.format.parse()? {
        SpecFormat::Json => output::text(&output::json(&edits)?),
        SpecFormat::Yaml => output::text(&output::yaml(&edits)?),
    }
}

/// Checks every file; the first that is wrong is the command's failure, the others are told before it.
fn validate(args: &ValidateArgs, context: &Context) -> Result<u8, Failure> {
    let mut failures: Vec<Failure> = Vec::new();
    if args.files.is_empty() {
        let registry = registry(&args.dirs, context)?;
        for file in registry.specs() {
            report(&file.path, &file.spec)?;
        }
        failures.extend(
            registry
                .errors()
                .iter()
                .map(|error| Failure::from_error(error, error.exit_code())),
        );
    }
    for path in &args.files {
        match Spec::from_file(path) {
            Ok(spec) => report(path, &spec)?,
            Err(error) => failures.push(error.into()),
        }
    }
    match failures.pop() {
        Some(last) => {
            failures.iter().for_each(|failure| failure.print(false));
            Err(last)
        }
        None => Ok(0),
    }
}

fn report(path: &Path, spec: &Spec) -> Result<(), Failure> {
    if let Some(why) = spec.stale() {
        output::warn(&format!(
            "{}: out of date: {why}; run nvbind cdi generate again",
            path.display()
        ));
    }
    let (version, count) = (&spec.cdi_version, spec.devices.len());
    output::text(&format!(
        "{}: valid, CDI {version}, {}, {count} device(s)\n",
        path.display(),
        spec.kind
    ))
}
