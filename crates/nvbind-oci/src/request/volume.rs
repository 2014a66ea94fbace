//! Devices named by mounts of `/dev/null`, as the Kubernetes device plugin does with `volume-mounts`: an image cannot
//! forge them.

use nvbind_config::RequestConfig;
use serde_json::Value;

/// The folder of the mounts; also what `NVIDIA_VISIBLE_DEVICES` says then.
pub(super) const FOLDER: &str = "/var/run/nvidia-container-devices";

/// What the mounts name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Mounted {
    /// GPUs, and CDI devices by their qualified names.
    pub(super) devices: Vec<String>,
    /// IMEX channels.
    pub(super) imex_channels: Vec<String>,
}

/// The names, where the configuration allows to give them so.
pub(super) fn names(config: &Value, heard: &RequestConfig) -> Mounted {
    let mut mounted = Mounted::default();
    if !heard.volume_mounts {
        return mounted;
    }
    let mounts = config.get("mounts").and_then(Value::as_array);
    for mount in mounts
        .into_iter()
        .flatten()
        .filter(|mount| mount["source"] == "/dev/null")
    {
        let destination = mount["destination"].as_str().unwrap_or_default();
        match destination.strip_prefix(FOLDER).and_then(|rest| rest.strip_prefix('/')) {
            None | Some("") => {}
            Some(name) => mounted.add(name),
        }
    }
    mounted
}

impl Mounted {
    fn add(&mut self, name: &str) {
        if let Some(channel) = name.strip_prefix("imex/") {
            self.imex_channels.push(channel.to_owned());
        } else if let Some(device) = name.strip_prefix("cdi/") {
            self.devices.push(qualified(device));
        } else {
            self.devices.push(name.to_owned());
        }
    }
}

/// `vendor/class/device` and `vendor/class=device` are the same.
fn qualified(path: &str) -> String {
    match path.rsplit_once('/') {
        Some((kind, device)) if !path.contains('=') => format!("{kind}={device}"),
        _ => path.to_owned(),
    }
}
