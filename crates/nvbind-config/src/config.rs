//! The configuration: one struct per section, its defaults, and the paths that follow from it.

use crate::{Error, Roots, Sources, Usd, source, toolkit};
use std::env;
use std::path::{Path, PathBuf};

/// File name of the hook program.
pub const HOOK_NAME: &str = "nvbind-hook";

/// Kind of a GPU that is named without one.
pub const DEFAULT_KIND: &str = "nvidia.com/gpu";

/// Prefix of the annotations by which Kubernetes hands over CDI devices.
pub const ANNOTATION_PREFIX: &str = "cdi.k8s.io/";

/// Everything that can be set for this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// `[host]`
    pub host: HostConfig,
    /// `[cdi]`
    pub cdi: CdiConfig,
    /// `[runtime]`
    pub runtime: RuntimeConfig,
    /// `[request]`
    pub request: RequestConfig,
    /// `[hook]`
    pub hook: HookConfig,
    /// `[state]`
    pub state: StateConfig,
    /// `[gpu]`
    pub gpu: GpuConfig,
    /// `[container]`
    pub container: ContainerConfig,
    /// `[registry]`
    pub registry: RegistryConfig,
    /// `[cloud]`
    pub cloud: CloudConfig,
}

/// `[host]`: where the host's own files are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostConfig {
    /// Root of the driver's user-space files.
    pub driver_root: PathBuf,
    /// Root that holds `dev/`; the driver root when not set.
    pub dev_root: Option<PathBuf>,
    /// Mount point of procfs.
    pub proc_root: PathBuf,
    /// Mount point of sysfs.
    pub sys_root: PathBuf,
}

/// `[cdi]`: where CDI specs lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CdiConfig {
    /// Folders of CDI specs, lowest priority first.
    pub spec_dirs: Vec<PathBuf>,
    /// Kind of a device that is named without one.
    pub default_kind: String,
}

/// `[runtime]`: the OCI runtime shim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeConfig {
    /// OCI runtimes to hand over to, the first that exists: names on `PATH` or absolute paths.
    pub runtimes: Vec<String>,
    /// File that the shim logs to.
    pub log: Option<PathBuf>,
    /// `--disable-hook` of `nvbind cdi generate` for hosts without a spec.
    pub disable_hooks: Vec<String>,
    /// `--feature-flag` of `nvbind cdi generate` for hosts without a spec.
    pub feature_flags: Vec<String>,
}

/// `[request]`: which of a container's requests for GPUs are heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestConfig {
    /// Prefixes of the annotations that name CDI devices.
    pub annotation_prefixes: Vec<String>,
    /// Whether `NVIDIA_VISIBLE_DEVICES` is heard in a container without `CAP_SYS_ADMIN`.
    pub env_when_unprivileged: bool,
    /// Whether mounts of `/dev/null` below `/var/run/nvidia-container-devices` name devices.
    pub volume_mounts: bool,
    /// Variables that name devices before `NVIDIA_VISIBLE_DEVICES` does, as a swarm sets them.
    pub swarm_resources: Vec<String>,
    /// The words of `NVIDIA_DRIVER_CAPABILITIES` that are fulfilled; all when empty.
    pub driver_capabilities: Vec<String>,
    /// Whether `NVIDIA_REQUIRE_*` is checked.
    pub requirements: bool,
    /// Whether `NVIDIA_IMEX_CHANNELS` is heard.
    pub imex_channels: bool,
    /// Whether CUDA compatibility libraries of the image are used where they are newer than the driver.
    pub cuda_compat: bool,
    /// Whether containers get the groups that may open their device nodes.
    pub additional_gids: bool,
}

/// `[hook]`: the `createContainer` hook.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HookConfig {
    /// The hook program; looked for when not set, see [`Config::hook_path`].
    pub path: Option<PathBuf>,
}

/// `[state]`: what nvbind remembers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateConfig {
    /// Folder of the state; depends on the caller when not set, see [`Config::state_dir`].
    pub dir: Option<PathBuf>,
}

/// `[gpu]`: what is handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuConfig {
    /// Selector used when a workload names no GPU.
    pub default_selection: String,
}

/// `[container]`: what starts containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerConfig {
    /// Engine: `auto`, `native`, `bolt`, `docker`, `podman` or `containerd`.
    pub runtime: String,
}

/// `[registry]`: where images are pulled from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistryConfig {
    /// Registries (`host[:port]`) that may be spoken to without TLS. Those of this machine may be anyway.
    pub insecure: Vec<String>,
}

/// `[cloud]`: where `nvbind cloud` rents machines, and what that may cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudConfig {
    /// Providers that are used: `aws`, `gcp`, `azure`, `hosts`. Empty for all that are set up here.
    pub providers: Vec<String>,
    /// The user's own hosts, as `ssh` takes them: `[USER@]HOST` or a name of the ssh configuration.
    pub hosts: Vec<String>,
    /// Configuration file of `ssh` for them; the user's own when not set.
    pub ssh_config: Option<PathBuf>,
    /// Networks (CIDR) that may reach port 22 of rented machines where a deployment does not say it; everyone when empty.
    pub allow_from: Vec<String>,
    /// What an hour of an own host is reckoned to cost.
    pub host_price: Usd,
    /// Price of an hour up to which clouds are used while the own hosts are full; any price when not set.
    pub burst_price: Option<Usd>,
    /// What all deployments together may cost in a day, UTC.
    pub budget_daily: Option<Usd>,
    /// What all deployments together may cost in a calendar month, UTC.
    pub budget_monthly: Option<Usd>,
    /// What happens at a budget: `hard` launches nothing that would pass it and stops what runs when it is reached, `soft` tells it.
    pub budget_mode: String,
    /// Container image of a task that names none.
    pub default_image: Option<String>,
}

