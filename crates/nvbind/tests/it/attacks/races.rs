//! Another container swaps a folder for a link while containers start (CVE-2025-23359, CVE-2026-24260).

use super::bundle;
use super::image::{Image, Kind};
use crate::support::{Machine, companions};
use nvbind_testkit::{Dockerd, DockerdOptions, PodmanEnv};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Starts through runc in each race. `make attacks` sets `NVBIND_TEST_RACE_STARTS` to 1000 for every engine.
const RUNC_STARTS: usize = 100;
/// Starts through docker and podman, which take longer.
const ENGINE_STARTS: usize = 30;

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

/// The folder is one in which nothing is mounted with these capabilities: runc before 1.1.14 makes mount points on the host
/// in such a race (CVE-2024-45310), which is not nvbind's to mend.
fn runc_race(path: &str, capabilities: &str) {
    let machine = Machine::new("rtx4090");
    machine.cdi_spec();
    let image = Image::new(&machine, &[], Kind::Folder);
    let folder = machine.dir().join("bundle");
    bundle(&folder, image.rootfs(), &["/bin/busybox", "true"], capabilities);
    let original = std::fs::read(folder.join("config.json")).expect("config.json");
    let id = format!("nvbind-it-{}", path.replace('/', "-"));
    let mut started = 0;
    let swaps = race(&image, &image.rootfs().join(path), starts(RUNC_STARTS), || {
        std::fs::write(folder.join("config.json"), &original).expect("config.json");
        let mut run = Command::new(companions().0);
        run.envs(machine.vars())
            .arg("run")
            .arg("--bundle")
            .arg(&folder)
            .arg(&id);
        started += usize::from(run.output().expect("nvbind-runtime").status.success());
    });
    assert!(swaps > 1000, "only {swaps} swaps");
    assert!(started > 0, "no container started at all");
}

#[test]
fn runc_while_a_library_folder_is_swapped() {
    runc_race("usr/lib/x86_64-linux-gnu/gbm", "all");
}

#[test]
fn runc_while_etc_is_swapped() {
    runc_race("etc", "utility");
}

/// A volume that two containers share, in which a folder lies that the hook links into. Nothing is mounted there,
/// as in [`runc_race`].
fn shared_volume(image: &Image) -> (PathBuf, PathBuf) {
    let volume = image.rootfs().with_file_name("volume");
    let libraries = image.rootfs().join("usr/lib/x86_64-linux-gnu");
    for folder in [&volume, &libraries] {
        std::fs::create_dir_all(folder).expect("folder");
    }
    std::os::unix::fs::symlink("/shared/gbm", libraries.join("gbm")).expect("link");
    let folder = volume.join("gbm");
    (volume, folder)
}

/// The hook is at work in the volume while its folder stands still: a race about nothing would prove nothing.
fn assert_links(folder: &Path, start: impl Fn()) {
    std::fs::create_dir_all(folder).expect("folder");
    start();
    let link = folder.join("nvidia-drm_gbm.so");
    assert!(link.is_symlink(), "{} was not made", link.display());
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
    let start = || {
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
        .args([
            "-e",
            "NVIDIA_DRIVER_CAPABILITIES=all",
            "hostile:1",
            "/bin/busybox",
            "true",
        ]);
        run.output().expect("docker");
    };
    assert_links(&folder, start);
    race(&image, &folder, starts(ENGINE_STARTS), start);
}

#[test]
fn podman_while_a_shared_volume_is_swapped() {
    let machine = Machine::new("rtx4090");
    let image = Image::new(&machine, &[], Kind::Folder);
    let (volume, folder) = shared_volume(&image);
    let spec = podman_spec(&machine);
    let podman = PodmanEnv::new();
    let start = || {
        let mut run = podman.podman();
        run.args(["run", "--rm", "-v"])
            .arg(format!("{}:/shared", volume.display()))
            .arg(format!("--device={}=all", spec.kind))
            .arg("--rootfs")
            .arg(image.rootfs())
            .args(["/bin/busybox", "true"]);
        run.output().expect("podman");
    };
    assert_links(&folder, start);
    race(&image, &folder, starts(ENGINE_STARTS), start);
}
