//! `NVIDIA_REQUIRE_*`, requests by mounts, and devices that are no GPUs, through the shim.

use crate::support::{HOOK, Host, own_hook, script, stderr, write};
use nvbind_testkit::check;
use serde_json::{Value, json};
use std::process::{Command, Output};

/// A host whose spec says what it is.
fn told() -> Host {
    let host = Host::new();
    let mut spec = host.spec(&json!([own_hook(HOOK)]));
    spec["cdiVersion"] = "0.6.0".into();
    spec["annotations"] = json!({ "nvbind/driver-version": "535.183.01", "nvbind/cuda-version": "12.2" });
    for (device, capability) in spec["devices"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .zip(["9.0", "8.0", "8.0"])
    {
        device["annotations"] = json!({ "nvbind/compute-capability": capability, "nvbind/brand": "nvidia" });
    }
    write(&host.path("cdi/nvidia.json"), spec.to_string());
    host
}

/// Lets the shim edit a bundle, and nothing start.
fn create(host: &Host, env: &[&str], change: impl FnOnce(&mut Value)) -> Output {
    let bundle = host.bundle("true", env);
    let mut config = host.config();
    change(&mut config);
    write(&bundle.join("config.json"), config.to_string());
    let mut shim = host.shim();
    shim.env("NVBIND_RUNTIME_RUNTIMES", "/bin/true")
        .args(["create", "--bundle"])
        .arg(&bundle)
        .arg("x");
    shim.output().unwrap()
}

#[test]
fn a_requirement_that_is_not_met_stops_the_container() {
    let host = told();
    let table = [
        ("0", "cuda>=12.0", true),
        ("0", "cuda>=12.4", false),
        ("0", "cuda>=12.4 brand=nvidia,driver>=535,driver<536", true),
        ("0", "arch>=9.0", true),
        ("1", "arch>=9.0", false),
        ("all", "arch>=9.0", false),
        ("none", "arch>=9.0,cuda>=12", true),
    ];
    for (devices, requirement, met) in table {
        let env = [
            format!("NVIDIA_VISIBLE_DEVICES={devices}"),
            format!("NVIDIA_REQUIRE_CUDA={requirement}"),
        ];
        let out = create(&host, &env.each_ref().map(String::as_str), |_| {});
        assert_eq!(
            out.status.code(),
            Some(if met { 0 } else { 5 }),
            "{requirement}: {}",
            stderr(&out)
        );
        if !met {
            assert!(stderr(&out).contains("is not met: "), "{}", stderr(&out));
            assert_eq!(
                host.config()["mounts"].as_array().unwrap().len(),
                7,
                "nothing was changed"
            );
        }
    }
    let waived = create(
        &host,
        &[
            "NVIDIA_VISIBLE_DEVICES=0",
            "NVIDIA_REQUIRE_CUDA=cuda>=99",
            "NVIDIA_DISABLE_REQUIRE=1",
        ],
        |_| {},
    );
    assert!(waived.status.success(), "{}", stderr(&waived));
}

#[test]
fn the_toolkits_own_configuration_is_heard() {
    let host = told();
    let file = host.path("toolkit/nvidia-container-runtime/config.toml");
    write(
        &file,
        format!(
            "disable-require = true\naccept-nvidia-visible-devices-as-volume-mounts = true\n[nvidia-container-runtime]\nruntimes = [\"/bin/true\"]\n\
             [nvidia-container-runtime.modes.cdi]\nspec-dirs = [\"{}\"]\n",
            host.path("cdi").display()
        ),
    );
    let bundle = host.bundle("true", &["NVIDIA_REQUIRE_CUDA=cuda>=99"]);
    let mut config = host.config();
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts.push(json!({ "source": "/dev/null", "destination": "/var/run/nvidia-container-devices/GPU-1" }));
    write(&bundle.join("config.json"), config.to_string());
    let mut shim = host.shim();
    shim.env_remove("NVBIND_CONFIG")
        .env("NVIDIA_CTK_CONFIG_FILE_PATH", &file)
        .env("HOME", host.path("home"))
        .args(["create", "--bundle"])
        .arg(&bundle)
        .arg("x");
    let out = shim.output().unwrap();
    assert!(out.status.success(), "{}", stderr(&out));
    let devices = host.config()["linux"]["devices"].to_string();
    assert!(
        devices.contains("/dev/nvidia1") && !devices.contains("/dev/nvidia0"),
        "{devices}"
    );
}

#[test]
fn imex_channels_and_gpudirect_come_without_a_gpu() {
    let host = Host::new();
    let folder = host.path("dev/nvidia-caps-imex-channels");
    std::fs::create_dir_all(&folder).unwrap();
    check(
        Command::new("mknod")
            .arg(folder.join("channel3"))
            .args(["c", "235", "3"]),
    );
    check(
        Command::new("mknod")
            .arg(host.path("dev/gdrdrv"))
            .args(["c", "236", "0"]),
    );
    let spec = json!({ "cdiVersion": "0.5.0", "kind": "nvidia.com/gdrcopy",
        "devices": [{ "name": "all", "containerEdits": { "deviceNodes": [{ "path": "/dev/gdrdrv", "hostPath": host.path("dev/gdrdrv") }] } }] });
    write(&host.path("cdi/gdrcopy.json"), spec.to_string());
    let config = std::fs::read_to_string(host.path("config.toml")).unwrap();
    write(
        &host.path("config.toml"),
        format!("{config}[host]\ndev_root = \"{}\"\n", host.dir.path().display()),
    );
    let out = create(&host, &["NVIDIA_IMEX_CHANNELS=3", "NVIDIA_GDRCOPY=enabled"], |_| {});
    assert!(out.status.success(), "{}", stderr(&out));
    let devices = host.config()["linux"]["devices"].clone();
    let paths: Vec<&str> = devices
        .as_array()
        .unwrap()
        .iter()
        .map(|device| device["path"].as_str().unwrap())
        .collect();
    assert_eq!(paths, ["/dev/gdrdrv", "/dev/nvidia-caps-imex-channels/channel3"]);
    let out = create(&host, &["NVIDIA_IMEX_CHANNELS=4"], |_| {});
    assert_eq!(out.status.code(), Some(5), "{}", stderr(&out));
    assert!(stderr(&out).contains("channel4"), "{}", stderr(&out));
}

#[test]
fn what_a_spec_does_not_say_is_asked_of_the_driver() {
    let host = Host::new();
    let shim = host.path("bin/nvbind-runtime");
    std::fs::create_dir_all(host.path("bin")).unwrap();
    std::fs::copy(crate::support::SHIM, &shim).unwrap();
    let mut spec = host.spec(&json!([own_hook(HOOK)]));
    spec["cdiVersion"] = "0.6.0".into();
    spec["annotations"] = json!({ "nvbind/driver-version": "550.1", "nvbind/cuda-version": "12.4" });
    write(&host.path("answer.json"), spec.to_string());
    script(
        &host.path("bin/nvbind"),
        &format!("cat {}", host.path("answer.json").display()),
    );
    let bundle = host.bundle("true", &["NVIDIA_VISIBLE_DEVICES=0", "NVIDIA_REQUIRE_CUDA=cuda>=12.4"]);
    let mut command = Command::new(&shim);
    command
        .env("NVBIND_CONFIG", host.path("config.toml"))
        .env("NVBIND_STATE_DIR", host.path("state-of-nvbind"))
        .env("NVBIND_RUNTIME_RUNTIMES", "/bin/true")
        .args(["create", "--bundle"])
        .arg(&bundle)
        .arg("x");
    let out = command.output().unwrap();
    assert!(out.status.success(), "{}", stderr(&out));
}
