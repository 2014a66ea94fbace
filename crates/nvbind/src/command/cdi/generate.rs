//! `nvbind cdi generate`: the spec of this host.

use crate::cli::RootArgs;
use crate::context::Context;
use crate::failure::Failure;
use crate::output;
use clap::builder::FalseyValueParser;
use clap::{Args, ValueHint};
use nvbind_cdi::{Format, GenerateOptions, HookSteps, Made, Mode, Spec};
use nvbind_config::{Config, Roots};
use std::env;
use std::path::{Path, PathBuf};

/// Variables of `nvidia-ctk` for the roots: after the command line, ours and a simulated machine.
const DRIVER_ROOT: &str = "NVIDIA_CTK_DRIVER_ROOT";
const DEV_ROOT: &str = "NVIDIA_CTK_DEV_ROOT";
/// Our own variable for the driver root.
const OWN_DRIVER_ROOT: &str = "NVBIND_HOST_DRIVER_ROOT";

/// Start of the names of NVIDIA's hook programs.
const OTHER_HOOK: &str = "nvidia-";

// The options of `nvidia-ctk cdi generate`, by the same names and variables.
#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// Write to this file instead of stdout
    #[arg(
        short,
        long,
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        env = "NVIDIA_CTK_CDI_OUTPUT_FILE_PATH",
        hide_env_values = true
    )]
    output: Option<String>,
    /// json or yaml [default: as the file's name says, else yaml]
    #[arg(long, env = "NVIDIA_CTK_CDI_GENERATE_OUTPUT_FORMAT", hide_env_values = true)]
    format: Option<String>,
    /// Write nothing that needs a newer CDI version, for older engines (podman 4.3 of Debian 12 reads 0.5.0)
    #[arg(long, value_name = "VERSION")]
    cdi_version: Option<String>,
    /// What is looked for: auto, nvml or wsl (GPUs), management (every node), gds, mofed, gdrcopy, imex or nvswitch
    #[arg(
        long,
        visible_alias = "discovery-mode",
        default_value = "auto",
        env = "NVIDIA_CTK_CDI_GENERATE_MODE",
        hide_env_values = true
    )]
    mode: String,
    #[command(flatten)]
    roots: RootArgs,
    /// More folders of libraries, as paths in the container
    #[arg(
        long,
        value_name = "DIR",
        value_delimiter = ',',
        env = "NVIDIA_CTK_CDI_GENERATE_LIBRARY_SEARCH_PATHS",
        hide_env_values = true
    )]
    library_search_path: Vec<String>,
    /// More folders of configurations, as paths in the container
    #[arg(
        long,
        value_name = "DIR",
        value_delimiter = ',',
        env = "NVIDIA_CTK_CDI_GENERATE_CONFIG_SEARCH_PATHS",
        hide_env_values = true
    )]
    config_search_path: Vec<String>,
    /// How devices are named: index, uuid or type-index; may be repeated [default: index,uuid]
    #[arg(
        long,
        value_name = "STRATEGY",
        value_delimiter = ',',
        env = "NVIDIA_CTK_CDI_GENERATE_DEVICE_NAME_STRATEGIES",
        hide_env_values = true
    )]
    device_name_strategy: Vec<String>,
    /// Only these devices: index, gpu:mig, UUID, all or none; with --mode imex the numbers of channels
    #[arg(
        long,
        visible_aliases = ["device-ids", "device", "devices"],
        value_name = "ID",
        value_delimiter = ',',
        env = "NVIDIA_CTK_CDI_GENERATE_DEVICE_IDS",
        hide_env_values = true
    )]
    device_id: Vec<String>,
    /// Leave out the device that stands for all
    #[arg(
        long,
        value_parser = FalseyValueParser::new(),
        env = "NVIDIA_CTK_CDI_GENERATE_NO_ALL_DEVICE",
        hide_env_values = true
    )]
    no_all_device: bool,
    /// First half of the kind [default: nvidia.com, with --mode management management.nvidia.com]
    #[arg(
        long,
        visible_alias = "cdi-vendor",
        env = "NVIDIA_CTK_CDI_GENERATE_VENDOR",
        hide_env_values = true
    )]
    vendor: Option<String>,
    /// Second half of the kind [default: gpu, or the mode's own: gds, mofed, gdrcopy, imex-channel, nvswitch]
    #[arg(
        long,
        visible_alias = "cdi-class",
        env = "NVIDIA_CTK_CDI_GENERATE_CLASS",
        hide_env_values = true
    )]
    class: Option<String>,
    /// The hook program [default: nvbind-hook beside nvbind, on PATH, or in /usr/bin]
    #[arg(
        long,
        visible_aliases = ["hook-path", "nvidia-ctk-path"],
        value_name = "FILE",
        env = "NVIDIA_CTK_CDI_HOOK_PATH",
        hide_env_values = true
    )]
    nvidia_cdi_hook_path: Option<String>,
    /// Taken for scripts that give it: nvbind writes ld.so.cache itself and runs no ldconfig
    #[arg(long, value_name = "FILE")]
    ldconfig_path: Option<PathBuf>,
    /// Leave out a step of the hook: create-symlinks, update-ldcache, enable-cuda-compat, disable-device-node-modification
    /// or all
    #[arg(
        long,
        visible_alias = "disable-hooks",
        value_name = "HOOK",
        value_delimiter = ',',
        env = "NVIDIA_CTK_CDI_GENERATE_DISABLED_HOOKS",
        hide_env_values = true
    )]
    disable_hook: Vec<String>,
    /// Do a step of the hook all the same
    #[arg(
        long,
        visible_alias = "enable-hooks",
        value_name = "HOOK",
        value_delimiter = ',',
        env = "NVIDIA_CTK_CDI_GENERATE_ENABLED_HOOKS",
        hide_env_values = true
    )]
    enable_hook: Vec<String>,
    /// enable-explicit-driver-libraries (libGL.so and the like), enable-coherent-annotations (and a spec file for either
    /// kind of GPU), disable-ipc-discoverer (no sockets of daemons) or no-additional-gids-for-device-nodes;
    /// disable-nvsandboxutils and disable-multiple-csv-devices are about what nvbind does not have
    #[arg(
        long,
        visible_alias = "feature-flags",
        value_name = "FLAG",
        value_delimiter = ',',
        env = "NVIDIA_CTK_CDI_GENERATE_FEATURE_FLAGS",
        hide_env_values = true
    )]
    feature_flag: Vec<String>,
}

