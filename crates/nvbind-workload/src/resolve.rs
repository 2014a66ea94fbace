//! What a selector comes down to on a host.

use crate::DeviceRef;
use crate::selector::{Compare, Selector, Term, Wish};
use nvbind_gpu::{Gpu, Health, Host, MigDevice};

/// A selector that this host cannot answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// Nothing here has that name.
    #[error("no device '{part}' on this host: {available}")]
    NotFound {
        /// The part of the selector.
        part: String,
        /// What is there.
        available: String,
    },
    /// The beginning of a UUID fits several devices.
    #[error("'{part}' fits several devices: {matches}; write more of the UUID")]
    Ambiguous {
        /// The part of the selector.
        part: String,
        /// The devices that it fits.
        matches: String,
    },
    /// A GPU in MIG mode was asked for as a whole.
    #[error("GPU {index} ('{part}') is in MIG mode and cannot be given as a whole: {instead}")]
    MigMode {
        /// The part of the selector.
        part: String,
        /// NVML index of the GPU.
        index: u32,
        /// Its MIG devices.
        instead: String,
    },
    /// The GPU fell off the bus.
    #[error(
        "GPU {index} ('{part}') does not answer (lost from the bus): reset it or restart the host, or choose another GPU"
    )]
    Lost {
        /// The part of the selector.
        part: String,
        /// NVML index of the GPU.
        index: u32,
    },
    /// Fewer devices fit than were asked for.
    #[error("'{selector}' needs {wanted} device(s), {found} of this host fit: {available}")]
    NotEnough {
        /// The whole selector.
        selector: String,
        /// How many were asked for.
        wanted: usize,
        /// How many fit.
        found: usize,
        /// What is there.
        available: String,
    },
}

impl ResolveError {
    /// The exit code of a command that ends with this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Ambiguous { .. } => 2,
            Self::NotFound { .. } | Self::MigMode { .. } | Self::NotEnough { .. } => 4,
            Self::Lost { .. } => 5,
        }
    }
}

/// A device together with what wishes ask about.
struct Candidate<'host> {
    device: DeviceRef,
    model: &'host str,
    memory_mib: u64,
}

impl Selector {
    /// The devices of `host` that this selector names, each once, in the order asked for.
    pub fn resolve(&self, host: &Host) -> Result<Vec<DeviceRef>, ResolveError> {
        self.resolve_avoiding(host, |_| false)
    }

    /// Like `resolve`, but where a count leaves a choice, devices whose UUID is `taken` come last.
    pub fn resolve_avoiding(&self, host: &Host, taken: impl Fn(&str) -> bool) -> Result<Vec<DeviceRef>, ResolveError> {
        if self.is_none() {
            return Ok(Vec::new());
        }
        let mut candidates = self.named(host)?;
        let all = candidates.len();
        candidates.retain(|candidate| self.wishes.iter().all(|wish| wish.fits(candidate)));
        let count = self.wishes.iter().find_map(|wish| match wish {
            Wish::Count(count) => Some(*count as usize),
            _ => None,
        });
        if count.is_some() {
            candidates.sort_by_key(|candidate| taken(candidate.device.uuid()));
        }
        let wanted = count.unwrap_or(1);
        if candidates.len() < wanted {
            return Err(self.too_few(host, wanted, candidates.len(), all));
        }
        candidates.truncate(count.unwrap_or(all));
        Ok(candidates.into_iter().map(|candidate| candidate.device).collect())
    }

    /// The devices that the terms name, each once; without terms, every full GPU.
    fn named<'host>(&self, host: &'host Host) -> Result<Vec<Candidate<'host>>, ResolveError> {
        if self.terms.is_empty() {
            return Ok(full_gpus(host).map(Candidate::gpu).collect());
        }
        let mut named: Vec<Candidate<'host>> = Vec::new();
        for term in &self.terms {
            for candidate in term.find(host)? {
                if named.iter().all(|known| known.device != candidate.device) {
                    named.push(candidate);
                }
            }
        }
        Ok(named)
    }

    fn too_few(&self, host: &Host, wanted: usize, found: usize, named: usize) -> ResolveError {
        if named == 0 {
            return not_found(self, host);
        }
        ResolveError::NotEnough {
            selector: self.to_string(),
            wanted,
            found,
            available: available(host),
        }
    }
}

