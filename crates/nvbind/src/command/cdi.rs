//! `nvbind cdi`: Container Device Interface specs.

use crate::cli::{Format, RootArgs};
use crate::context::Context;
use crate::failure::{Failure, NOT_FOUND};
use crate::output;
use clap::{Args, Subcommand, ValueHint};
use nvbind_cdi::{Format as SpecFormat, GenerateOptions, HookSteps, Registry, Spec};
use nvbind_config::Config;
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub(crate) enum CdiCommand {
    /// Make the spec of this host
    Generate(Box<GenerateArgs>),
    /// List the devices that specs define
    List(ListArgs),
    /// Show what containers get for devices
    Show(ShowArgs),
    /// Check spec files
    Validate(ValidateArgs),
}

/// The options of `nvidia-ctk cdi generate`, by the same names.
#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// Write to this file instead of stdout
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
    /// json or yaml [default: as the file's name says, else yaml]
    #[arg(long)]
    format: Option<String>,
    /// Write nothing that needs a newer CDI version, for older engines (podman 4.3 of Debian 12 reads 0.5.0)
    #[arg(long, value_name = "VERSION")]
    cdi_version: Option<String>,
    /// How the host is searched: auto or nvml
    #[arg(long, visible_alias = "discovery-mode", default_value = "auto")]
    mode: String,
    #[command(flatten)]
    roots: RootArgs,
    /// More folders of libraries, as paths in the container
    #[arg(long, value_name = "DIR")]
    library_search_path: Vec<PathBuf>,
    /// More folders of configurations, as paths in the container
    #[arg(long, value_name = "DIR")]
    config_search_path: Vec<PathBuf>,
    /// How devices are named: index, uuid or type-index; may be repeated [default: index,uuid]
    #[arg(long, value_name = "STRATEGY", value_delimiter = ',')]
    device_name_strategy: Vec<String>,
    /// Only these devices: index, gpu:mig, UUID, all or none
    #[arg(long, visible_aliases = ["device-ids", "device", "devices"], value_name = "ID", value_delimiter = ',')]
    device_id: Vec<String>,
    /// Leave out the device that stands for all
    #[arg(long)]
    no_all_device: bool,
    /// First half of the kind
    #[arg(long, visible_alias = "cdi-vendor", default_value = "nvidia.com")]
    vendor: String,
    /// Second half of the kind
    #[arg(long, visible_alias = "cdi-class", default_value = "gpu")]
    class: String,
    /// The hook program [default: nvbind-hook beside nvbind, on PATH, or in /usr/bin]
    #[arg(long, visible_aliases = ["hook-path", "nvidia-ctk-path"], value_name = "FILE")]
    nvidia_cdi_hook_path: Option<PathBuf>,
    /// Leave out a step of the hook: create-symlinks, update-ldcache or all
    #[arg(long, visible_alias = "disable-hooks", value_name = "HOOK", value_delimiter = ',')]
    disable_hook: Vec<String>,
    /// Do a step of the hook all the same
    #[arg(long, visible_alias = "enable-hooks", value_name = "HOOK", value_delimiter = ',')]
    enable_hook: Vec<String>,
    /// enable-explicit-driver-libraries or no-additional-gids-for-device-nodes
    #[arg(long, visible_alias = "feature-flags", value_name = "FLAG", value_delimiter = ',')]
    feature_flag: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct SpecDirArgs {
    /// Folders of specs instead of the configured ones
    #[arg(long, value_name = "DIR", value_delimiter = ',')]
    spec_dir: Vec<PathBuf>,
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
        CdiCommand::Generate(args) => generate(args, context)?,
        CdiCommand::List(args) => list(args, context)?,
        CdiCommand::Show(args) => show(args, context)?,
        CdiCommand::Validate(args) => return validate(args, context),
    }
    Ok(0)
}

fn generate(args: &GenerateArgs, context: &Context) -> Result<(), Failure> {
    let config = context.config_with(&args.roots)?;
    let options = args.options(&config)?;
    let format = args.spec_format()?;
    let roots = context.roots(&config, &args.roots)?;
    let host = nvbind_gpu::discover(&roots)?;
    let files = nvbind_gpu::driver_files(&roots, host.driver.version.as_deref(), &options.search_options())?;
    host.warnings.iter().for_each(|warning| output::warn(warning));
    let mut spec = nvbind_cdi::generate(&roots, &host, &files, &options)?;
    if let Some(version) = &args.cdi_version {
        spec.limit_version(version)?;
    }
    match &args.output {
        Some(path) => write(&spec, path, format)?,
        None => output::text(&spec.to_text(format)?)?,
    }
    // The process ends here: taking thousands of small things apart again would be for nothing.
    std::mem::forget((host, files, spec));
    Ok(())
}

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

impl GenerateArgs {
    fn options(&self, config: &Config) -> Result<GenerateOptions, Failure> {
        let hook = self.nvidia_cdi_hook_path.clone().unwrap_or_else(|| config.hook_path());
        let mut options = GenerateOptions {
            mode: self.mode.parse()?,
            vendor: self.vendor.clone(),
            class: self.class.clone(),
            no_all_device: self.no_all_device,
            hooks: HookSteps::from_flags(&self.disable_hook, &self.enable_hook)?,
            library_search_paths: self.library_search_path.clone(),
            config_search_paths: self.config_search_path.clone(),
            ..GenerateOptions::new(hook)
        };
        if !self.device_name_strategy.is_empty() {
            let strategies = self.device_name_strategy.iter().map(|word| word.parse());
            options.device_name_strategies = strategies.collect::<Result<_, _>>()?;
        }
        if !self.device_id.is_empty() {
            options.device_ids.clone_from(&self.device_id);
        }
        self.feature_flag
            .iter()
            .try_for_each(|flag| options.set_feature(flag))?;
        Ok(options)
    }

    /// The format asked for, else that of the file's name, else YAML.
    fn spec_format(&self) -> Result<SpecFormat, Failure> {
        let of_file = || {
            self.output
                .as_deref()
                .and_then(SpecFormat::of_file)
                .unwrap_or(SpecFormat::Yaml)
        };
        self.format
            .as_deref()
            .map_or_else(|| Ok(of_file()), |word| Ok(word.parse()?))
    }
}

fn registry(dirs: &SpecDirArgs, context: &Context) -> Result<Registry, Failure> {
    let registry = match dirs.spec_dir.is_empty() {
        true => Registry::load(&context.config()?.cdi.spec_dirs),
        false => Registry::load(&dirs.spec_dir),
    };
    Ok(registry)
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
