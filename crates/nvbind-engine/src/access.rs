//! The GPUs of a container, as an engine that is not nvbind's own is told about them.

use nvbind_gpu::Capabilities;
use nvbind_workload::Workload;

/// Which devices a container gets. Read by `nvbind-runtime` inside of the engine.
const VISIBLE_DEVICES: &str = "NVIDIA_VISIBLE_DEVICES";
/// Which driver files a container gets.
const DRIVER_CAPABILITIES: &str = "NVIDIA_DRIVER_CAPABILITIES";
/// The value of `NVIDIA_VISIBLE_DEVICES` that means "leave this container alone".
const VOID: &str = "void";

/// The GPUs that were chosen for a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuAccess {
    /// UUIDs: `GPU-...` or `MIG-...`.
    pub devices: Vec<String>,
    /// Driver capabilities to go with them.
    pub capabilities: Capabilities,
}

impl GpuAccess {
    /// No GPU and no driver.
    pub fn none() -> Self {
        Self {
            devices: Vec::new(),
            capabilities: Capabilities::NONE,
        }
    }

    /// The variables that ask `nvbind-runtime` for these devices. Always both: the image may ask for others.
    pub fn variables(&self) -> Vec<(String, String)> {
        if self.devices.is_empty() {
            return vec![(VISIBLE_DEVICES.into(), VOID.into())];
        }
        vec![
            (VISIBLE_DEVICES.into(), self.devices.join(",")),
            (DRIVER_CAPABILITIES.into(), self.capabilities.to_string()),
        ]
    }
}

/// The environment of a workload, each name once (the last entry wins), with `gpu` in place of whatever the workload
/// says about GPUs: what a container gets is what was bound to it.
pub(crate) fn environment(workload: &Workload, gpu: &[(String, String)]) -> Vec<String> {
    let own = |name: &str| name == VISIBLE_DEVICES || gpu.iter().any(|(ours, _)| ours == name);
    let user: Vec<&(String, String)> = workload.env.iter().filter(|(name, _)| !own(name)).collect();
    let last = |at: usize| !user[at + 1..].iter().any(|(name, _)| *name == user[at].0);
    let user = user
        .iter()
        .enumerate()
        .filter(|(at, _)| last(*at))
        .map(|(_, entry)| *entry);
    user.chain(gpu).map(|(name, value)| format!("{name}={value}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(env: &[(&str, &str)]) -> Workload {
        let env = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Workload {
            env,
            ..Workload::new("job")
        }
    }

    #[test]
    fn the_bound_devices_win_over_what_the_user_says() {
        let gpu = GpuAccess {
            devices: vec!["GPU-a".into(), "GPU-b".into()],
            capabilities: Capabilities::DEFAULT,
        };
        let workload = workload(&[("A", "1"), ("NVIDIA_VISIBLE_DEVICES", "all"), ("B", "2"), ("A", "3")]);
        assert_eq!(
            environment(&workload, &gpu.variables()),
            [
                "B=2",
                "A=3",
                "NVIDIA_VISIBLE_DEVICES=GPU-a,GPU-b",
                "NVIDIA_DRIVER_CAPABILITIES=compute,utility"
            ]
        );
    }

    #[test]
    fn without_gpus_an_image_that_asks_for_all_gets_none() {
        assert_eq!(
            environment(&workload(&[]), &GpuAccess::none().variables()),
            ["NVIDIA_VISIBLE_DEVICES=void"]
        );
    }
}