impl Wish {
    fn fits(&self, candidate: &Candidate<'_>) -> bool {
        match self {
            Self::Count(_) => true,
            Self::Model(model) => candidate.model.to_lowercase().contains(&model.to_lowercase()),
            Self::Memory(compare, mib) => match compare {
                Compare::Less => candidate.memory_mib < *mib,
                Compare::AtMost => candidate.memory_mib <= *mib,
                Compare::Equal => candidate.memory_mib == *mib,
                Compare::AtLeast => candidate.memory_mib >= *mib,
                Compare::More => candidate.memory_mib > *mib,
            },
        }
    }
}

impl Term {
    fn find<'host>(&self, host: &'host Host) -> Result<Vec<Candidate<'host>>, ResolveError> {
        match self {
            Self::All => Ok(every_device(host)),
            Self::Index(index) => {
                let gpu = host.gpus.iter().find(|gpu| gpu.index == *index);
                self.whole(gpu.ok_or_else(|| not_found(self, host))?)
                    .map(|candidate| vec![candidate])
            }
            Self::MigIndex { gpu, mig } => self.one_mig(host, |g, m| g.index == *gpu && m.index == *mig),
            Self::MigPath {
                gpu,
                gpu_instance,
                compute_instance,
            } => self.one_mig(host, |g, m| {
                g.uuid.eq_ignore_ascii_case(gpu)
                    && m.gpu_instance == *gpu_instance
                    && m.compute_instance == *compute_instance
            }),
            Self::Uuid(prefix) => self.by_uuid(host, prefix),
        }
    }

    /// The GPU as a whole, if it can be given so.
    fn whole<'host>(&self, gpu: &'host Gpu) -> Result<Candidate<'host>, ResolveError> {
        if gpu.health == Health::Lost {
            return Err(ResolveError::Lost {
                part: self.to_string(),
                index: gpu.index,
            });
        }
        if gpu.mig.enabled {
            let instead = mig_instead(gpu);
            return Err(ResolveError::MigMode {
                part: self.to_string(),
                index: gpu.index,
                instead,
            });
        }
        Ok(Candidate::gpu(gpu))
    }

    fn one_mig<'host>(
        &self,
        host: &'host Host,
        is_it: impl Fn(&Gpu, &MigDevice) -> bool,
    ) -> Result<Vec<Candidate<'host>>, ResolveError> {
        let found = mig_devices(host).find(|(gpu, mig)| is_it(gpu, mig));
        let (gpu, mig) = found.ok_or_else(|| not_found(self, host))?;
        Ok(vec![Candidate::mig(gpu, mig)])
    }

    fn by_uuid<'host>(&self, host: &'host Host, prefix: &str) -> Result<Vec<Candidate<'host>>, ResolveError> {
        let gpus: Vec<&Gpu> = host.gpus.iter().filter(|gpu| begins_with(&gpu.uuid, prefix)).collect();
        let migs: Vec<_> = mig_devices(host)
            .filter(|(_, mig)| begins_with(&mig.uuid, prefix))
            .collect();
        match (gpus.as_slice(), migs.as_slice()) {
            ([], []) => Err(not_found(self, host)),
            ([gpu], []) => self.whole(gpu).map(|candidate| vec![candidate]),
            ([], [(gpu, mig)]) => Ok(vec![Candidate::mig(gpu, mig)]),
            _ => {
                let uuids = gpus
                    .iter()
                    .map(|gpu| &gpu.uuid)
                    .chain(migs.iter().map(|(_, mig)| &mig.uuid));
                let matches: Vec<&str> = uuids.map(String::as_str).collect();
                Err(ResolveError::Ambiguous {
                    part: self.to_string(),
                    matches: matches.join(", "),
                })
            }
        }
    }
}

