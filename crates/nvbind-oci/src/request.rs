//! What a container asks for: annotations, mounts and `NVIDIA_*` variables of its `config.json`.
//!
//! The meaning is that of NVIDIA's container toolkit, so that images and scripts made for it keep working.

mod environment;
mod extra;
mod requirement;
mod volume;

use crate::Error;
use environment::Environment;
use nvbind_config::RequestConfig;
use nvbind_gpu::Capabilities;
use serde_json::Value;

pub use extra::ExtraDevices;
pub use requirement::{GpuFacts, HostFacts, Requirement, check_requirements};

/// Which devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Devices {
    /// None, and nothing is to be changed.
    Nothing,
    /// The driver's files, but no device (`NVIDIA_VISIBLE_DEVICES=none`).
    DriverOnly,
    /// These: `all`, index, UUID, `gpu:mig`, or a qualified CDI name. In the order asked for, each once.
    Named(Vec<String>),
}

/// What a container asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The devices.
    pub devices: Devices,
    /// The parts of the driver that are wanted. CDI names stand for whole devices: `ALL` for them.
    pub capabilities: Capabilities,
    /// Devices that are no GPUs: IMEX channels, GPUDirect, NVSwitch.
    pub extra: ExtraDevices,
    /// What the image needs of driver and GPUs. Every one must be met.
    pub requirements: Vec<Requirement>,
}

impl Request {
    const NOTHING: Self = Self {
        devices: Devices::Nothing,
        capabilities: Capabilities::NONE,
        extra: ExtraDevices::NONE,
        requirements: Vec::new(),
    };

    /// Whether the container is to be left alone.
    pub fn is_nothing(&self) -> bool {
        self.devices == Devices::Nothing && self.extra == ExtraDevices::NONE
    }
}

/// Reads the request out of an OCI configuration. Annotations win over mounts, and those over variables.
///
/// # Errors
///
/// When an annotation holds something else than qualified CDI names, `NVIDIA_DRIVER_CAPABILITIES` an unknown word,
/// `NVIDIA_REQUIRE_*` no requirement or `NVIDIA_IMEX_CHANNELS` no channel.
pub fn request(config: &Value, heard: &RequestConfig) -> Result<Request, Error> {
    let env = Environment::of(config);
    let mounted = volume::names(config, heard);
    let extra = extra::of(&env, &mounted.imex_channels, heard)?;
    let annotated = annotations(config, heard)?;
    let devices = if !annotated.is_empty() {
        Devices::Named(annotated)
    } else if !mounted.devices.is_empty() {
        named(mounted.devices.iter().map(String::as_str))
    } else {
        visible_devices(&env, heard)
    };
    if devices == Devices::Nothing {
        return Ok(Request {
            extra,
            ..Request::NOTHING
        });
    }
    let capabilities = if devices.are_qualified() {
        Capabilities::ALL
    } else {
        driver_capabilities(&env, heard)?
    };
    let requirements = requirement::of(&env, heard)?;
    Ok(Request {
        devices,
        capabilities,
        extra,
        requirements,
    })
}

impl Devices {
    /// Only CDI names, which bring along what their spec says, whatever the capabilities.
    fn are_qualified(&self) -> bool {
        matches!(self, Self::Named(names) if names.iter().all(|name| is_qualified(name)))
    }
}

/// Whether a name is a CDI name, `vendor/class=device`.
pub(crate) fn is_qualified(name: &str) -> bool {
    nvbind_cdi::QualifiedName::parse(name).is_some()
}

fn annotations(config: &Value, heard: &RequestConfig) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    let all = config
        .get("annotations")
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    let is_heard = |key: &str| {
        heard
            .annotation_prefixes
            .iter()
            .any(|prefix| key.starts_with(prefix.as_str()))
    };
    for (key, value) in all.filter(|(key, _)| is_heard(key)) {
        for name in words(value.as_str().unwrap_or_default()) {
            if !is_qualified(name) {
                return Err(Error::Annotation {
                    key: key.clone(),
                    name: name.to_owned(),
                });
            }
            push_new(&mut names, name);
        }
    }
    Ok(names)
}

fn visible_devices(env: &Environment<'_>, heard: &RequestConfig) -> Devices {
    if !env.is_heard(heard) {
        return Devices::Nothing;
    }
    let swarm = heard
        .swarm_resources
        .iter()
        .filter_map(|name| env.get(name))
        .collect::<Vec<_>>()
        .join(",");
    let value = if swarm.is_empty() {
        env.get("NVIDIA_VISIBLE_DEVICES")
    } else {
        Some(swarm.as_str())
    };
    let Some(value) = value else {
        return if env.is_legacy_cuda_image() {
            named(["all"])
        } else {
            Devices::Nothing
        };
    };
    let list: Vec<&str> = words(value).filter(|word| *word != volume::FOLDER).collect();
    if list.is_empty() || list.contains(&"void") {
        return Devices::Nothing;
    }
    // The first of the two words decides over the whole list.
    match list.iter().find(|word| matches!(**word, "all" | "none")) {
        Some(&"none") => Devices::DriverOnly,
        Some(all) => named([*all]),
        None => named(list),
    }
}

/// The capabilities asked for, less those that the configuration does not allow.
fn driver_capabilities(env: &Environment<'_>, heard: &RequestConfig) -> Result<Capabilities, Error> {
    let asked = match env.get("NVIDIA_DRIVER_CAPABILITIES") {
        None if env.is_legacy_cuda_image() => Capabilities::ALL,
        None => Capabilities::DEFAULT,
        Some(value) => value.parse().map_err(Error::Capability)?,
    };
    if heard.driver_capabilities.is_empty() {
        return Ok(asked);
    }
    let supported: Capabilities = heard.driver_capabilities.join(",").parse().map_err(Error::Capability)?;
    Ok(asked.intersection(supported))
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty())
}

fn named<'a>(words: impl IntoIterator<Item = &'a str>) -> Devices {
    let mut names = Vec::new();
    words.into_iter().for_each(|word| push_new(&mut names, word));
    Devices::Named(names)
}

fn push_new(names: &mut Vec<String>, name: &str) {
    if !names.iter().any(|old| old == name) {
        names.push(name.to_owned());
    }
}

#[cfg(test)]
mod tests;
