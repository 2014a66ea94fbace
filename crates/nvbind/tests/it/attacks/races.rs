//! Another container swaps a folder for a link while containers start (CVE-2025-23359, CVE-2026-24260).

use super::bundle;
use super::image::{Image, Kind};
use crate::support::{Machine, companions};
use nvbind_testkit::{Dockerd, DockerdOptions, PodmanEnv};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Starts through runc in each race; `NVBIND_TEST_RACE_STARTS` sets them for every engine.
const RUNC_STARTS: usize = 1000;
/// Starts through docker and podman, which take ten times as long: `make attacks` does 1000 of them too.
const ENGINE_STARTS: usize = 60;

fn starts(default: usize) -> usize {
    let set = std::env::var("NVBIND_TEST_RACE_STARTS");
    set.map_or(default, |text| {
        text.parse().expect("NVBIND_TEST_RACE_STARTS is a number")
    })
}

/// A spec under a vendor of the test's own: podman of Debian 12 looks in two folders and nowhere else.
pub(super) struct Spec {
    pub(super) kind: String,
    file: PathBuf,
}

pub(super) fn podman_spec(machine: &Machine) -> Spec {
    let name = machine
        .dir()
        .file_name()
        .expect("name")
        .to_string_lossy()
        .to_ascii_lowercase();
    let vendor = format!("a{}.nvbind.io", name.replace(|c: char| !c.is_ascii_alphanumeric(), ""));
    let file = PathBuf::from(format!("/var/run/cdi/nvbind-{name}.yaml"));
    std::fs::create_dir_all("/var/run/cdi").expect("/var/run/cdi");
    let output = file.display().to_string();
    machine.ok(&[
        "cdi",
        "generate",
        "--cdi-version",
        "0.5.0",
        "--vendor",
        &vendor,
        "--output",
        &output,
    ]);
    Spec {
        kind: format!("{vendor}/gpu"),
        file,
    }
}

impl Drop for Spec {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

/// Swaps a folder and a link to the canaries without pause while `start` is called so many times. Returns the swaps.
fn race(image: &Image, folder: &Path, times: usize, mut start: impl FnMut()) -> u64 {
    let evil = folder.with_file_name("evil");
    std::fs::create_dir_all(folder).expect("folder");
    std::os::unix::fs::symlink(image.canary(""), &evil).expect("link");
    let (stop, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = renameat_with(CWD, folder, CWD, &evil, RenameFlags::EXCHANGE);
                swaps.fetch_add(1, Ordering::Relaxed);
                // The other core is the containers'.
                std::thread::sleep(std::time::Duration::from_micros(20));
            }
        });
        (0..times).for_each(|_| start());
        stop.store(true, Ordering::Relaxed);
    });
    image.assert_unharmed(&format!("race on {}", folder.display()));
    swaps.load(Ordering::Relaxed)
}

fn runc_race(path: &str) {
    let machine = Machine::new("rtx4090");
    machine.cdi_spec();
    let image = Image::new(&machine, &[], Kind::Folder);
    let folder = machine.dir().join("bundle");
    bundle(&folder, image.rootfs(), &["/bin/busybox", "true"]);
    let original = std::fs::read(folder.join("config.json")).expect("config.json");
    let mut started = 0;
    let swaps = race(&image, &image.rootfs().join(path), starts(RUNC_STARTS), || {
        std::fs::write(folder.join("config.json"), &original).expect("config.json");
        let mut run = Command::new(companions().0);
        run.envs(machine.vars())
            .arg("run")
            .arg("--bundle")
            .arg(&folder)
            .arg("nvbind-it-race");
        started += usize::from(run.output().expect("nvbind-runtime").status.success());
    });
    assert!(swaps > 1000, "only {swaps} swaps");
    assert!(started > 0, "no container started at all");
}

#[test]
fn runc_while_the_library_folder_is_swapped() {
    runc_race("usr/lib/x86_64-linux-gnu");
}

#[test]
fn runc_while_etc_is_swapped() {
    runc_race("etc");
}

/// A volume that two containers share, in which the image's library folder lies: the hook does the work there.
fn shared_volume(image: &Image) -> (PathBuf, PathBuf) {
    let volume = image.rootfs().with_file_name("volume");
    std::fs::create_dir_all(volume.join("lib")).expect("volume");
    std::fs::create_dir_all(image.rootfs().join("usr/lib")).expect("folder");
    std::os::unix::fs::symlink("/shared/lib", image.rootfs().join("usr/lib/x86_64-linux-gnu")).expect("link");
    let folder = volume.join("lib");
    (volume, folder)
}

#[test]
fn docker_while_a_shared_volume_is_swapped() {
    let machine = Machine::new("rtx4090");
    machine.cdi_spec();
    let image = Image::new(&machine, &[], Kind::Folder);
    let (volume, folder) = shared_volume(&image);
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
    daemon.import(image.rootfs(), "hostile:1");
    race(&image, &folder, starts(ENGINE_STARTS), || {
        let mut run = daemon.client();
        run.args([
            "run",
            "--rm",
            "--network=none",
            "--runtime=nvbind",
            "-e",
            "NVIDIA_VISIBLE_DEVICES=all",
            "-v",
        ])
        .arg(format!("{}:/shared", volume.display()))
        .args(["hostile:1", "/bin/busybox", "true"]);
        run.output().expect("docker");
    });
}

#[test]
fn podman_while_a_shared_volume_is_swapped() {
    let machine = Machine::new("rtx4090");
    let image = Image::new(&machine, &[], Kind::Folder);
    let (volume, folder) = shared_volume(&image);
    let spec = podman_spec(&machine);
    let podman = PodmanEnv::new();
    race(&image, &folder, starts(ENGINE_STARTS), || {
        let mut run = podman.podman();
        run.args(["run", "--rm", "-v"])
            .arg(format!("{}:/shared", volume.display()))
            .arg(format!("--device={}=all", spec.kind))
            .arg("--rootfs")
            .arg(image.rootfs())
            .args(["/bin/busybox", "true"]);
        run.output().expect("podman");
    });
}