impl<'host> Candidate<'host> {
    fn gpu(gpu: &'host Gpu) -> Self {
        let device = DeviceRef::Gpu {
            index: gpu.index,
            uuid: gpu.uuid.clone(),
            minor: gpu.minor,
        };
        Self {
            device,
            model: &gpu.name,
            memory_mib: gpu.memory_mib,
        }
    }

    fn mig(gpu: &'host Gpu, mig: &'host MigDevice) -> Self {
        let device = DeviceRef::Mig {
            gpu_index: gpu.index,
            gpu_uuid: gpu.uuid.clone(),
            index: mig.index,
            uuid: mig.uuid.clone(),
        };
        Self {
            device,
            model: &gpu.name,
            memory_mib: mig.memory_mib,
        }
    }
}

fn begins_with(uuid: &str, prefix: &str) -> bool {
    uuid.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

fn full_gpus(host: &Host) -> impl Iterator<Item = &Gpu> {
    host.gpus
        .iter()
        .filter(|gpu| !gpu.mig.enabled && gpu.health != Health::Lost)
}

fn mig_devices(host: &Host) -> impl Iterator<Item = (&Gpu, &MigDevice)> {
    host.gpus
        .iter()
        .flat_map(|gpu| gpu.mig.devices.iter().map(move |mig| (gpu, mig)))
}

/// What `all` means, as in the toolkit: full GPUs, and of GPUs in MIG mode their MIG devices. Lost GPUs are left out.
fn every_device(host: &Host) -> Vec<Candidate<'_>> {
    let usable = host.gpus.iter().filter(|gpu| gpu.health != Health::Lost);
    usable
        .flat_map(|gpu| match gpu.mig.enabled {
            true => gpu.mig.devices.iter().map(|mig| Candidate::mig(gpu, mig)).collect(),
            false => vec![Candidate::gpu(gpu)],
        })
        .collect()
}

fn not_found(part: &impl ToString, host: &Host) -> ResolveError {
    ResolveError::NotFound {
        part: part.to_string(),
        available: available(host),
    }
}

fn mig_instead(gpu: &Gpu) -> String {
    let names: Vec<String> = gpu
        .mig
        .devices
        .iter()
        .map(|mig| format!("{}:{} ({})", gpu.index, mig.index, mig.profile))
        .collect();
    if names.is_empty() {
        "it has no MIG device yet; make one with nvidia-smi mig -cgi, or switch MIG mode off".to_owned()
    } else {
        format!(
            "ask for one of its MIG devices {}, or switch MIG mode off",
            names.join(", ")
        )
    }
}

/// The devices of a host in few words: `8 devices: 0-6 NVIDIA A100-SXM4-80GB, 7:0 1g.10gb`.
fn available(host: &Host) -> String {
    let mut groups: Vec<(u32, u32, &str)> = Vec::new();
    for gpu in full_gpus(host) {
        match groups.last_mut() {
            Some((_, last, name)) if *name == gpu.name && *last + 1 == gpu.index => *last = gpu.index,
            _ => groups.push((gpu.index, gpu.index, &gpu.name)),
        }
    }
    let gpus = groups.iter().map(|(first, last, name)| match first == last {
        true => format!("{first} ({name})"),
        false => format!("{first}-{last} ({name})"),
    });
    let migs = mig_devices(host).map(|(gpu, mig)| format!("{}:{} ({})", gpu.index, mig.index, mig.profile));
    let names: Vec<String> = gpus.chain(migs).collect();
    match names.is_empty() {
        true => "there is no usable GPU here; see nvbind info".to_owned(),
        false => format!("there are {}; see nvbind info", names.join(", ")),
    }
}

#[cfg(test)]
mod tests;
