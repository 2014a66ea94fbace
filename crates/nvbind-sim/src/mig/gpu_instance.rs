//! GPU instances: the memory slices and engines of a GPU that are one MIG instance's own.

use serde::{Deserialize, Serialize};

use super::{ComputeInstance, MigRefusal, check_enabled, find_profile, refuse};
use crate::Error;
use crate::profile::MigProfile;
use crate::state::{GpuState, State};

/// Compute slices of a GPU that MIG can hand out.
const COMPUTE_SLICES: u32 = 7;
/// Memory slices of a GPU.
const MEMORY_SLICES: u32 = 8;

/// A GPU instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuInstance {
    /// GPU instance id.
    pub id: u32,
    /// Profile name, as `1g.10gb`.
    pub profile: String,
    /// First memory slice.
    pub start: u32,
    /// The compute instances in it, by id.
    pub compute: Vec<ComputeInstance>,
}

/// Makes a GPU instance at this memory slice, or where it leaves most room for others, and gives its id.
pub fn create(state: &mut State, gpu: usize, profile: &str, start: Option<u32>) -> Result<u32, Error> {
    let wanted = find_profile(state, gpu, profile)?;
    check_enabled(state, gpu)?;
    let free = Room::of(state, gpu).starts(wanted);
    let place = match start {
        Some(start) if !wanted.starts.contains(&start) => {
            let reason = format!("{profile} cannot begin at memory slice {start}");
            return Err(refuse(gpu, MigRefusal::BadPlacement, reason));
        }
        Some(start) => free.contains(&start).then_some(start),
        None => free.first().copied(),
    };
    let no_room = || {
        refuse(
            gpu,
            MigRefusal::NoRoom,
            format!("{profile} does not fit beside what is there"),
        )
    };
    let start = place.ok_or_else(no_room)?;
    let instance = GpuInstance {
        id: instance_id(wanted.memory_slices, start),
        profile: wanted.name.clone(),
        start,
        compute: Vec::new(),
    };
    let id = instance.id;
    let instances = &mut state.gpus[gpu].mig;
    instances.push(instance);
    instances.sort_by_key(|instance| instance.id);
    Ok(id)
}

/// Destroys a GPU instance that holds no compute instance.
pub fn destroy(state: &mut State, gpu: usize, id: u32) -> Result<(), Error> {
    check_enabled(state, gpu)?;
    let instance = find(state, gpu, id)?;
    if !instance.compute.is_empty() {
        let reason = format!("GPU instance {id} holds compute instances: destroy them first");
        return Err(refuse(gpu, MigRefusal::InUse, reason));
    }
    state.gpus[gpu].mig.retain(|instance| instance.id != id);
    Ok(())
}

/// The GPU instance with this id.
pub(super) fn find(state: &State, gpu: usize, id: u32) -> Result<&GpuInstance, Error> {
    let found = state.gpus[gpu].mig.iter().find(|instance| instance.id == id);
    found.ok_or_else(|| refuse(gpu, MigRefusal::NotFound, format!("there is no GPU instance {id}")))
}

/// How many more instances of this profile fit beside those that exist.
pub fn remaining(state: &State, gpu: usize, profile: &MigProfile) -> u32 {
    let mut room = Room::of(state, gpu);
    let mut count = 0;
    while let Some(start) = room.starts(profile).first() {
        room.take(profile, *start);
        count += 1;
    }
    count
}

/// A first memory slice for each profile so that all fit on an empty GPU, or `None`.
pub(super) fn place(profiles: &[&MigProfile]) -> Option<Vec<u32>> {
    // Large instances first: they have the fewest places. The search is over at most 7 instances.
    let mut order: Vec<usize> = (0..profiles.len()).collect();
    order.sort_by_key(|&at| std::cmp::Reverse(profiles[at].memory_slices));
    let mut starts = vec![0; profiles.len()];
    search(profiles, &order, &Room::default(), &mut starts).then_some(starts)
}

fn search(profiles: &[&MigProfile], order: &[usize], room: &Room, starts: &mut [u32]) -> bool {
    let Some((&at, rest)) = order.split_first() else {
        return true;
    };
    room.starts(profiles[at]).into_iter().any(|start| {
        let mut after = room.clone();
        after.take(profiles[at], start);
        starts[at] = start;
        search(profiles, rest, &after, starts)
    })
}

/// What of a GPU is taken.
#[derive(Debug, Clone, Default)]
struct Room {
    /// Memory slices, a bit each.
    memory: u32,
    compute_slices: u32,
    /// Names of the profiles that are there, once for each instance.
    profiles: Vec<String>,
}

impl Room {
    fn of(state: &State, gpu: usize) -> Self {
        let mut room = Self::default();
        let GpuState { mig, .. } = &state.gpus[gpu];
        for instance in mig {
            if let Some(profile) = state.mig_profile(&instance.profile) {
                room.take(profile, instance.start);
            }
        }
        room
    }

