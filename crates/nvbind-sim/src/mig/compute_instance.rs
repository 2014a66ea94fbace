//! Compute instances: the multiprocessors of a GPU instance that are one MIG device's own.

use serde::{Deserialize, Serialize};

use super::{MigRefusal, check_enabled, gpu_instance, refuse};
use crate::Error;
use crate::identity;
use crate::profile::{MigProfile, Model};
use crate::state::State;

/// `NVML_COMPUTE_INSTANCE_PROFILE_*` by compute slices.
const PROFILES: [(u32, u32); 5] = [(1, 0), (2, 1), (3, 2), (4, 3), (7, 4)];
/// `NVML_COMPUTE_INSTANCE_PROFILE_1_SLICE_REV1`: fills a GPU instance of one slice that has more multiprocessors than
/// a slice has elsewhere, as 1g.20gb of an H100.
const ONE_SLICE_REV1: u32 = 7;

/// A compute instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComputeInstance {
    /// Compute instance id within the GPU instance.
    pub id: u32,
    /// `MIG-<uuid>` of the MIG device.
    pub uuid: String,
    /// Profile id, which is also `NVML_COMPUTE_INSTANCE_PROFILE_*`.
    pub profile: u32,
    /// First compute slice within the GPU instance.
    pub start: u32,
}

/// A compute instance profile of one kind of GPU instance: one row of `nvidia-smi mig -lcip`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComputeProfile {
    /// Name, as `1c.3g.40gb`, or that of the GPU instance where it fills it.
    pub name: String,
    /// Profile id, which is also `NVML_COMPUTE_INSTANCE_PROFILE_*`.
    pub id: u32,
    /// Compute slices.
    pub slices: u32,
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// How many fit in the GPU instance.
    pub max_count: u32,
    /// First compute slices where it can be placed, in the order in which they are taken.
    pub starts: Vec<u32>,
}

/// The compute instance profiles of a GPU instance of this profile.
pub fn profiles(model: &Model, gpu_instance: &MigProfile) -> Vec<ComputeProfile> {
    let has = |slices: u32| match gpu_instance.slices {
        // Four slices are halved, never cut into three and one.
        4 => slices != 3 && slices <= 4,
        whole => slices <= whole,
    };
    let rows = PROFILES.iter().filter(|(slices, _)| has(*slices));
    rows.map(|(slices, id)| row(model, gpu_instance, *slices, *id))
        .collect()
}

fn row(model: &Model, whole: &MigProfile, slices: u32, id: u32) -> ComputeProfile {
    let per_slice = slice_multiprocessors(model, whole);
    if slices == whole.slices {
        let is_rev1 = slices == 1 && whole.multiprocessors > per_slice;
        return ComputeProfile {
            name: whole.name.clone(),
            id: if is_rev1 { ONE_SLICE_REV1 } else { id },
            slices,
            multiprocessors: whole.multiprocessors,
            max_count: 1,
            starts: vec![0],
        };
    }
    ComputeProfile {
        name: format!("{slices}c.{}", whole.name),
        id,
        slices,
        multiprocessors: per_slice * slices,
        max_count: whole.slices / slices,
        starts: starts(slices, whole.slices),
    }
}

/// Multiprocessors of one slice: those of the smallest GPU instance.
fn slice_multiprocessors(model: &Model, whole: &MigProfile) -> u32 {
    let ones = model.mig.iter().filter(|profile| profile.slices == 1);
    let least = ones.map(|profile| profile.multiprocessors).min();
    least.unwrap_or(whole.multiprocessors / whole.slices.max(1))
}

/// Multiples of its size, and where it ends with the GPU instance: 2c fits into 3g behind a 1c.
fn starts(slices: u32, whole: u32) -> Vec<u32> {
    let last = whole - slices;
    let mut starts: Vec<u32> = (0..=last).step_by(slices as usize).collect();
    if starts.last() != Some(&last) {
        starts.push(last);
    }
    starts
}

