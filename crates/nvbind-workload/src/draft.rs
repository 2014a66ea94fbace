//! A workload as a person writes it: every part may be left open. Files and options both fill a draft, and a draft becomes
//! a [`Workload`].

use crate::word::words;
use crate::{DriverChoice, ImageRef, Isolation, Network, Profile, Pull, Selector, Volume, Workload, parse_size};
use nvbind_gpu::Capabilities;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Name under which files are looked for when none is given.
pub const FILE_NAME: &str = "nvbind.toml";

/// Who is to start the container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Runtime {
    /// nvbind decides: its own.
    #[default]
    Auto,
    /// nvbind itself.
    Native,
    /// The Bolt container runtime.
    Bolt,
    /// docker, through its API.
    Docker,
    /// podman.
    Podman,
    /// containerd, by its ctr.
    Containerd,
}

words!(Runtime, "runtime", {
    Auto = "auto",
    Native = "native",
    Bolt = "bolt",
    Docker = "docker",
    Podman = "podman",
    Containerd = "containerd",
});

/// A workload with parts left open; also the format of `nvbind.toml`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Draft {
    /// `name`
    pub name: Option<String>,
    /// `runtime`: who is to start it.
    pub runtime: Option<Runtime>,
    /// `image`
    pub image: Option<ImageRef>,
    /// `pull`: whether a registry is asked for the image.
    pub pull: Option<Pull>,
    /// `rootfs`: folder; in a file, relative to the file.
    pub rootfs: Option<PathBuf>,
    /// `command`: a list.
    pub command: Vec<String>,
    /// `env`: a table.
    pub env: Variables,
    /// `workdir`
    pub workdir: Option<PathBuf>,
    /// `user`
    pub user: Option<String>,
    /// `volumes`: a list of `HOST:CONTAINER[:ro]`; in a file, host paths are relative to the file.
    pub volumes: Vec<Volume>,
    /// `tty`
    pub tty: bool,
    /// `interactive`
    pub interactive: bool,
    /// `detach`
    pub detach: bool,
    /// `network`
    pub network: Option<Network>,
    /// `memory`: a size, as `8GiB`.
    pub memory: Option<Size>,
    /// `cpus`
    pub cpus: Option<f64>,
    /// `gpu`
    pub gpu: Option<Selector>,
    /// `capabilities`
    pub capabilities: Option<CapabilityWords>,
    /// `profile`
    pub profile: Option<Profile>,
    /// `driver`
    pub driver: Option<DriverChoice>,
    /// `isolation`
    pub isolation: Option<Isolation>,
    /// `rootless`
    pub rootless: bool,
    /// `hostname`
    pub hostname: Option<String>,
    /// `read_only`
    pub read_only: bool,
    /// `cloud`: a table for `nvbind cloud`, which is not read here.
    pub cloud: Option<CloudTable>,
}

/// That a file has a table for `nvbind cloud`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloudTable;

/// The keys of a file, for the error that names the nearest one.
const KEYS: [&str; 25] = [
    "name",
    "runtime",
    "image",
    "pull",
    "rootfs",
    "command",
    "env",
    "workdir",
    "user",
    "volumes",
    "tty",
    "interactive",
    "detach",
    "network",
    "memory",
    "cpus",
    "gpu",
    "capabilities",
    "profile",
    "driver",
    "isolation",
    "rootless",
    "hostname",
    "read_only",
    "cloud",
];

/// Environment variables in the order written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables(pub Vec<(String, String)>);

/// A size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

/// Driver capabilities written as in `NVIDIA_DRIVER_CAPABILITIES`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapabilityWords(pub Capabilities);

/// What is wrong with a workload.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// The file cannot be read.
    #[error("cannot read workload file '{}': {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not valid TOML, or a value in it is wrong.
    #[error("workload file '{}': {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line.
        message: String,
    },
    /// A text is not valid TOML, or a value in it is wrong.
    #[error("workload: {0}")]
    Text(String),
    /// Neither an image nor a root file system.
    #[error("nothing to run: give an IMAGE or --rootfs DIR")]
    NoImage,
    /// A value that cannot be.
    #[error("bad {what} '{value}': {why}")]
    Value {
        /// Which part of the workload.
        what: &'static str,
        /// What was written.
        value: String,
        /// What it must be.
        why: &'static str,
    },
    /// A driver capability that is none.
    #[error(transparent)]
    Capability(#[from] nvbind_gpu::UnknownCapability),
}

