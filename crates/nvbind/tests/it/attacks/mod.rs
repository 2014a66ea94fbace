//! Images that attack the host through runc, docker and podman: the classes of CVE-2024-0132 to -0137, CVE-2025-23266,
//! -23267, -23359 and CVE-2026-24260, with canaries beside them.
//!
//! A container of such an image may start or be refused. Nothing outside of it may change, and none of the host's files may
//! be mounted in it but those of the driver.

mod image;
mod mountinfo;
mod races;

use crate::support::{Machine, companions, stderr, stdout};
use image::{Image, Kind};
use nvbind_testkit::{Dockerd, DockerdOptions, PodmanEnv};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};

/// What every hostile container runs: its own view of the mounts.
const LOOK: [&str; 2] = ["/bin/busybox", "cat"];
const MOUNTINFO: &str = "/proc/self/mountinfo";

/// Paths of a container that nvbind or an engine mounts onto, reads or writes.
const PATHS: [&str; 16] = [
    "etc",
    "etc/ld.so.cache",
    "etc/ld.so.conf",
    "etc/ld.so.conf.d",
    "etc/ld-musl-x86_64.path",
    "etc/vulkan",
    "etc/OpenCL",
    "usr/bin/nvidia-smi",
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/x86_64-linux-gnu/libcuda.so.1",
    "usr/lib/x86_64-linux-gnu/gbm",
    "usr/local/cuda/compat",
    "usr/local/cuda/compat/libcuda.so.999.1",
    "usr/share",
    "lib/firmware",
    "run",
];

/// A bundle on the image's root for runc, that asks for every GPU and these parts of the driver.
pub(crate) fn bundle(folder: &Path, rootfs: &Path, arguments: &[&str], capabilities: &str) {
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder).expect("bundle");
    nvbind_testkit::check(Command::new("runc").arg("spec").current_dir(folder));
    let path = folder.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).expect("config.json")).expect("JSON");
    config["root"] = json!({ "path": rootfs, "readonly": false });
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(arguments);
    let env = config["process"]["env"].as_array_mut().expect("env");
    env.push("NVIDIA_VISIBLE_DEVICES=all".into());
    env.push(format!("NVIDIA_DRIVER_CAPABILITIES={capabilities}").into());
    env.extend(image::HOSTILE_ENV.map(Value::from));
    std::fs::write(&path, config.to_string()).expect("config.json");
}

/// The container's mounts, where it started, are none of the host's but the driver's; nothing outside changed.
fn assert_harmless(machine: &Machine, image: &Image, output: &Output, engine: &[&Path], what: &str) {
    image.assert_unharmed(what);
    let text = stdout(output);
    if output.status.success() {
        mountinfo::assert_allowed(&text, machine, image, engine, what);
    } else {
        // Fails closed, and says why.
        assert!(!stderr(output).is_empty(), "{what}: no word about why");
    }
}

fn look() -> [&'static str; 3] {
    [LOOK[0], LOOK[1], MOUNTINFO]
}

#[test]
fn runc_is_led_nowhere() {
    let machine = Machine::new("rtx4090");
    machine.cdi_spec();
    let folder = machine.dir().join("bundle");
    let mut started = 0;
    for path in PATHS {
        for kind in Kind::ALL {
            let image = Image::new(&machine, &[path], kind);
            bundle(&folder, image.rootfs(), &look(), "all");
            let mut run = Command::new(companions().0);
            run.envs(machine.vars())
                .arg("run")
                .arg("--bundle")
                .arg(&folder)
                .arg("nvbind-it-attack");
            let output = run.output().expect("nvbind-runtime");
            started += usize::from(output.status.success());
            assert_harmless(&machine, &image, &output, &[], &format!("runc: {path} {kind:?}"));
        }
    }
    assert!(
        started > PATHS.len(),
        "only {started} containers started: the images are broken, not hostile"
    );
}

#[test]
fn docker_is_led_nowhere() {
    let machine = Machine::new("rtx4090");
    machine.cdi_spec();
    let env = machine
        .vars()
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let daemon = Dockerd::start(&DockerdOptions {
        runtimes: vec![("nvbind".into(), companions().0)],
        default_runtime: None,
        env,
    });
    let data = daemon.socket().parent().expect("folder").to_owned();
    let mut started = 0;
    for (paths, kind) in image::combined(&PATHS) {
        let image = Image::new(&machine, &paths, kind);
        daemon.import(image.rootfs(), "hostile:1");
        let mut run = daemon.client();
        run.args([
            "run",
            "--rm",
            "--network=none",
            "--runtime=nvbind",
            "-e",
            "NVIDIA_VISIBLE_DEVICES=all",
        ])
        .args(["-e", "NVIDIA_DRIVER_CAPABILITIES=all"])
        .args(image::HOSTILE_ENV.iter().flat_map(|entry| ["-e", entry]))
        .arg("hostile:1")
        .args(look());
        let output = run.output().expect("docker");
        started += usize::from(output.status.success());
        assert_harmless(
            &machine,
            &image,
            &output,
            &[&data],
            &format!("docker: {paths:?} {kind:?}"),
        );
    }
    assert!(
        started > 5,
        "only {started} containers started: the images are broken, not hostile"
    );
}

#[test]
fn podman_is_led_nowhere() {
    let machine = Machine::new("rtx4090");
    let podman = PodmanEnv::new();
    let spec = races::podman_spec(&machine);
    let mut started = 0;
    for (paths, kind) in image::combined(&PATHS) {
        let image = Image::new(&machine, &paths, kind);
        let mut run = podman.podman();
        run.args(["run", "--rm"])
            .arg(format!("--device={}=all", spec.kind))
            .args(image::HOSTILE_ENV.iter().flat_map(|entry| ["-e", entry]))
            .arg("--rootfs")
            .arg(image.rootfs())
            .args(look());
        let output = run.output().expect("podman");
        started += usize::from(output.status.success());
        assert_harmless(
            &machine,
            &image,
            &output,
            &[podman.path()],
            &format!("podman: {paths:?} {kind:?}"),
        );
    }
    assert!(
        started > 5,
        "only {started} containers started: the images are broken, not hostile"
    );
}

/// A lint over what nvbind can produce: no hook without an environment, none that is not nvbind's own.
#[test]
fn no_spec_has_a_hook_without_an_environment() {
    for profile in [
        "dgx-a100",
        "hgx-h100",
        "hgx-b200",
        "l40s",
        "t4",
        "rtx5090",
        "rtx4090",
        "laptop-rtx4060",
    ] {
        let machine = Machine::new(profile);
        for options in [
            &[][..],
            &["--device-id=none"],
            &["--cdi-version=0.5.0"],
            &["--feature-flag=enable-explicit-driver-libraries"],
        ] {
            let mut arguments = vec!["cdi", "generate", "--format=json"];
            arguments.extend(options);
            let spec: Value = serde_json::from_str(&machine.ok(&arguments)).expect("a spec");
            let devices = spec["devices"].as_array().expect("devices").iter();
            let all = devices.chain([&spec]).map(|part| &part["containerEdits"]);
            let hooks: Vec<&Value> = all.filter_map(|edits| edits["hooks"].as_array()).flatten().collect();
            assert!(!hooks.is_empty(), "{profile} {options:?} has no hook to look at");
            for hook in hooks {
                let env = hook["env"].as_array().map_or(0, Vec::len);
                assert!(env > 0, "{profile} {options:?}: {hook}");
                assert!(
                    hook["path"].as_str().is_some_and(|path| path.ends_with("/nvbind-hook")),
                    "{hook}"
                );
            }
        }
    }
}
