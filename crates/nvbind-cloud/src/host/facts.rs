//! What a host is.

use super::HostError;
use serde::{Deserialize, Serialize};

/// What a host is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostFacts {
    /// Machine architecture as `uname -m` has it.
    pub arch: String,
    /// Processors.
    pub vcpus: u32,
    /// Main memory in MiB.
    pub memory_mib: u64,
    /// Free disk where nvbind keeps images and state, in MiB.
    pub disk_free_mib: u64,
    /// Version of NVIDIA's driver.
    pub driver: String,
    /// Version of CUDA that the driver brings, where it tells.
    pub cuda: Option<String>,
    /// Its GPUs.
    pub gpus: Vec<GpuFacts>,
}

/// What a GPU of a host is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuFacts {
    /// Its name in NVML.
    pub name: String,
    /// Its UUID.
    pub uuid: String,
    /// Its memory in MiB.
    pub memory_mib: u64,
}

/// What `nvbind info --format json` prints, as far as it is needed here.
#[derive(Deserialize)]
struct Info {
    driver: Driver,
    gpus: Vec<Gpu>,
}

#[derive(Deserialize)]
struct Driver {
    version: Option<String>,
    cuda_version: Option<String>,
}

#[derive(Deserialize)]
struct Gpu {
    index: u32,
    name: String,
    uuid: String,
    memory_mib: u64,
    health: String,
}

/// Who we are on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Login {
    /// root.
    Root,
    /// A user that may become root without a password.
    Sudo,
    /// An ordinary user.
    User,
}

/// What is known of a host before anything is copied there.
#[derive(Debug, Clone)]
pub(super) struct Basics {
    pub(super) login: Login,
    pub(super) arch: String,
    pub(super) home: String,
    pub(super) is_simulated: bool,
    pub(super) vcpus: u32,
    pub(super) memory_mib: u64,
}

/// Prints [`Basics`], a line each.
pub(super) const BASICS: &str = r#"
if [ "$(id -u)" = 0 ]; then echo login root
elif sudo -n true </dev/null 2>/dev/null; then echo login sudo
else echo login user; fi
echo "arch $(uname -m)"
echo "home $HOME"
echo "sim ${NVBIND_SIM:-}"
echo "vcpus $(getconf _NPROCESSORS_ONLN)"
while read -r key value unit; do
    if [ "$key" = MemTotal: ]; then echo "memory $value"; fi
done </proc/meminfo
"#;

impl Basics {
    pub(super) fn parse(host: &str, text: &str) -> Result<Self, HostError> {
        let word = |key: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
            found.map(str::trim).ok_or_else(|| HostError::Answer {
                host: host.to_owned(),
                what: "who are you".to_owned(),
                why: format!("no line '{key}'"),
            })
        };
        Ok(Self {
            login: match word("login")? {
                "root" => Login::Root,
                "sudo" => Login::Sudo,
                _ => Login::User,
            },
            arch: word("arch")?.to_owned(),
            home: word("home")?.to_owned(),
            is_simulated: !word("sim")?.is_empty(),
            vcpus: word("vcpus")?.parse().unwrap_or(1),
            memory_mib: word("memory")?.parse::<u64>().unwrap_or(0) / 1024,
        })
    }

    /// Where the programs are put, and where the state lies.
    pub(super) fn folders(&self) -> (String, String) {
        match self.login {
            Login::Root | Login::Sudo => ("/opt/nvbind".to_owned(), "/var/lib/nvbind/cloud".to_owned()),
            Login::User => (
                format!("{}/.local/share/nvbind", self.home),
                format!("{}/.local/state/nvbind/cloud", self.home),
            ),
        }
    }
}

/// The facts, from what `nvbind info` prints there. A host whose driver or GPUs are broken is refused.
pub(super) fn facts(host: &str, basics: &Basics, disk_free_mib: u64, info: &str) -> Result<HostFacts, HostError> {
    let info: Info = serde_json::from_str(info).map_err(|error| HostError::Answer {
        host: host.to_owned(),
        what: "nvbind info".to_owned(),
        why: error.to_string(),
    })?;
    let broken = |why: String| HostError::Broken {
        host: host.to_owned(),
        why,
    };
    let driver = info.driver.version.ok_or_else(|| {
        broken("no NVIDIA driver is loaded: install one, and look with nvbind doctor there".to_owned())
    })?;
    if let Some(gpu) = info.gpus.iter().find(|gpu| gpu.health != "ok") {
        let why = match gpu.health.as_str() {
            "lost" => "is lost: reset it or reboot",
            _ => "does not answer: look with nvbind doctor there",
        };
        return Err(broken(format!("GPU {} {why}", gpu.index)));
    }
    if info.gpus.is_empty() {
        return Err(broken("it has no NVIDIA GPU".to_owned()));
    }
    let of_gpu = |gpu: Gpu| GpuFacts {
        name: gpu.name,
        uuid: gpu.uuid,
        memory_mib: gpu.memory_mib,
    };
    Ok(HostFacts {
        arch: basics.arch.clone(),
        vcpus: basics.vcpus,
        memory_mib: basics.memory_mib,
        disk_free_mib,
        driver,
        cuda: info.driver.cuda_version,
        gpus: info.gpus.into_iter().map(of_gpu).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basics() -> Basics {
        let text = "login root\narch x86_64\nhome /root\nsim \nvcpus 8\nmemory 2097152\n";
        Basics::parse("h", text).unwrap()
    }

    #[test]
    fn basics_are_read() {
        let basics = basics();
        assert_eq!((basics.vcpus, basics.memory_mib, basics.is_simulated), (8, 2048, false));
        assert!(Basics::parse("h", "login root\n").is_err());
    }

    #[test]
    fn a_broken_host_is_refused_with_the_reason() {
        let refused = |info: &str| facts("h", &basics(), 1, info).unwrap_err().to_string();
        assert!(refused(r#"{"driver":{"version":null},"gpus":[]}"#).contains("no NVIDIA driver"));
        assert!(refused(r#"{"driver":{"version":"535"},"gpus":[]}"#).contains("no NVIDIA GPU"));
        let lost = r#"{"driver":{"version":"535"},"gpus":[{"index":3,"name":"x","uuid":"","memory_mib":0,"health":"lost"}]}"#;
        assert!(refused(lost).contains("GPU 3 is lost"));
    }
}