pub(super) fn run(args: &GenerateArgs, context: &Context) -> Result<(), Failure> {
    let format = args.spec_format()?;
    let host = args.host(context)?;
    let made = args.make(&host)?;
    match args.output() {
        Some(path) => write_all(&made.spec, path, format, &host.options)?,
        None => output::text(&made.spec.to_text(format)?)?,
    }
    // The process ends here: taking thousands of small things apart again would be for nothing.
    std::mem::forget(made);
    Ok(())
}

/// What the options mean on this machine.
pub(super) struct GenerateHost {
    pub(super) config: Config,
    pub(super) roots: Roots,
    pub(super) options: GenerateOptions,
}

/// Writes the spec, and where coherence is told the specs of either kind of GPU beside it.
pub(super) fn write_all(spec: &Spec, path: &Path, format: Format, options: &GenerateOptions) -> Result<(), Failure> {
    super::write(spec, path, format)?;
    if options.coherent_annotations {
        for (word, part) in spec.by_coherence() {
            super::write(&part, &with_infix(path, word), format)?;
        }
    }
    Ok(())
}

/// `nvidia.coherent.yaml` for `nvidia.yaml`.
fn with_infix(path: &Path, word: &str) -> PathBuf {
    let part = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let (stem, extension) = (part(path.file_stem()), part(path.extension()));
    let dot = if extension.is_empty() { "" } else { "." };
    path.with_file_name(format!("{stem}.{word}{dot}{extension}"))
}

