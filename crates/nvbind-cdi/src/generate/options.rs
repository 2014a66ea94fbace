//! What can be chosen when a spec is made; names and defaults are those of `nvidia-ctk cdi generate`.

use super::{HookSteps, Strategy};
use crate::Error;
use nvbind_gpu::SearchOptions;
use std::path::PathBuf;
use std::str::FromStr;

/// Options of [`generate`](super::generate) and [`edits_for`](super::edits_for).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenerateOptions {
    /// `--mode`: how the host is searched.
    pub mode: Mode,
    /// `--vendor`, the first half of the kind.
    pub vendor: String,
    /// `--class`, the second half of the kind.
    pub class: String,
    /// `--device-name-strategy`: each device gets a name by each of them.
    pub device_name_strategies: Vec<Strategy>,
    /// `--device-id`: index, `gpu:mig`, UUID, `all`; `none` alone makes the device `none` only.
    pub device_ids: Vec<String>,
    /// `--no-all-device`: no device that stands for all.
    pub no_all_device: bool,
    /// `--nvidia-cdi-hook-path`: the hook program, `nvbind-hook`.
    pub hook_path: PathBuf,
    /// `--disable-hook` and `--enable-hook`: what the hook does.
    pub hooks: HookSteps,
    /// Whether containers join the groups of nodes that not everyone can open; off by the feature flag
    /// `no-additional-gids-for-device-nodes`.
    pub additional_gids: bool,
    /// Whether libraries that programs link against without a version are mounted too (`libGL.so` and the like); on by
    /// the feature flag `enable-explicit-driver-libraries`.
    pub explicit_driver_libraries: bool,
    /// `--library-search-path`: more folders of libraries, as paths in a container.
    pub library_search_paths: Vec<PathBuf>,
    /// `--config-search-path`: more folders of configs, as paths in a container.
    pub config_search_paths: Vec<PathBuf>,
}

/// How the host is searched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// NVML where it can be loaded, otherwise procfs and sysfs.
    #[default]
    Auto,
    /// As [`Mode::Auto`]; the word that `nvidia-ctk` has for it.
    Nvml,
}

impl GenerateOptions {
    /// The defaults of `nvidia-ctk cdi generate`, with the hook program at `hook_path`.
    pub fn new(hook_path: PathBuf) -> Self {
        Self {
            mode: Mode::Auto,
            vendor: "nvidia.com".to_owned(),
            class: "gpu".to_owned(),
            device_name_strategies: vec![Strategy::Index, Strategy::Uuid],
            device_ids: vec!["all".to_owned()],
            no_all_device: false,
            hook_path,
            hooks: HookSteps::default(),
            additional_gids: true,
            explicit_driver_libraries: false,
            library_search_paths: Vec::new(),
            config_search_paths: Vec::new(),
        }
    }

    /// Turns on what a `--feature-flag` names. Flags about parts of `nvidia-ctk` that nvbind does not have change
    /// nothing.
    pub fn set_feature(&mut self, flag: &str) -> Result<(), Error> {
        match flag {
            "no-additional-gids-for-device-nodes" => self.additional_gids = false,
            "enable-explicit-driver-libraries" => self.explicit_driver_libraries = true,
            "disable-nvsandboxutils" | "disable-multiple-csv-devices" => (),
            _ => {
                return Err(Error::Option {
                    option: "feature-flag",
                    value: flag.to_owned(),
                    wanted: "no-additional-gids-for-device-nodes or enable-explicit-driver-libraries",
                });
            }
        }
        Ok(())
    }

    /// Where [`nvbind_gpu::driver_files`] is to look besides.
    pub fn search_options(&self) -> SearchOptions {
        SearchOptions {
            library_paths: self.library_search_paths.clone(),
            config_paths: self.config_search_paths.clone(),
        }
    }
}

impl FromStr for Mode {
    type Err = Error;

    /// Reads the value of `--mode`.
    fn from_str(text: &str) -> Result<Self, Error> {
        match text.to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "nvml" => Ok(Self::Nvml),
            _ => Err(Error::Option {
                option: "mode",
                value: text.to_owned(),
                wanted: "auto or nvml",
            }),
        }
    }
}
