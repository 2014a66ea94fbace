//! The minors of `/dev/nvidia-caps`: fixed by the driver for every instance that there could be.

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

    #[test]
    fn minors_are_the_drivers() {
        let text = mig_minors();
        assert!(text.starts_with("config 1\nmonitor 2\ngpu0/gi0/access 3\ngpu0/gi0/ci0/access 4\n"));
        assert!(text.contains("\ngpu0/gi1/access 12\n") && text.contains("\ngpu1/gi0/access 138\n"));
        assert_eq!(text.lines().count(), 2 + 32 * 15 * 9);
    }
}