/// Makes a compute instance at this compute slice, or at the first that is free, and gives its id.
pub fn create(
    state: &mut State,
    gpu: usize,
    gpu_instance: u32,
    profile: u32,
    start: Option<u32>,
) -> Result<u32, Error> {
    check_enabled(state, gpu)?;
    let of_instance = profiles_of(state, gpu, gpu_instance)?;
    let unknown = || {
        let reason = format!("GPU instance {gpu_instance} has no compute instance profile {profile}");
        refuse(gpu, MigRefusal::NotSupported, reason)
    };
    let wanted = of_instance
        .iter()
        .find(|known| known.id == profile)
        .ok_or_else(unknown)?;
    let parent = gpu_instance::find(state, gpu, gpu_instance)?;
    let free = free_starts(&of_instance, &parent.compute, wanted);
    let place = match start {
        Some(start) if !wanted.starts.contains(&start) => {
            let reason = format!("{} cannot begin at compute slice {start}", wanted.name);
            return Err(refuse(gpu, MigRefusal::BadPlacement, reason));
        }
        Some(start) => free.contains(&start).then_some(start),
        None => free.first().copied(),
    };
    let no_room = || {
        let reason = format!(
            "{} does not fit into what is left of GPU instance {gpu_instance}",
            wanted.name
        );
        refuse(gpu, MigRefusal::NoRoom, reason)
    };
    let start = place.ok_or_else(no_room)?;
    let is_unused = |id: &u32| parent.compute.iter().all(|other| other.id != *id);
    let id = (0..).find(is_unused).unwrap_or_default();
    let instance = ComputeInstance {
        id,
        uuid: uuid(&state.gpus[gpu].uuid, &wanted.name, gpu_instance, id),
        profile,
        start,
    };
    let parent = state.gpus[gpu].mig.iter_mut().find(|parent| parent.id == gpu_instance);
    if let Some(parent) = parent {
        parent.compute.push(instance);
        parent.compute.sort_by_key(|instance| instance.id);
    }
    Ok(id)
}

/// The driver gives a device that is made again in the same place the same UUID.
fn uuid(gpu: &str, profile: &str, gpu_instance: u32, id: u32) -> String {
    let words = [gpu, profile, &gpu_instance.to_string(), &id.to_string()];
    format!("MIG-{}", identity::uuid(&words))
}

/// Destroys a compute instance that no process uses.
pub fn destroy(state: &mut State, gpu: usize, gpu_instance: u32, id: u32) -> Result<(), Error> {
    check_enabled(state, gpu)?;
    let parent = gpu_instance::find(state, gpu, gpu_instance)?;
    if parent.compute.iter().all(|instance| instance.id != id) {
        let reason = format!("GPU instance {gpu_instance} has no compute instance {id}");
        return Err(refuse(gpu, MigRefusal::NotFound, reason));
    }
    let mut processes = state.gpus[gpu].processes.iter();
    if let Some(process) = processes.find(|process| process.runs_on(gpu_instance, id)) {
        let pid = process.pid;
        let reason = format!("process {pid} runs on compute instance {id} of GPU instance {gpu_instance}");
        return Err(refuse(gpu, MigRefusal::InUse, reason));
    }
    for parent in state.gpus[gpu]
        .mig
        .iter_mut()
        .filter(|parent| parent.id == gpu_instance)
    {
        parent.compute.retain(|instance| instance.id != id);
    }
    Ok(())
}

/// How many more compute instances of this profile fit into a GPU instance.
pub fn remaining(state: &State, gpu: usize, gpu_instance: u32, profile: &ComputeProfile) -> Result<u32, Error> {
    let of_instance = profiles_of(state, gpu, gpu_instance)?;
    let mut compute = gpu_instance::find(state, gpu, gpu_instance)?.compute.clone();
    let mut count = 0;
    while let Some(start) = free_starts(&of_instance, &compute, profile).first() {
        compute.push(ComputeInstance {
            id: 0,
            uuid: String::new(),
            profile: profile.id,
            start: *start,
        });
        count += 1;
    }
    Ok(count)
}

/// The compute instance profiles of an instance that is there.
pub fn profiles_of(state: &State, gpu: usize, gpu_instance: u32) -> Result<Vec<ComputeProfile>, Error> {
    let instance = gpu_instance::find(state, gpu, gpu_instance)?;
    let profile = super::find_profile(state, gpu, &instance.profile)?;
    Ok(profiles(&state.profile.model, profile))
}

