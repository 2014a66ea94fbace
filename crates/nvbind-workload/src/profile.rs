//! Named ways to shape a container for a kind of work.
//!
//! A profile is data: the rows of [`VARIABLES`] and the capabilities it needs. Every variable is one that the NVIDIA driver,
//! CUDA or DXVK reads; none promises a speed.

use crate::Workload;
use crate::word::words;
use nvbind_cdi::Edits;
use nvbind_gpu::{Capabilities, Capability, Host};

/// A named way to shape a container for a kind of work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Profile {
    /// Nothing but the devices and the driver.
    #[default]
    Default,
    /// A desktop or a game without special wishes (Bolt's `balanced`).
    Balanced,
    /// A game, latency before everything (Bolt's `ultra`).
    Ultra,
    /// A game.
    Gaming,
    /// Building and debugging GPU programs.
    Development,
    /// Machine learning of any kind (Bolt's `ai`).
    Ai,
    /// Machine learning: training.
    Training,
    /// Machine learning: serving a model.
    Inference,
}

words!(Profile, "profile", {
    Default = "default",
    Balanced = "balanced",
    Ultra = "ultra",
    Gaming = "gaming",
    Development = "development",
    Ai = "ai",
    Training = "training",
    Inference = "inference",
});

/// When a variable is of use.
#[derive(Clone, Copy, PartialEq)]
enum When {
    Always,
    /// The command runs as root, for whom the driver keeps no shader cache unless told to.
    Root,
    /// NVIDIA's own driver runs, open or proprietary.
    Nvidia,
}

/// A variable that profiles set.
struct Variable {
    name: &'static str,
    value: &'static str,
    when: When,
    profiles: &'static [Profile],
}

const VARIABLES: [Variable; 9] = {
    use Profile::{Ai, Balanced, Development, Gaming, Inference, Training, Ultra};
    [
        // Driver README, "Shader disk cache": off for root unless set; the clean-up trims it to a size that one game fills.
        variable("__GL_SHADER_DISK_CACHE", "1", When::Root, &[Balanced, Gaming, Ultra]),
        variable(
            "__GL_SHADER_DISK_CACHE_SKIP_CLEANUP",
            "1",
            When::Nvidia,
            &[Gaming, Ultra],
        ),
        // Driver README, "OpenGL environment variables".
        variable("__GL_SYNC_TO_VBLANK", "0", When::Nvidia, &[Ultra]),
        variable("__GL_YIELD", "USLEEP", When::Nvidia, &[Ultra]),
        // DXVK: NVAPI for DLSS and Reflex outside Proton, which sets it itself.
        variable("DXVK_ENABLE_NVAPI", "1", When::Nvidia, &[Balanced, Gaming, Ultra]),
        variable(
            "DXVK_CONFIG",
            "dxgi.maxFrameLatency = 1; dxvk.latencySleep = True",
            When::Always,
            &[Ultra],
        ),
        // CUDA C Programming Guide, "CUDA environment variables": device numbers as nvidia-smi and nvbind count.
        variable(
            "CUDA_DEVICE_ORDER",
            "PCI_BUS_ID",
            When::Nvidia,
            &[Development, Ai, Training, Inference],
        ),
        // The largest size that CUDA takes (4 GiB): kernels of large frameworks are compiled once.
        variable(
            "CUDA_CACHE_MAXSIZE",
            "4294967296",
            When::Nvidia,
            &[Ai, Training, Inference],
        ),
        // The default from CUDA 12.2 on; before, a framework loads all its kernels at start.
        variable("CUDA_MODULE_LOADING", "LAZY", When::Nvidia, &[Ai, Inference]),
    ]
};

const fn variable(name: &'static str, value: &'static str, when: When, profiles: &'static [Profile]) -> Variable {
    Variable {
        name,
        value,
        when,
        profiles,
    }
}

impl Profile {
    /// The driver capabilities that this kind of work needs.
    pub fn capabilities(self) -> Capabilities {
        match self {
            Self::Default | Self::Training => Capabilities::DEFAULT,
            Self::Ai | Self::Inference => Capabilities::DEFAULT.union(Capabilities::of(Capability::Video)),
            Self::Balanced | Self::Ultra | Self::Gaming | Self::Development => Capabilities::ALL,
        }
    }

    /// What the profile of `workload` changes in its container on `host`. A variable that the workload sets itself is left alone.
    pub fn edits(host: &Host, workload: &Workload) -> Edits {
        let set_already = |name: &str| workload.env.iter().any(|(known, _)| known == name);
        let rows = VARIABLES.iter().filter(|row| row.profiles.contains(&workload.profile));
        let useful = rows.filter(|row| row.when.holds(host, workload) && !set_already(row.name));
        Edits {
            env: useful.map(|row| format!("{}={}", row.name, row.value)).collect(),
            ..Edits::default()
        }
    }
}

impl When {
    fn holds(self, host: &Host, workload: &Workload) -> bool {
        match self {
            Self::Always => true,
            Self::Root => host.driver.kind.is_nvidia() && runs_as_root(workload),
            Self::Nvidia => host.driver.kind.is_nvidia(),
        }
    }
}

fn runs_as_root(workload: &Workload) -> bool {
    let user = workload.user.as_deref().unwrap_or("root");
    matches!(user.split(':').next(), Some("root" | "0"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nvbind_gpu::{Driver, DriverKind, Source};

    fn env(kind: DriverKind, workload: &Workload) -> Vec<String> {
        let driver = Driver { kind, ..Driver::NONE };
        let host = Host {
            driver,
            gpus: Vec::new(),
            source: Source::Nvml,
            warnings: Vec::new(),
        };
        Profile::edits(&host, workload).env
    }

    fn workload(profile: Profile) -> Workload {
        Workload {
            profile,
            ..Workload::new("w")
        }
    }

    #[test]
    fn default_adds_nothing() {
        assert!(env(DriverKind::NvidiaOpen, &workload(Profile::Default)).is_empty());
        assert_eq!(Profile::Default.capabilities(), Capabilities::DEFAULT);
    }

    #[test]
    fn ultra_on_nvidia() {
        assert_eq!(
            env(DriverKind::NvidiaOpen, &workload(Profile::Ultra)),
            [
                "__GL_SHADER_DISK_CACHE=1",
                "__GL_SHADER_DISK_CACHE_SKIP_CLEANUP=1",
                "__GL_SYNC_TO_VBLANK=0",
                "__GL_YIELD=USLEEP",
                "DXVK_ENABLE_NVAPI=1",
                "DXVK_CONFIG=dxgi.maxFrameLatency = 1; dxvk.latencySleep = True",
            ]
        );
    }

    #[test]
    fn what_the_driver_or_the_user_makes_pointless_is_left_out() {
        assert!(env(DriverKind::Nouveau, &workload(Profile::Gaming)).is_empty());
        let user = Workload {
            user: Some("1000:1000".into()),
            ..workload(Profile::Balanced)
        };
        assert_eq!(env(DriverKind::NvidiaOpen, &user), ["DXVK_ENABLE_NVAPI=1"]);
    }

    #[test]
    fn the_workload_wins() {
        let own = Workload {
            env: vec![("CUDA_CACHE_MAXSIZE".into(), "1".into())],
            ..workload(Profile::Training)
        };
        assert_eq!(
            env(DriverKind::NvidiaProprietary, &own),
            ["CUDA_DEVICE_ORDER=PCI_BUS_ID"]
        );
    }
}
