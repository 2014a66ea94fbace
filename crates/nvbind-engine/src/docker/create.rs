//! The container that docker is asked for: a pure function of the workload.

use super::Error;
use super::inject::Injection;
use crate::access::environment;
use crate::{BINDING_LABEL, GpuAccess};
use bollard::models::{ContainerCreateBody, DeviceRequest, HostConfig, Mount, MountType};
use nvbind_workload::{ImageRef, Volume, Workload};
use std::collections::HashMap;
use std::path::Path;

/// Nanoseconds of processor time in a second: docker's unit of a CPU.
const NANO_CPUS: f64 = 1e9;

/// The image of a workload, when docker can run it.
pub(super) fn image(workload: &Workload) -> Result<&str, Error> {
    let refused = |what: String| Error::Image { what };
    match (&workload.rootfs, &workload.image) {
        (Some(rootfs), _) => Err(refused(format!("the root file system {}", rootfs.display()))),
        (None, Some(ImageRef::Name(name))) => Ok(name),
        (None, Some(layout)) => Err(refused(format!("the image layout '{layout}'"))),
        (None, None) => Err(refused("a workload without an image".into())),
    }
}

/// The body of docker's "create a container". `console`: rows and columns of the terminal.
pub(super) fn body(
    workload: &Workload,
    image: &str,
    gpu: &GpuAccess,
    injection: &Injection,
    binding: &str,
    console: Option<(u16, u16)>,
) -> Result<ContainerCreateBody, Error> {
    let attached = !workload.detach;
    Ok(ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: Some(workload.command.clone()).filter(|command| !command.is_empty()),
        env: Some(environment(workload, &variables(gpu, injection))),
        working_dir: workload.workdir.as_deref().map(text),
        user: workload.user.clone(),
        hostname: workload.hostname.clone(),
        tty: Some(workload.tty),
        open_stdin: Some(workload.stdin),
        stdin_once: Some(workload.stdin && attached),
        attach_stdin: Some(workload.stdin && attached),
        attach_stdout: Some(attached),
        attach_stderr: Some(attached),
        labels: Some(HashMap::from([(BINDING_LABEL.to_owned(), binding.to_owned())])),
        host_config: Some(host_config(workload, injection, console)?),
        ..ContainerCreateBody::default()
    })
}

fn host_config(workload: &Workload, injection: &Injection, console: Option<(u16, u16)>) -> Result<HostConfig, Error> {
    let mounts = workload.volumes.iter().map(mount).collect::<Result<Vec<_>, _>>()?;
    let (runtime, device_requests) = match injection {
        Injection::None => (None, None),
        Injection::Runtime(name) => (Some(name.clone()), None),
        Injection::Cdi(names) => (None, Some(vec![cdi_request(names)])),
    };
    Ok(HostConfig {
        network_mode: Some(workload.network.to_string()),
        memory: workload
            .memory_bytes
            .map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
        nano_cpus: workload.cpus.map(|cpus| (cpus * NANO_CPUS) as i64),
        readonly_rootfs: Some(workload.read_only),
        console_size: console.map(|(rows, columns)| vec![rows.into(), columns.into()]),
        mounts: Some(mounts).filter(|mounts| !mounts.is_empty()),
        runtime,
        device_requests,
        ..HostConfig::default()
    })
}

/// With CDI the daemon does it all: should its default runtime be a shim, that one is to keep out.
fn variables(gpu: &GpuAccess, injection: &Injection) -> Vec<(String, String)> {
    match injection {
        Injection::Cdi(_) | Injection::None => GpuAccess::none().variables(),
        Injection::Runtime(_) => gpu.variables(),
    }
}

fn cdi_request(names: &[String]) -> DeviceRequest {
    DeviceRequest {
        driver: Some("cdi".into()),
        device_ids: Some(names.to_vec()),
        ..DeviceRequest::default()
    }
}

/// A bind mount of a path that must exist: docker's `-v` would make a folder in its place.
fn mount(volume: &Volume) -> Result<Mount, Error> {
    let source = std::path::absolute(&volume.source).map_err(Error::Local)?;
    Ok(Mount {
        typ: Some(MountType::BIND),
        source: Some(text(&source)),
        target: Some(text(&volume.target)),
        read_only: Some(volume.read_only),
        ..Mount::default()
    })
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nvbind_gpu::Capabilities;
    use nvbind_workload::Network;
    use serde_json::{Value, json};

    fn gpu() -> GpuAccess {
        GpuAccess {
            devices: vec!["GPU-a".into(), "GPU-b".into()],
            capabilities: Capabilities::DEFAULT,
        }
    }

    fn made(workload: &Workload, injection: &Injection) -> Value {
        let image = image(workload).unwrap();
        serde_json::to_value(body(workload, image, &gpu(), injection, "b1", Some((24, 80))).unwrap()).unwrap()
    }

    fn workload() -> Workload {
        Workload {
            image: Some(ImageRef::Name("debian:12".into())),
            ..Workload::new("job")
        }
    }

    #[test]
    fn everything_of_a_workload_reaches_docker() {
        let workload = Workload {
            command: vec!["train".into(), "-x".into()],
            env: vec![("A".into(), "1".into())],
            workdir: Some("/work".into()),
            user: Some("1000:1000".into()),
            volumes: vec!["/data:/mnt:ro".parse().unwrap()],
            tty: true,
            stdin: true,
            network: Network::Host,
            memory_bytes: Some(1 << 30),
            cpus: Some(1.5),
            hostname: Some("box".into()),
            read_only: true,
            ..workload()
        };
        let expected = json!({
            "Image": "debian:12",
            "Cmd": ["train", "-x"],
            "Env": ["A=1", "NVIDIA_VISIBLE_DEVICES=GPU-a,GPU-b", "NVIDIA_DRIVER_CAPABILITIES=compute,utility"],
            "WorkingDir": "/work",
            "User": "1000:1000",
            "Hostname": "box",
            "Tty": true, "OpenStdin": true, "StdinOnce": true,
            "AttachStdin": true, "AttachStdout": true, "AttachStderr": true,
            "Labels": { "nvbind.binding": "b1" },
            "HostConfig": {
                "NetworkMode": "host",
                "ConsoleSize": [24, 80],
                "Memory": 1_073_741_824,
                "NanoCpus": 1_500_000_000,
                "ReadonlyRootfs": true,
                "Mounts": [{ "Type": "bind", "Source": "/data", "Target": "/mnt", "ReadOnly": true }],
                "Runtime": "nvbind",
            },
        });
        assert_eq!(made(&workload, &Injection::Runtime("nvbind".into())), expected);
    }

    #[test]
    fn cdi_devices_go_by_their_names_and_keep_shims_out() {
        let made = made(&workload(), &Injection::Cdi(vec!["nvidia.com/gpu=GPU-a".into()]));
        let request = json!([{ "Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=GPU-a"] }]);
        assert_eq!(made["HostConfig"]["DeviceRequests"], request);
        assert_eq!(made["Env"], json!(["NVIDIA_VISIBLE_DEVICES=void"]));
        assert_eq!(made["HostConfig"].get("Runtime"), None);
    }

    #[test]
    fn a_root_file_system_or_a_layout_is_not_for_docker() {
        let rootfs = Workload {
            rootfs: Some("/srv/root".into()),
            ..workload()
        };
        let layout = Workload {
            image: Some("oci:/srv/image".parse().unwrap()),
            ..Workload::new("job")
        };
        for refused in [&rootfs, &layout, &Workload::new("job")] {
            assert_eq!(image(refused).unwrap_err().exit_code(), 2);
        }
    }
}