impl WorkloadError {
    /// The exit code of a command that ends with this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Read { source, .. } => match source.kind() {
                std::io::ErrorKind::PermissionDenied => 3,
                std::io::ErrorKind::NotFound => 4,
                _ => 1,
            },
            _ => 2,
        }
    }
}

impl Draft {
    /// Reads a workload file. Paths in it are relative to the folder that it lies in.
    pub fn from_file(path: &Path) -> Result<Self, WorkloadError> {
        let text = std::fs::read_to_string(path).map_err(|source| WorkloadError::Read {
            path: path.to_owned(),
            source,
        })?;
        let mut draft = Self::from_toml(&text).map_err(|message| WorkloadError::File {
            path: path.to_owned(),
            message,
        })?;
        draft.relative_to(path.parent().unwrap_or(Path::new(".")));
        Ok(draft)
    }

    /// Reads the text of a workload file as it is, its paths included.
    pub fn from_text(text: &str) -> Result<Self, WorkloadError> {
        Self::from_toml(text).map_err(WorkloadError::Text)
    }

    /// Reads the text of a workload file; the error is one line.
    fn from_toml(text: &str) -> Result<Self, String> {
        let table: toml::Table = text.parse().map_err(|error| one_line(text, &error))?;
        if let Some(unknown) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(format!("unknown key '{unknown}': did you mean '{}'?", nearest(unknown)));
        }
        toml::from_str(text).map_err(|error| one_line(text, &error))
    }

    fn relative_to(&mut self, folder: &Path) {
        if let Some(rootfs) = &mut self.rootfs {
            *rootfs = folder.join(&*rootfs);
        }
        for volume in &mut self.volumes {
            volume.source = folder.join(&volume.source);
        }
        if let Some(ImageRef::Layout { path, .. }) = &mut self.image {
            *path = folder.join(&*path);
        }
    }

    /// This draft, with what it leaves open taken from `base`. Environment and volumes add up; a command replaces.
    pub fn over(self, base: Self) -> Self {
        let mut env = base.env.0;
        env.extend(self.env.0);
        let mut volumes = base.volumes;
        volumes.extend(self.volumes);
        Self {
            name: self.name.or(base.name),
            runtime: self.runtime.or(base.runtime),
            image: self.image.or(base.image),
            pull: self.pull.or(base.pull),
            rootfs: self.rootfs.or(base.rootfs),
            command: if self.command.is_empty() {
                base.command
            } else {
                self.command
            },
            env: Variables(env),
            workdir: self.workdir.or(base.workdir),
            user: self.user.or(base.user),
            volumes,
            tty: self.tty || base.tty,
            interactive: self.interactive || base.interactive,
            detach: self.detach || base.detach,
            network: self.network.or(base.network),
            memory: self.memory.or(base.memory),
            cpus: self.cpus.or(base.cpus),
            gpu: self.gpu.or(base.gpu),
            capabilities: self.capabilities.or(base.capabilities),
            profile: self.profile.or(base.profile),
            driver: self.driver.or(base.driver),
            isolation: self.isolation.or(base.isolation),
            rootless: self.rootless || base.rootless,
            hostname: self.hostname.or(base.hostname),
            read_only: self.read_only || base.read_only,
            cloud: self.cloud.or(base.cloud),
        }
    }

    /// The workload, if it is one. `default_name` and `default_gpu` stand in where the draft is open.
    pub fn into_workload(self, default_name: &str, default_gpu: &Selector) -> Result<Workload, WorkloadError> {
        if self.image.is_none() && self.rootfs.is_none() {
            return Err(WorkloadError::NoImage);
        }
        let profile = self.profile.unwrap_or_default();
        let workload = Workload {
            capabilities: self.chosen_capabilities(profile)?,
            name: self.name.unwrap_or_else(|| default_name.to_owned()),
            image: self.image,
            pull: self.pull.unwrap_or_default(),
            rootfs: self.rootfs,
            command: self.command,
            env: self.env.0,
            workdir: self.workdir,
            user: self.user,
            volumes: self.volumes,
            tty: self.tty,
            detach: self.detach,
            stdin: self.interactive,
            network: self.network.unwrap_or_default(),
            memory_bytes: self.memory.map(|Size(bytes)| bytes),
            cpus: self.cpus,
            gpu: self.gpu.unwrap_or_else(|| default_gpu.clone()),
            profile,
            driver: self.driver.unwrap_or_default(),
            isolation: self.isolation.unwrap_or_default(),
            rootless: self.rootless,
            hostname: self.hostname,
            read_only: self.read_only,
        };
        check(&workload)?;
        Ok(workload)
    }

    /// Those asked for, else those of `NVIDIA_DRIVER_CAPABILITIES` in the environment asked for, else those of the profile.
    fn chosen_capabilities(&self, profile: Profile) -> Result<Capabilities, WorkloadError> {
        if let Some(CapabilityWords(capabilities)) = self.capabilities {
            return Ok(capabilities);
        }
        let variable = self
            .env
            .0
            .iter()
            .rfind(|(name, _)| name == "NVIDIA_DRIVER_CAPABILITIES");
        match variable {
            Some((_, words)) => Ok(words.parse()?),
            None => Ok(profile.capabilities()),
        }
    }
}

