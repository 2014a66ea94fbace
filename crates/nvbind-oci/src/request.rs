//! Which devices a container asks for: annotations and `NVIDIA_*` variables of its `config.json`.
//!
//! The meaning is that of NVIDIA's container toolkit, so that images and scripts made for it keep working.

use crate::Error;
use nvbind_gpu::Capabilities;
use serde_json::Value;

/// Prefix of the annotations by which Kubernetes hands over CDI devices.
const ANNOTATION_PREFIX: &str = "cdi.k8s.io/";

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
}

impl Request {
    const NOTHING: Self = Self {
        devices: Devices::Nothing,
        capabilities: Capabilities::NONE,
    };

    /// Whether the container is to be left alone.
    pub fn is_nothing(&self) -> bool {
        self.devices == Devices::Nothing
    }
}

/// Reads the request out of an OCI configuration. Annotations win over variables.
///
/// # Errors
///
/// When an annotation holds something else than qualified CDI names or `NVIDIA_DRIVER_CAPABILITIES` an unknown word.
pub fn request(config: &Value) -> Result<Request, Error> {
    let annotated = annotations(config)?;
    if !annotated.is_empty() {
        return Ok(Request {
            devices: Devices::Named(annotated),
            capabilities: Capabilities::ALL,
        });
    }
    let env = Environment::of(config);
    let devices = visible_devices(&env);
    if devices == Devices::Nothing {
        return Ok(Request::NOTHING);
    }
    let capabilities = if devices.are_qualified() {
        Capabilities::ALL
    } else {
        driver_capabilities(&env)?
    };
    Ok(Request { devices, capabilities })
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

fn annotations(config: &Value) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    let all = config
        .get("annotations")
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    for (key, value) in all.filter(|(key, _)| key.starts_with(ANNOTATION_PREFIX)) {
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

fn visible_devices(env: &Environment<'_>) -> Devices {
    let Some(value) = env.get("NVIDIA_VISIBLE_DEVICES") else {
        return if env.is_legacy_cuda_image() {
            named(["all"])
        } else {
            Devices::Nothing
        };
    };
    let list: Vec<&str> = words(value).collect();
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

fn driver_capabilities(env: &Environment<'_>) -> Result<Capabilities, Error> {
    match env.get("NVIDIA_DRIVER_CAPABILITIES") {
        None if env.is_legacy_cuda_image() => Ok(Capabilities::ALL),
        None => Ok(Capabilities::DEFAULT),
        Some(value) => value.parse().map_err(Error::Capability),
    }
}

/// The variables of the container's process.
struct Environment<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Environment<'a> {
    fn of(config: &'a Value) -> Self {
        let list = config
            .get("process")
            .and_then(|process| process.get("env"))
            .and_then(Value::as_array);
        let entries = list
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.as_str()?.split_once('='));
        Self(entries.collect())
    }

    /// The value of a variable; the last wins where one is set twice.
    fn get(&self, name: &str) -> Option<&'a str> {
        self.0
            .iter()
            .rev()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| *value)
    }

    /// An image for nvidia-docker 1: it wants every GPU without asking.
    fn is_legacy_cuda_image(&self) -> bool {
        let set = |name| self.get(name).is_some_and(|value| !value.is_empty());
        set("CUDA_VERSION") && !set("NVIDIA_REQUIRE_CUDA")
    }
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