fn free_starts(profiles: &[ComputeProfile], taken: &[ComputeInstance], wanted: &ComputeProfile) -> Vec<u32> {
    let mask = |slices: u32, start: u32| ((1u32 << slices) - 1) << start;
    let slices = |instance: &ComputeInstance| {
        let profile = profiles.iter().find(|profile| profile.id == instance.profile);
        profile.map_or(0, |profile| profile.slices)
    };
    let taken = taken
        .iter()
        .fold(0, |taken, instance| taken | mask(slices(instance), instance.start));
    let is_free = |start: &u32| taken & mask(wanted.slices, *start) == 0;
    wanted.starts.iter().copied().filter(is_free).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile;
    use crate::state::{Process, ProcessKind};

    fn machine(name: &str, profile: &str) -> (State, u32) {
        let mut state = State::new(profile::by_name(name).unwrap());
        state.gpus[0].mig_enabled = true;
        let id = gpu_instance::create(&mut state, 0, profile, None).unwrap();
        (state, id)
    }

    fn rows(name: &str, profile: &str) -> Vec<(String, u32, u32, u32)> {
        let (state, id) = machine(name, profile);
        let row = |row: ComputeProfile| (row.name, row.id, row.max_count, row.multiprocessors);
        profiles_of(&state, 0, id).unwrap().into_iter().map(row).collect()
    }

    /// As `nvidia-smi mig -lcip` prints them on an A100 and an H100.
    #[test]
    fn profiles_are_those_of_the_hardware() {
        let row = |name: &str, id, count, sms| (name.to_owned(), id, count, sms);
        assert_eq!(
            rows("dgx-a100", "3g.40gb"),
            [
                row("1c.3g.40gb", 0, 3, 14),
                row("2c.3g.40gb", 1, 1, 28),
                row("3g.40gb", 2, 1, 42)
            ]
        );
        assert_eq!(
            rows("dgx-a100", "4g.40gb"),
            [
                row("1c.4g.40gb", 0, 4, 14),
                row("2c.4g.40gb", 1, 2, 28),
                row("4g.40gb", 3, 1, 56)
            ]
        );
        let whole = rows("dgx-a100", "7g.80gb");
        assert_eq!(
            whole.iter().map(|(_, id, count, _)| (*id, *count)).collect::<Vec<_>>(),
            [(0, 7), (1, 3), (2, 2), (3, 1), (4, 1)]
        );
        assert_eq!(rows("dgx-a100", "1g.20gb"), [row("1g.20gb", 0, 1, 14)]);
        assert_eq!(rows("hgx-h100", "1g.20gb"), [row("1g.20gb", 7, 1, 26)]);
        assert_eq!(rows("hgx-h100", "3g.40gb")[2], row("3g.40gb", 2, 1, 60));
    }

    #[test]
    fn compute_instances_share_a_gpu_instance() {
        let (mut state, id) = machine("dgx-a100", "3g.40gb");
        assert_eq!(create(&mut state, 0, id, 0, None).unwrap(), 0);
        assert_eq!(create(&mut state, 0, id, 1, None).unwrap(), 1, "1c, then 2c behind it");
        let places: Vec<(u32, u32)> = state.gpus[0].mig[0].compute.iter().map(|c| (c.id, c.start)).collect();
        assert_eq!(places, [(0, 0), (1, 1)]);
        let full = create(&mut state, 0, id, 0, None).unwrap_err();
        assert!(full.to_string().contains("1c.3g.40gb does not fit"), "{full}");
        destroy(&mut state, 0, id, 0).unwrap();
        assert_eq!(
            create(&mut state, 0, id, 0, Some(0)).unwrap(),
            0,
            "the id is used again"
        );
        let uuids: Vec<&str> = super::super::devices(&state.gpus[0])
            .map(|device| device.compute_instance.uuid.as_str())
            .collect();
        assert_eq!(uuids.len(), 2);
        assert_ne!(uuids[0], uuids[1]);
    }

    #[test]
    fn the_rest_of_a_gpu_instance_is_counted() {
        let (mut state, id) = machine("dgx-a100", "4g.40gb");
        let counts = |state: &State| {
            let profiles = profiles_of(state, 0, id).unwrap();
            profiles
                .iter()
                .map(|profile| remaining(state, 0, id, profile).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(counts(&state), [4, 2, 1]);
        create(&mut state, 0, id, 0, None).unwrap();
        assert_eq!(counts(&state), [3, 1, 0], "as nvidia-smi shows it on an A100");
    }

    #[test]
    fn what_is_in_use_stays() {
        let (mut state, id) = machine("hgx-h100", "3g.40gb");
        create(&mut state, 0, id, 2, None).unwrap();
        state.gpus[0].processes.push(Process {
            pid: 42,
            name: "train".into(),
            memory_mib: 1,
            kind: ProcessKind::Compute,
            gpu_instance: Some(id),
            compute_instance: Some(0),
        });
        let busy = destroy(&mut state, 0, id, 0).unwrap_err();
        assert!(busy.to_string().contains("process 42 runs on"), "{busy}");
        assert!(
            gpu_instance::destroy(&mut state, 0, id)
                .unwrap_err()
                .to_string()
                .contains("destroy them first")
        );
        state.gpus[0].processes.clear();
        destroy(&mut state, 0, id, 0).unwrap();
        gpu_instance::destroy(&mut state, 0, id).unwrap();
        assert!(state.gpus[0].mig.is_empty());
    }
}
