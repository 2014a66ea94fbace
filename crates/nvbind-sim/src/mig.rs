//! MIG: which instances fit on a GPU, and what the kernel shows of them.

use crate::Error;
use crate::identity;
use crate::profile::MigProfile;
use crate::state::{GpuState, MigInstance, State};

/// Compute slices of a GPU that MIG can hand out.
const COMPUTE_SLICES: u32 = 7;
/// Memory slices of a GPU.
const MEMORY_SLICES: u32 = 8;
/// GPU instances that the driver numbers per GPU.
const GPU_INSTANCES: u32 = 15;
/// Compute instances that the driver numbers per GPU instance.
const COMPUTE_INSTANCES: u32 = 8;
/// Minors taken by one GPU instance: its own and one for each compute instance.
const MINORS_PER_INSTANCE: u32 = 1 + COMPUTE_INSTANCES;
/// First minor of `/dev/nvidia-caps` after `config` (1) and `monitor` (2).
const FIRST_MINOR: u32 = 3;
/// GPUs that `mig-minors` has lines for.
const MAX_GPUS: u32 = 32;

/// Lays the instances out on the GPU, in the given order where it matters to the driver.
pub(crate) fn layout(state: &mut State, gpu: usize, names: &[&str]) -> Result<(), Error> {
    let refuse = |reason: String| Error::Mig { gpu, reason };
    if state.profile.model.mig.is_empty() {
        return Err(refuse(format!("{} has no MIG", state.profile.model.name)));
    }
    let known = || {
        state
            .profile
            .model
            .mig
            .iter()
            .map(|p| p.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let find = |name: &&str| {
        state
            .mig_profile(name)
            .ok_or_else(|| refuse(format!("no profile '{name}': use {}", known())))
    };
    let profiles = names.iter().map(find).collect::<Result<Vec<&MigProfile>, Error>>()?;
    let starts = place(&profiles).ok_or_else(|| refuse(format!("{} do not fit together", names.join(", "))))?;
    let target = &state.gpus[gpu];
    let mut instances: Vec<MigInstance> = profiles
        .iter()
        .zip(starts)
        .map(|(profile, start)| instance(target, profile, start))
        .collect();
    instances.sort_by_key(|instance| instance.gpu_instance);
    let target = &mut state.gpus[gpu];
    target.mig_enabled = true;
    target.mig = instances;
    target.processes.clear();
    Ok(())
}

/// A first memory slice for each profile so that none overlap, or `None`.
fn place(profiles: &[&MigProfile]) -> Option<Vec<u32>> {
    let too_many = |profile: &&MigProfile| {
        profiles.iter().filter(|other| other.name == profile.name).count() > profile.max_count as usize
    };
    let slices: u32 = profiles.iter().map(|profile| profile.slices).sum();
    if slices > COMPUTE_SLICES || profiles.iter().any(too_many) {
        return None;
    }
    // Large instances first: they have the fewest places. The search is over at most 7 instances.
    let mut order: Vec<usize> = (0..profiles.len()).collect();
    order.sort_by_key(|&at| std::cmp::Reverse(profiles[at].memory_slices));
    let mut starts = vec![0; profiles.len()];
    search(profiles, &order, 0, &mut starts).then_some(starts)
}

fn search(profiles: &[&MigProfile], order: &[usize], taken: u32, starts: &mut [u32]) -> bool {
    let Some((&at, rest)) = order.split_first() else {
        return true;
    };
    profiles[at].starts.iter().any(|&start| {
        let mask = slice_mask(profiles[at], start);
        starts[at] = start;
        taken & mask == 0 && search(profiles, rest, taken | mask, starts)
    })
}

fn slice_mask(profile: &MigProfile, start: u32) -> u32 {
    ((1 << profile.memory_slices) - 1) << start
}

/// How many more instances of `profile` fit beside those that exist, given with their first memory slices.
pub fn remaining(profile: &MigProfile, existing: &[(&MigProfile, u32)]) -> u32 {
    let taken = existing
        .iter()
        .fold(0, |taken, (profile, start)| taken | slice_mask(profile, *start));
    let mut free_slices = COMPUTE_SLICES.saturating_sub(existing.iter().map(|(profile, _)| profile.slices).sum());
    let same = existing.iter().filter(|(other, _)| other.name == profile.name).count();
    let mut count = 0;
    let mut taken = taken;
    for &start in &profile.starts {
        let mask = slice_mask(profile, start);
        if taken & mask == 0 && profile.slices <= free_slices && same as u32 + count < profile.max_count {
            taken |= mask;
            free_slices -= profile.slices;
            count += 1;
        }
    }
    count
}

fn instance(gpu: &GpuState, profile: &MigProfile, start: u32) -> MigInstance {
    let gpu_instance = gpu_instance_id(profile.memory_slices, start);
    let words = [gpu.uuid.as_str(), &profile.name, &gpu_instance.to_string()];
    let uuid = format!("MIG-{}", identity::uuid(&words));
    MigInstance {
        uuid,
        profile: profile.name.clone(),
        gpu_instance,
        compute_instance: 0,
        start,
    }
}

/// The driver numbers instances by their place in a tree that halves the GPU: 0 is the whole, 1 and 2 the halves,
/// 3 to 6 the quarters, 7 to 14 the eighths.
fn gpu_instance_id(memory_slices: u32, start: u32) -> u32 {
    MEMORY_SLICES / memory_slices - 1 + start / memory_slices
}

/// Minor of `/dev/nvidia-caps/nvidia-cap<minor>` for a GPU instance of the GPU with this minor.
pub fn gpu_instance_minor(gpu_minor: u32, gpu_instance: u32) -> u32 {
    FIRST_MINOR + (gpu_minor * GPU_INSTANCES + gpu_instance) * MINORS_PER_INSTANCE
}

/// Minor of `/dev/nvidia-caps/nvidia-cap<minor>` for a compute instance.
pub fn compute_instance_minor(gpu_minor: u32, gpu_instance: u32, compute_instance: u32) -> u32 {
    gpu_instance_minor(gpu_minor, gpu_instance) + 1 + compute_instance
}

/// `/proc/driver/nvidia-caps/mig-minors`: the driver lists every instance that there could be.
pub(crate) fn mig_minors() -> String {
    let mut text = String::from("config 1\nmonitor 2\n");
    for gpu in 0..MAX_GPUS {
        for gi in 0..GPU_INSTANCES {
            text += &format!("gpu{gpu}/gi{gi}/access {}\n", gpu_instance_minor(gpu, gi));
            for ci in 0..COMPUTE_INSTANCES {
                text += &format!(
                    "gpu{gpu}/gi{gi}/ci{ci}/access {}\n",
                    compute_instance_minor(gpu, gi, ci)
                );
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile;

    fn laid_out(names: &[&str]) -> Result<Vec<(String, u32)>, Error> {
        let mut state = State::new(profile::by_name("hgx-h100").unwrap());
        layout(&mut state, 0, names)?;
        let gpu = &state.gpus[0];
        Ok(gpu
            .mig
            .iter()
            .map(|instance| (instance.profile.clone(), instance.gpu_instance))
            .collect())
    }

    #[test]
    fn instances_get_the_ids_that_the_driver_gives() {
        let ids = |names: &[&str]| {
            laid_out(names)
                .unwrap()
                .into_iter()
                .map(|(_, id)| id)
                .collect::<Vec<_>>()
        };
        assert_eq!(ids(&["7g.80gb"]), [0]);
        assert_eq!(ids(&["3g.40gb", "3g.40gb"]), [1, 2]);
        assert_eq!(ids(&["1g.10gb"; 7]), [7, 8, 9, 10, 11, 12, 13]);
        assert_eq!(ids(&["4g.40gb", "2g.20gb", "1g.10gb"]), [1, 5, 13]);
        assert_eq!(ids(&["1g.10gb", "2g.20gb", "4g.40gb"]), [1, 5, 13]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(
            laid_out(&["4g.40gb", "4g.40gb"])
                .unwrap_err()
                .to_string()
                .contains("do not fit")
        );
        assert!(laid_out(&["1g.10gb"; 8]).is_err());
        assert!(laid_out(&["1g.5gb"]).unwrap_err().to_string().contains("use 1g.10gb"));
    }

    #[test]
    fn a_gpu_without_mig_says_so() {
        let mut state = State::new(profile::by_name("l40s").unwrap());
        assert!(
            layout(&mut state, 0, &["1g.10gb"])
                .unwrap_err()
                .to_string()
                .contains("NVIDIA L40S has no MIG")
        );
    }

    #[test]
    fn minors_are_the_drivers() {
        let text = mig_minors();
        assert!(text.starts_with("config 1\nmonitor 2\ngpu0/gi0/access 3\ngpu0/gi0/ci0/access 4\n"));
        assert!(text.contains("\ngpu0/gi1/access 12\n") && text.contains("\ngpu1/gi0/access 138\n"));
    }
}