impl Default for CloudConfig {
    fn default() -> Self {
        Self {
            providers: Vec::new(),
            hosts: Vec::new(),
            ssh_config: None,
            allow_from: Vec::new(),
            host_price: Usd::default(),
            burst_price: None,
            budget_daily: None,
            budget_monthly: None,
            budget_mode: "hard".into(),
            default_image: None,
        }
    }
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            driver_root: "/".into(),
            dev_root: None,
            proc_root: "/proc".into(),
            sys_root: "/sys".into(),
        }
    }
}

impl Default for CdiConfig {
    /// The two folders that the CDI specification names.
    fn default() -> Self {
        Self {
            spec_dirs: vec!["/etc/cdi".into(), "/var/run/cdi".into()],
            default_kind: DEFAULT_KIND.into(),
        }
    }
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            runtimes: ["runc", "crun", "youki"].map(String::from).to_vec(),
            log: None,
            disable_hooks: Vec::new(),
            feature_flags: Vec::new(),
        }
    }
}

impl Default for RequestConfig {
    /// The defaults of NVIDIA's container toolkit.
    fn default() -> Self {
        Self {
            annotation_prefixes: vec![ANNOTATION_PREFIX.into()],
            env_when_unprivileged: true,
            volume_mounts: false,
            swarm_resources: Vec::new(),
            driver_capabilities: Vec::new(),
            requirements: true,
            imex_channels: true,
            cuda_compat: true,
            additional_gids: true,
        }
    }
}

impl Default for GpuConfig {
    fn default() -> Self {
        Self {
            default_selection: "none".into(),
        }
    }
}

impl Default for ContainerConfig {
    fn default() -> Self {
        Self { runtime: "auto".into() }
    }
}

impl Config {
    /// Reads the configuration of this process: files, then `NVBIND_*` variables, then `overrides`.
    ///
    /// An override is a command line flag: the dotted key (`host.driver_root`) and its text, lists separated by commas.
    pub fn load(overrides: &[(&str, &str)]) -> Result<Self, Error> {
        Sources::of_process().load(overrides)
    }

    /// Merges the text of a configuration file; `path` is what errors call it.
    pub fn merge(&mut self, path: &Path, text: &str) -> Result<(), Error> {
        source::merge_file(self, path, text)
    }

    /// Merges the text of the `config.toml` of NVIDIA's container toolkit.
    pub fn merge_toolkit(&mut self, path: &Path, text: &str) -> Result<(), Error> {
        toolkit::merge(self, path, text)
    }

    /// The roots under which the host's files are looked for.
    pub fn roots(&self) -> Roots {
        Roots {
            driver: self.host.driver_root.clone(),
            dev: self
                .host
                .dev_root
                .clone()
                .unwrap_or_else(|| self.host.driver_root.clone()),
            proc: self.host.proc_root.clone(),
            sys: self.host.sys_root.clone(),
        }
    }

    /// The hook program: as configured, else beside the running executable, else on `PATH`, else `/usr/bin/nvbind-hook`.
    pub fn hook_path(&self) -> PathBuf {
        let configured = self.hook.path.clone();
        configured
            .or_else(beside_executable)
            .or_else(on_path)
            .unwrap_or_else(|| Path::new("/usr/bin").join(HOOK_NAME))
    }

    /// The folder of nvbind's state: as configured, else `/var/lib/nvbind` as root, else `$XDG_STATE_HOME/nvbind`
    /// (`~/.local/state/nvbind`).
    pub fn state_dir(&self) -> PathBuf {
        let system = || PathBuf::from("/var/lib/nvbind");
        match &self.state.dir {
            Some(dir) => dir.clone(),
            None if rustix::process::geteuid().is_root() => system(),
            None => user_state_dir().unwrap_or_else(system),
        }
    }
}

fn beside_executable() -> Option<PathBuf> {
    let executable = env::current_exe().ok()?;
    existing(executable.parent()?.join(HOOK_NAME))
}

fn on_path() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .filter(|dir| dir.is_absolute())
        .find_map(|dir| existing(dir.join(HOOK_NAME)))
}

fn existing(path: PathBuf) -> Option<PathBuf> {
    path.is_file().then_some(path)
}

fn user_state_dir() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state_home = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    state_home.map(|dir| dir.join("nvbind"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dev_root_follows_the_driver_root() {
        let mut config = Config::default();
        config.host.driver_root = "/run/nvidia/driver".into();
        assert_eq!(config.roots().dev, Path::new("/run/nvidia/driver"));
        config.host.dev_root = Some("/".into());
        assert_eq!(config.roots().dev, Path::new("/"));
    }

    #[test]
    fn default_roots_are_the_host() {
        assert_eq!(Config::default().roots(), Roots::host());
    }

    #[test]
    fn configured_paths_win() {
        let mut config = Config::default();
        config.hook.path = Some("/opt/nvbind-hook".into());
        config.state.dir = Some("/srv/nvbind".into());
        assert_eq!(config.hook_path(), Path::new("/opt/nvbind-hook"));
        assert_eq!(config.state_dir(), Path::new("/srv/nvbind"));
    }
}
