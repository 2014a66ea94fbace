//! Which devices of a host are meant, and what they are called.

use crate::Error;
use nvbind_gpu::{Gpu, Health, Host, MigDevice};
use std::str::FromStr;

/// How a device gets its name in a spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// `0`, and `1:0` for a MIG device.
    Index,
    /// `GPU-<uuid>`, `MIG-<uuid>`.
    Uuid,
    /// `gpu0`, `mig1:0`.
    TypeIndex,
}

impl Strategy {
    const EVERY: [Self; 3] = [Self::Index, Self::Uuid, Self::TypeIndex];
}

impl FromStr for Strategy {
    type Err = Error;

    /// Reads the value of `--device-name-strategy`.
    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "index" => Ok(Self::Index),
            "uuid" => Ok(Self::Uuid),
            "type-index" => Ok(Self::TypeIndex),
            _ => Err(Error::Option {
                option: "device-name-strategy",
                value: text.to_owned(),
                wanted: "index, uuid or type-index",
            }),
        }
    }
}

/// A device of the host that was chosen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Selected<'a> {
    pub(super) gpu: &'a Gpu,
    /// The MIG device; `None` for the full GPU.
    pub(super) mig: Option<&'a MigDevice>,
}

impl Selected<'_> {
    pub(super) fn names(&self, strategies: &[Strategy]) -> Vec<String> {
        let mut names: Vec<String> = strategies.iter().map(|strategy| self.name(*strategy)).collect();
        names.sort();
        names.dedup();
        names
    }

    pub(super) fn uuid(&self) -> &str {
        self.mig.map_or(&self.gpu.uuid, |mig| &mig.uuid)
    }

    fn name(&self, strategy: Strategy) -> String {
        match (strategy, self.mig) {
            (Strategy::Uuid, _) => self.uuid().to_owned(),
            (Strategy::Index, None) => self.gpu.index.to_string(),
            (Strategy::Index, Some(mig)) => format!("{}:{}", self.gpu.index, mig.index),
            (Strategy::TypeIndex, None) => format!("gpu{}", self.gpu.index),
            (Strategy::TypeIndex, Some(mig)) => format!("mig{}:{}", self.gpu.index, mig.index),
        }
    }

    /// Whether `id` means this device: any of its names, or the MIG name of drivers before 470.
    fn is_called(&self, id: &str) -> bool {
        Strategy::EVERY.iter().any(|strategy| self.name(*strategy) == id)
            || self
                .mig
                .is_some_and(|mig| id == format!("MIG-{}/{}/{}", self.gpu.uuid, mig.gpu_instance, mig.compute_instance))
    }

    fn is_lost(&self) -> bool {
        self.gpu.health == Health::Lost
    }

    /// Whether `all` means it: it answers, and is not a full GPU in MIG mode.
    fn is_in_all(&self) -> bool {
        !self.is_lost() && (self.mig.is_some() || !self.gpu.mig.enabled)
    }
}

/// The devices that `ids` mean, in their order, each once.
pub(super) fn select<'a, S: AsRef<str>>(host: &'a Host, ids: &[S]) -> Result<Vec<Selected<'a>>, Error> {
    let mut selected: Vec<Selected<'a>> = Vec::new();
    for id in ids.iter().map(AsRef::as_ref) {
        for device in devices_of(host, id)? {
            if !selected.iter().any(|other| other.uuid() == device.uuid()) {
                selected.push(device);
            }
        }
    }
    Ok(selected)
}

/// Fails unless `ids` mean every GPU: where all have one node, none can be given without the others.
pub(super) fn all_or_nothing<S: AsRef<str>>(host: &Host, ids: &[S]) -> Result<(), Error> {
    let asked = select(host, ids)?;
    let left_out =
        devices(host).find(|device| device.is_in_all() && !asked.iter().any(|other| other.uuid() == device.uuid()));
    left_out.map_or(Ok(()), |device| Err(Error::NotApart(device.uuid().to_owned())))
}

/// The GPU of the device of that name.
pub(super) fn gpu_of<'a>(host: &'a Host, name: &str) -> Option<&'a Gpu> {
    devices(host)
        .find(|device| device.is_called(name))
        .map(|device| device.gpu)
}

fn devices_of<'a>(host: &'a Host, id: &str) -> Result<Vec<Selected<'a>>, Error> {
    if id == "all" {
        return Ok(devices(host).filter(Selected::is_in_all).collect());
    }
    match devices(host).find(|device| device.is_called(id)) {
        Some(device) if device.is_lost() => Err(Error::Lost(device.uuid().to_owned())),
        Some(device) => Ok(vec![device]),
        None => Err(Error::UnknownDevice {
            id: id.to_owned(),
            hint: what_there_is(host),
        }),
    }
}

fn devices(host: &Host) -> impl Iterator<Item = Selected<'_>> {
    host.gpus.iter().flat_map(|gpu| {
        let migs = gpu.mig.devices.iter().map(move |mig| Selected { gpu, mig: Some(mig) });
        std::iter::once(Selected { gpu, mig: None }).chain(migs)
    })
}

fn what_there_is(host: &Host) -> String {
    let names: Vec<String> = devices(host).map(|device| device.name(Strategy::Index)).collect();
    if names.is_empty() {
        "there is none".to_owned()
    } else {
        format!("there are {}", names.join(", "))
    }
}