fn check(workload: &Workload) -> Result<(), WorkloadError> {
    let bad = |what, value: &dyn ToString, why| {
        Err(WorkloadError::Value {
            what,
            value: value.to_string(),
            why,
        })
    };
    if !is_name(&workload.name) {
        return bad(
            "name",
            &workload.name,
            "use letters, digits, '_', '.' and '-', a letter or digit first, at most 128",
        );
    }
    if let Some((name, _)) = workload
        .env
        .iter()
        .find(|(name, _)| name.is_empty() || name.contains(['=', '\0']))
    {
        return bad("environment variable", name, "write it as NAME=VALUE");
    }
    match workload.cpus {
        Some(cpus) if !(cpus.is_finite() && cpus > 0.0) => return bad("number of CPUs", &cpus, "it must be above 0"),
        _ => {}
    }
    match (&workload.workdir, workload.memory_bytes) {
        (Some(dir), _) if !dir.is_absolute() => bad("working directory", &dir.display(), "it must be an absolute path"),
        (_, Some(0)) => bad("memory limit", &0, "it must be above 0"),
        _ => Ok(()),
    }
}

/// Whether containers, folders and cgroups can have that name.
fn is_name(name: &str) -> bool {
    let ordinary = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.len() <= 128 && name.chars().all(ordinary)
}

fn nearest(unknown: &str) -> &'static str {
    let distance = |a: &&&str, b: &&&str| strsim::jaro_winkler(unknown, a).total_cmp(&strsim::jaro_winkler(unknown, b));
    KEYS.iter().max_by(|a, b| distance(a, b)).copied().unwrap_or_default()
}

fn one_line(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().lines().collect::<Vec<_>>().join(" ");
    match error.span() {
        Some(span) => {
            let line = 1 + text.get(..span.start).unwrap_or_default().matches('\n').count();
            format!("line {line}: {message}")
        }
        None => message,
    }
}

impl<'de> Deserialize<'de> for Variables {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = BTreeMap::<String, String>::deserialize(deserializer)?;
        Ok(Self(table.into_iter().collect()))
    }
}

impl<'de> Deserialize<'de> for CloudTable {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::<String, serde::de::IgnoredAny>::deserialize(deserializer).map(|_| Self)
    }
}

impl std::str::FromStr for Size {
    type Err = crate::ParseSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_size(text).map(Self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl std::str::FromStr for CapabilityWords {
    type Err = nvbind_gpu::UnknownCapability;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl<'de> Deserialize<'de> for CapabilityWords {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