    fn take(&mut self, profile: &MigProfile, start: u32) {
        self.memory |= slice_mask(profile, start);
        self.compute_slices += profile.slices;
        self.profiles.push(profile.name.clone());
    }

    /// Where an instance of this profile can begin, in the driver's order of preference.
    fn starts(&self, profile: &MigProfile) -> Vec<u32> {
        let same = self.profiles.iter().filter(|name| **name == profile.name).count();
        if self.compute_slices + profile.slices > COMPUTE_SLICES || same >= profile.max_count as usize {
            return Vec::new();
        }
        let is_free = |start: &u32| self.memory & slice_mask(profile, *start) == 0;
        profile.starts.iter().copied().filter(is_free).collect()
    }
}

fn slice_mask(profile: &MigProfile, start: u32) -> u32 {
    ((1 << profile.memory_slices) - 1) << start
}

/// The driver numbers instances by their place in a tree that halves the GPU: 0 is the whole, 1 and 2 the halves,
/// 3 to 6 the quarters, 7 to 14 the eighths.
fn instance_id(memory_slices: u32, start: u32) -> u32 {
    MEMORY_SLICES / memory_slices - 1 + start / memory_slices
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile;

    fn machine(name: &str) -> State {
        let mut state = State::new(profile::by_name(name).unwrap());
        state.gpus[0].mig_enabled = true;
        state
    }

    fn kind(result: &Result<u32, Error>) -> Option<MigRefusal> {
        match result {
            Err(Error::Mig { kind, .. }) => Some(*kind),
            _ => None,
        }
    }

    /// The ids that NVIDIA's user guide shows for `nvidia-smi mig -cgi 19,14,5` and for seven times 19.
    #[test]
    fn instances_get_the_ids_and_places_that_the_driver_gives() {
        let ids = |names: &[&str]| {
            let mut state = machine("hgx-h100");
            let create = |name: &&str| create(&mut state, 0, name, None).unwrap();
            names.iter().map(create).collect::<Vec<_>>()
        };
        assert_eq!(ids(&["1g.10gb", "2g.20gb", "4g.40gb"]), [13, 5, 1]);
        assert_eq!(ids(&["1g.10gb"; 7]), [13, 11, 12, 7, 8, 9, 10]);
        assert_eq!(ids(&["3g.40gb", "3g.40gb"]), [2, 1]);
        assert_eq!(ids(&["7g.80gb"]), [0]);
    }

    #[test]
    fn slices_are_given_once() {
        let mut state = machine("dgx-a100");
        create(&mut state, 0, "4g.40gb", Some(0)).unwrap();
        assert_eq!(
            kind(&create(&mut state, 0, "4g.40gb", None)),
            Some(MigRefusal::NoRoom),
            "one is all"
        );
        assert_eq!(
            kind(&create(&mut state, 0, "2g.20gb", Some(2))),
            Some(MigRefusal::NoRoom),
            "taken"
        );
        assert_eq!(
            kind(&create(&mut state, 0, "2g.20gb", Some(6))),
            Some(MigRefusal::BadPlacement)
        );
        assert_eq!(
            kind(&create(&mut state, 0, "1g.5gb", None)),
            Some(MigRefusal::NotSupported)
        );
        assert_eq!(create(&mut state, 0, "2g.20gb", Some(4)).unwrap(), 5);
        assert_eq!(create(&mut state, 0, "1g.10gb+me", None).unwrap(), 13);
        assert_eq!(
            kind(&create(&mut state, 0, "1g.10gb", None)),
            Some(MigRefusal::NoRoom),
            "seven slices"
        );
        destroy(&mut state, 0, 5).unwrap();
        assert_eq!(create(&mut state, 0, "1g.20gb", None).unwrap(), 5);
    }

    #[test]
    fn the_rest_is_counted_as_nvidia_smi_prints_it() {
        let mut state = machine("hgx-h100");
        let counts = |state: &State| {
            let profiles = state.profile.model.mig.iter();
            profiles.map(|profile| remaining(state, 0, profile)).collect::<Vec<_>>()
        };
        assert_eq!(counts(&state), [7, 1, 4, 3, 2, 1, 1]);
        create(&mut state, 0, "3g.40gb", None).unwrap();
        assert_eq!(counts(&state), [4, 1, 2, 2, 1, 1, 0]);
        create(&mut state, 0, "1g.10gb+me", None).unwrap();
        assert_eq!(counts(&state), [3, 0, 1, 1, 0, 0, 0]);
    }

    #[test]
    fn without_mig_mode_there_are_no_instances() {
        let mut state = State::new(profile::by_name("hgx-b200").unwrap());
        assert_eq!(
            kind(&create(&mut state, 0, "1g.23gb", None)),
            Some(MigRefusal::NotSupported)
        );
        let mut state = machine("l40s");
        let error = create(&mut state, 0, "1g.10gb", None).unwrap_err();
        assert!(error.to_string().contains("NVIDIA L40S has no MIG"), "{error}");
    }
}