/// The words of a list that say something: a variable may be set and empty.
fn words(list: &[String]) -> impl Iterator<Item = &String> {
    list.iter().filter(|word| !word.is_empty())
}

fn paths(list: &[String]) -> Vec<PathBuf> {
    words(list).map(PathBuf::from).collect()
}

/// A path that is given. Paths are texts here: those of clap must not be empty, which a variable may be.
fn path(given: Option<&String>) -> Option<&Path> {
    given.filter(|path| !path.is_empty()).map(Path::new)
}

impl GenerateArgs {
    /// The machine and the options for it.
    pub(super) fn host(&self, context: &Context) -> Result<GenerateHost, Failure> {
        let roots = self.roots(context);
        let config = context.config_with(&roots)?;
        Ok(GenerateHost {
            options: self.options(&config)?,
            roots: context.roots(&config, &roots)?,
            config,
        })
    }

    /// The spec that is asked for.
    pub(super) fn make(&self, host: &GenerateHost) -> Result<Made, Failure> {
        let mut made = nvbind_cdi::make(&host.roots, &host.options)?;
        made.warnings.iter().for_each(|warning| output::warn(warning));
        if let Some(version) = &self.cdi_version {
            made.spec.limit_version(version)?;
        }
        Ok(made)
    }

    pub(super) fn output(&self) -> Option<&Path> {
        path(self.output.as_ref())
    }

    /// The roots of the command line, else those of `nvidia-ctk`'s variables where nothing of ours says otherwise.
    fn roots(&self, context: &Context) -> RootArgs {
        let is_ours = self.roots.is_given() || context.sim().is_some() || env::var_os(OWN_DRIVER_ROOT).is_some();
        if is_ours {
            return self.roots.clone();
        }
        let folder = |name| env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        RootArgs {
            driver_root: folder(DRIVER_ROOT),
            dev_root: folder(DEV_ROOT),
        }
    }

    fn options(&self, config: &Config) -> Result<GenerateOptions, Failure> {
        let mode: Mode = self.mode.parse()?;
        let or_default = |given: &Option<String>, default: &str| given.clone().unwrap_or_else(|| default.to_owned());
        let disabled: Vec<&String> = words(&self.disable_hook).collect();
        let enabled: Vec<&String> = words(&self.enable_hook).collect();
        let mut options = GenerateOptions {
            mode,
            vendor: or_default(&self.vendor, mode.default_vendor()),
            class: or_default(&self.class, mode.default_class()),
            no_all_device: self.no_all_device,
            hooks: HookSteps::from_flags(&disabled, &enabled)?,
            library_search_paths: paths(&self.library_search_path),
            config_search_paths: paths(&self.config_search_path),
            ..GenerateOptions::new(self.hook_path(config))
        };
        let strategies: Vec<_> = words(&self.device_name_strategy)
            .map(|word| word.parse())
            .collect::<Result<_, _>>()?;
        if !strategies.is_empty() {
            options.device_name_strategies = strategies;
        }
        let ids: Vec<String> = words(&self.device_id).cloned().collect();
        if !ids.is_empty() {
            options.device_ids = ids;
        }
        words(&self.feature_flag).try_for_each(|flag| options.set_feature(flag))?;
        Ok(options)
    }

    fn hook_path(&self, config: &Config) -> PathBuf {
        let Some(path) = path(self.nvidia_cdi_hook_path.as_ref()) else {
            return config.hook_path();
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(OTHER_HOOK) {
            output::warn(&format!(
                "{} must be nvbind-hook under that name: NVIDIA's own does not know what it is told here",
                path.display()
            ));
        }
        path.to_owned()
    }

    /// The format asked for, else that of the file's name, else YAML.
    pub(super) fn spec_format(&self) -> Result<Format, Failure> {
        let of_file = || self.output().and_then(Format::of_file).unwrap_or(Format::Yaml);
        let asked = self.format.as_deref().filter(|word| !word.is_empty());
        asked.map_or_else(|| Ok(of_file()), |word| Ok(word.parse()?))
    }
}
