//! What can be chosen when a spec is made; names and defaults are those of `nvidia-ctk cdi generate`.

use super::{HookSteps, Strategy};
use crate::Error;
use nvbind_gpu::{Platform, SearchOptions};
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
    /// Whether the sockets of the driver's daemons are mounted; off by the feature flag `disable-ipc-discoverer`.
    pub ipc_sockets: bool,
    /// Whether devices say if their GPU shares one address space with the CPU; on by the feature flag
    /// `enable-coherent-annotations`.
    pub coherent_annotations: bool,
    /// `--library-search-path`: more folders of libraries, as paths in a container.
    pub library_search_paths: Vec<PathBuf>,
    /// `--config-search-path`: more folders of configs, as paths in a container.
    pub config_search_paths: Vec<PathBuf>,
}

/// What is looked for, and how; by the words of `nvidia-ctk cdi generate --mode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// GPUs: those of WSL2 where that is what the host is, else as [`Mode::Nvml`].
    #[default]
    Auto,
    /// GPUs by NVML where it can be loaded, otherwise by procfs and sysfs.
    Nvml,
    /// The GPUs of a WSL2 machine.
    Wsl,
    /// Every node, for containers that look after the driver.
    Management,
    /// GPUDirect Storage.
    Gds,
    /// InfiniBand.
    Mofed,
    /// GDRCopy.
    Gdrcopy,
    /// IMEX channels.
    Imex,
    /// NVSwitches.
    Nvswitch,
}

/// Modes by their words, with the class of their kind.
const MODES: [(&str, Mode, &str); 9] = [
    ("auto", Mode::Auto, "gpu"),
    ("nvml", Mode::Nvml, "gpu"),
    ("wsl", Mode::Wsl, "gpu"),
    ("management", Mode::Management, "gpu"),
    ("gds", Mode::Gds, "gds"),
    ("mofed", Mode::Mofed, "mofed"),
    ("gdrcopy", Mode::Gdrcopy, "gdrcopy"),
    ("imex", Mode::Imex, "imex-channel"),
    ("nvswitch", Mode::Nvswitch, "nvswitch"),
];

impl Mode {
    /// The modes that look for other things than single GPUs.
    pub const EXTRA: [Self; 6] = [
        Self::Management,
        Self::Gds,
        Self::Mofed,
        Self::Gdrcopy,
        Self::Imex,
        Self::Nvswitch,
    ];

    /// The word for it.
    pub fn word(self) -> &'static str {
        MODES
            .iter()
            .find(|(_, mode, _)| *mode == self)
            .map_or("auto", |(word, ..)| word)
    }

    /// First half of the kind of its devices, unless another is asked for.
    pub fn default_vendor(self) -> &'static str {
        match self {
            Self::Management => "management.nvidia.com",
            _ => "nvidia.com",
        }
    }

    /// Second half of the kind of its devices, unless another is asked for.
    pub fn default_class(self) -> &'static str {
        MODES
            .iter()
            .find(|(_, mode, _)| *mode == self)
            .map_or("gpu", |(.., class)| class)
    }

    /// The kind of host that the mode is for, if for one only.
    fn platform(self) -> Option<Platform> {
        match self {
            Self::Nvml => Some(Platform::Linux),
            Self::Wsl => Some(Platform::Wsl),
            _ => None,
        }
    }
}

/// The feature flags, for error messages.
const FEATURES: &str = "enable-explicit-driver-libraries, enable-coherent-annotations, disable-ipc-discoverer, \
                        no-additional-gids-for-device-nodes, disable-nvsandboxutils or disable-multiple-csv-devices";

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
            ipc_sockets: true,
            coherent_annotations: false,
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
            "disable-ipc-discoverer" => self.ipc_sockets = false,
            "enable-coherent-annotations" => self.coherent_annotations = true,
            "disable-nvsandboxutils" | "disable-multiple-csv-devices" => (),
            _ => {
                return Err(Error::Option {
                    option: "feature-flag",
                    value: flag.to_owned(),
                    wanted: FEATURES,
                });
            }
        }
        Ok(())
    }

    /// Where [`nvbind_gpu::driver_files`] is to look besides.
    pub fn search_options(&self) -> SearchOptions {
        SearchOptions {
            platform: self.mode.platform(),
            library_paths: self.library_search_paths.clone(),
            config_paths: self.config_search_paths.clone(),
        }
    }
}

impl FromStr for Mode {
    type Err = Error;

    /// Reads the value of `--mode`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let word = text.to_ascii_lowercase();
        let found = MODES.iter().find(|(known, ..)| *known == word);
        found.map(|(_, mode, _)| *mode).ok_or_else(|| Error::Option {
            option: "mode",
            value: text.to_owned(),
            wanted: if word == "csv" {
                "another one: csv is for Tegra, which nvbind does not know"
            } else {
                "auto, nvml, wsl, management, gds, mofed, gdrcopy, imex or nvswitch"
            },
        })
    }
}
