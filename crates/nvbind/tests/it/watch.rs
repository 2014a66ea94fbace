//! `nvbind cdi watch`: every kind of change leads to a right spec within two seconds, and nothing leaves half of one.

use crate::crash::traced;
use crate::support::{Machine, companions, stderr};
use nvbind_testkit::{check, temp_dir, wait_until};
use serde_json::Value;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What a change may take to reach the spec.
const LIMIT: Duration = Duration::from_secs(2);

/// A running `nvbind cdi watch`.
struct Watcher {
    child: Child,
    spec: PathBuf,
    log: PathBuf,
}

impl Watcher {
    /// Starts it, and waits for the first spec.
    fn start(mut nvbind: Command, dir: &Path) -> Self {
        let (spec, log) = (dir.join("cdi/nvidia.json"), dir.join("watch.log"));
        nvbind
            .args(["cdi", "watch", "--format", "json"])
            .stdin(Stdio::null())
            .stderr(fs::File::create(&log).expect("log"));
        let child = nvbind.spawn().expect("nvbind cdi watch");
        let mut watcher = Self { child, spec, log };
        wait_until("the first spec", || {
            let ended = watcher.child.try_wait().expect("wait");
            assert!(ended.is_none(), "{ended:?}: {}", watcher.said());
            watcher.spec.exists()
        });
        watcher
    }

    fn of(machine: &Machine) -> Self {
        Self::start(machine.nvbind(), machine.dir())
    }

    fn spec(&self) -> Value {
        let text = fs::read_to_string(&self.spec).expect("spec");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("half a spec: {error}\n{text}"))
    }

    /// The names of the devices.
    fn devices(&self) -> Vec<String> {
        let spec = self.spec();
        let devices = spec["devices"].as_array().expect("devices");
        devices
            .iter()
            .map(|device| device["name"].as_str().expect("name").to_owned())
            .collect()
    }

    fn has(&self, name: &str) -> bool {
        self.devices().iter().any(|device| device == name)
    }

    /// Makes a change, and waits for the spec to follow it. Panics when that takes longer than [`LIMIT`].
    fn follows(&self, what: &str, change: impl FnOnce(), is_right: impl Fn(&Self) -> bool) {
        change();
        let start = Instant::now();
        while !is_right(self) {
            assert!(
                start.elapsed() < LIMIT,
                "{what}: not in the spec after {LIMIT:?}\n{}\n{}",
                self.said(),
                self.devices().join(" ")
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        eprintln!("{what}: in the spec after {:?}", start.elapsed());
    }

    /// What it wrote on standard error.
    fn said(&self) -> String {
        fs::read_to_string(&self.log).expect("log")
    }

    fn signal(&self, name: &str) {
        check(Command::new("kill").args([name, &self.child.id().to_string()]));
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn root(machine: &Machine) -> PathBuf {
    machine.ok(&["sim", "path"]).trim().into()
}

fn mknod(path: &Path, major: u32, minor: u64) {
    check(
        Command::new("mknod")
            .args(["-m", "666"])
            .arg(path)
            .args(["c", &major.to_string(), &minor.to_string()]),
    );
}

#[test]
fn a_node_that_goes_and_comes_back() {
    let machine = Machine::new("dgx-a100");
    let (minors, root) = (machine.minors(), root(&machine));
    let watcher = Watcher::of(&machine);
    let node = root.join(format!("dev/nvidia{}", minors[3]));
    let last = |watcher: &Watcher| watcher.has("7");
    assert!(last(&watcher));
    watcher.follows(
        "a GPU's node is gone",
        || fs::remove_file(&node).expect("rm"),
        |watcher| !last(watcher),
    );
    watcher.follows("a GPU's node is back", || mknod(&node, 195, minors[3]), last);
}

#[test]
fn missing_control_nodes_are_made() {
    let machine = Machine::new("t4");
    let root = root(&machine);
    for node in ["nvidiactl", "nvidia-modeset", "nvidia-uvm", "nvidia-uvm-tools"] {
        fs::remove_file(root.join("dev").join(node)).expect("rm");
    }
    let watcher = Watcher::of(&machine);
    let all = [
        "/dev/nvidiactl",
        "/dev/nvidia-modeset",
        "/dev/nvidia-uvm",
        "/dev/nvidia-uvm-tools",
    ];
    let are_there = |watcher: &Watcher| {
        let text = watcher.spec().to_string();
        all.iter()
            .all(|node| text.contains(&format!("\"{node}\"")) && root.join(&node[1..]).exists())
    };
    assert!(are_there(&watcher), "{}", watcher.spec());
    let uvm = root.join("dev/nvidia-uvm");
    watcher.follows(
        "nvidia-uvm is made again",
        || fs::remove_file(&uvm).expect("rm"),
        |watcher| uvm.exists() && are_there(watcher),
    );
    let link = fs::read_link(root.join("dev/char/195:255")).expect("link by number");
    assert_eq!(link, Path::new("../nvidiactl"));
}

#[test]
fn modules_that_are_not_loaded_are_asked_for() {
    let machine = Machine::new("t4");
    let root = root(&machine);
    let devices = root.join("proc/devices");
    let text = fs::read_to_string(&devices).expect("devices");
    let without: Vec<&str> = text.lines().filter(|line| !line.ends_with("nvidia-uvm")).collect();
    fs::write(&devices, without.join("\n")).expect("write");
    // There is no module to load here: a program of that name tells what it was asked for.
    let (bin, asked) = (machine.dir().join("bin"), machine.dir().join("asked"));
    fs::create_dir(&bin).expect("folder");
    let script = format!("#!/bin/sh\necho \"$@\" >> {}\nexit 1\n", asked.display());
    fs::write(bin.join("modprobe"), script).expect("write");
    check(Command::new("chmod").arg("+x").arg(bin.join("modprobe")));
    let once = |options: &[&str]| {
        let mut command = machine.nvbind();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("PATH"));
        command.env("PATH", path).args(["cdi", "watch", "--once"]).args(options);
        command.output().expect("nvbind")
    };
    assert!(
        once(&[]).status.success() && !asked.exists(),
        "modules are loaded only when that is asked for"
    );
    let output = once(&["--load-kernel-modules"]);
    assert!(
        output.status.success(),
        "a module that does not load costs no spec: {}",
        stderr(&output)
    );
    assert!(
        stderr(&output).contains("modprobe nvidia-uvm: exit status: 1"),
        "{}",
        stderr(&output)
    );
    let asked = fs::read_to_string(&asked).expect("asked");
    assert_eq!(asked, format!("--dirname {} nvidia-uvm\n", root.display()));
}

#[test]
fn the_mig_layout_changes() {
    let machine = Machine::new("hgx-h100");
    let watcher = Watcher::of(&machine);
    let has_mig = |watcher: &Watcher| watcher.has("0:0") && watcher.has("0:1") && !watcher.has("0");
    watcher.follows(
        "MIG devices are made",
        || drop(machine.ok(&["sim", "mig", "0", "3g.40gb", "1g.10gb"])),
        has_mig,
    );
    let caps = watcher
        .spec()
        .to_string()
        .matches("/dev/nvidia-caps/nvidia-cap")
        .count();
    assert!(caps >= 4, "capability nodes of two MIG devices: {caps}");
    watcher.follows(
        "MIG is off again",
        || drop(machine.ok(&["sim", "mig", "0", "off"])),
        |watcher| watcher.has("0") && !watcher.has("0:0"),
    );
}

#[test]
fn a_lost_gpu_leaves_the_spec() {
    let machine = Machine::new("hgx-h100");
    let uuid = machine.uuids()[5].clone();
    let watcher = Watcher::of(&machine);
    assert!(watcher.has(&uuid));
    watcher.follows(
        "a GPU is lost",
        || drop(machine.ok(&["sim", "lose", "5"])),
        |watcher| !watcher.has(&uuid) && watcher.has("4"),
    );
    wait_until("a word about it", || watcher.said().contains("lost"));
}

/// A machine made from a file, whose driver can be updated.
pub(crate) fn updatable(dir: &Path, version: &str) -> Command {
    companions();
    let profiles = nvbind_testkit::checkout().join("crates/nvbind-sim/src/profiles.toml");
    let text = fs::read_to_string(profiles).expect("profiles");
    let t4 = text
        .split("[[profile]]")
        .find(|profile| profile.contains("name = \"t4\""))
        .expect("profile t4");
    let old = t4
        .lines()
        .find(|line| line.starts_with("driver_version"))
        .expect("driver_version");
    let file = dir.join("machine.toml");
    let t4 = t4.replace(old, &format!("driver_version = \"{version}\""));
    fs::write(&file, format!("[[profile]]{t4}")).expect("write");
    let mut command = Command::new(env!("CARGO_BIN_EXE_nvbind"));
    command
        .env("NVBIND_SIM", file)
        .env("NVBIND_STATE_DIR", dir.join("state"))
        .env("NVBIND_CDI_SPEC_DIRS", dir.join("cdi"));
    command
}

#[test]
fn a_new_driver_version() {
    let dir = temp_dir("watch");
    let watcher = Watcher::start(updatable(dir.path(), "535.309.01"), dir.path());
    let has = |watcher: &Watcher, version: &str| {
        let text = watcher.spec().to_string();
        text.contains(&format!("libcuda.so.{version}")) && text.contains(&format!("libEGL_nvidia.so.{version}"))
    };
    assert!(has(&watcher, "535.309.01"));
    watcher.follows(
        "a new driver",
        || drop(check(updatable(dir.path(), "550.163.01").args(["sim", "create"]))),
        |watcher| has(watcher, "550.163.01") && !watcher.spec().to_string().contains("535.309.01"),
    );
    assert_eq!(
        check(updatable(dir.path(), "550.163.01").args(["cdi", "validate"]))
            .matches("valid")
            .count(),
        1
    );
}

#[test]
fn a_spec_that_is_removed_or_damaged_is_written_again() {
    let machine = Machine::new("t4");
    let watcher = Watcher::of(&machine);
    let whole = fs::read_to_string(&watcher.spec).expect("spec");
    let is_whole = |watcher: &Watcher| fs::read_to_string(&watcher.spec).is_ok_and(|text| text == whole);
    watcher.follows(
        "the spec is removed",
        || fs::remove_file(&watcher.spec).expect("rm"),
        is_whole,
    );
    watcher.follows(
        "the spec is overwritten",
        || fs::write(&watcher.spec, "{").expect("write"),
        is_whole,
    );
}

#[test]
fn nvml_trouble_keeps_the_last_good_spec_and_is_said_once() {
    let machine = Machine::new("t4");
    let root = root(&machine);
    let watcher = Watcher::of(&machine);
    let good = fs::read_to_string(&watcher.spec).expect("spec");
    let library = fs::canonicalize(root.join("usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1")).expect("library");
    let (kept, minors) = (library.with_extension("kept"), machine.minors());
    fs::rename(&library, &kept).expect("rename");
    fs::write(&library, "this is no library").expect("write");
    watcher.signal("-HUP");
    watcher.follows(
        "NVML fails",
        || {},
        |watcher| watcher.said().contains("is kept as it was"),
    );
    // Two more tries, after 1 and 2 seconds, say the same.
    std::thread::sleep(Duration::from_secs(4));
    let said = watcher.said();
    assert_eq!(said.matches("is kept as it was").count(), 1, "{said}");
    assert!(said.contains("NVML not used"), "{said}");
    assert_eq!(fs::read_to_string(&watcher.spec).expect("spec"), good);
    fs::rename(&kept, &library).expect("rename");
    fs::remove_file(root.join(format!("dev/nvidia{}", minors[0]))).expect("rm");
    watcher.follows(
        "NVML answers again",
        || {},
        |watcher| !watcher.has("3") && watcher.has("2"),
    );
}

#[test]
fn it_tells_the_service_manager_and_ends_when_asked() {
    let machine = Machine::new("t4");
    let path = machine.dir().join("notify");
    let socket = UnixDatagram::bind(&path).expect("socket");
    socket
        .set_read_timeout(Some(nvbind_testkit::PATIENCE))
        .expect("timeout");
    let receive = || {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).expect("a datagram");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let mut nvbind = machine.nvbind();
    nvbind.env("NOTIFY_SOCKET", &path);
    let mut watcher = Watcher::start(nvbind, machine.dir());
    let ready = receive();
    assert!(ready.starts_with("READY=1\nSTATUS=written "), "{ready}");
    watcher.signal("-TERM");
    assert_eq!(receive(), "STOPPING=1\n");
    let status = watcher.child.wait().expect("wait");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn without_a_driver_it_is_up_at_once_and_waits() {
    let dir = temp_dir("watch");
    for folder in ["host/proc", "host/sys", "host/dev", "cdi"] {
        fs::create_dir_all(dir.path().join(folder)).expect("folder");
    }
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("socket");
    socket.set_read_timeout(Some(LIMIT)).expect("timeout");
    let host = dir.path().join("host");
    let mut child = Command::new(env!("CARGO_BIN_EXE_nvbind"))
        .args(["cdi", "watch"])
        .env_remove("NVBIND_SIM")
        .env("NVBIND_HOST_DRIVER_ROOT", &host)
        .env("NVBIND_HOST_PROC_ROOT", host.join("proc"))
        .env("NVBIND_HOST_SYS_ROOT", host.join("sys"))
        .env("NVBIND_CDI_SPEC_DIRS", dir.path().join("cdi"))
        .env("NOTIFY_SOCKET", &path)
        .stderr(Stdio::piped())
        .spawn()
        .expect("nvbind");
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).expect("a datagram within 2 s");
    let ready = String::from_utf8_lossy(&buffer[..length]).into_owned();
    check(Command::new("kill").arg(child.id().to_string()));
    let output = child.wait().expect("wait");
    assert!(
        ready.starts_with("READY=1\nSTATUS=nvbind: ") && ready.contains("driver"),
        "{ready}"
    );
    assert!(output.success() && fs::read_dir(dir.path().join("cdi")).expect("cdi").count() == 0);
}

#[test]
fn one_pass_says_what_it_did_and_leaves_a_right_spec_alone() {
    let machine = Machine::new("t4");
    let spec = machine.dir().join("cdi/nvidia.yaml");
    let once = ["cdi", "watch", "--once"];
    assert_eq!(
        machine.ok(&once),
        format!("written {}: {} device(s)\n", spec.display(), 4 * 2 + 1)
    );
    let written = fs::metadata(&spec).expect("spec").modified().expect("time");
    assert!(machine.ok(&once).starts_with("unchanged "));
    assert_eq!(fs::metadata(&spec).expect("spec").modified().expect("time"), written);
    let named = ["cdi", "watch", "--once", "--class", "mig", "--format", "json"];
    assert!(machine.ok(&named).contains("cdi/nvidia.com-mig.json"));
    let refused = machine.output(&["cdi", "watch", "--mode", "sideways"]);
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
}

#[test]
fn a_pass_killed_at_any_step_leaves_a_whole_spec() {
    let machine = Machine::new("t4");
    let spec = machine.cdi_spec().with_extension("yaml");
    fs::remove_file(machine.dir().join("cdi/nvidia.json")).expect("rm");
    let path = spec.display().to_string();
    let once = ["cdi", "watch", "--once", "--output", &path];
    machine.ok(&once);
    let new = fs::read_to_string(&spec).expect("spec");
    let mut fewer = vec!["cdi", "generate", "--device-id", "0", "--output", &path];
    machine.ok(&fewer);
    fewer.clear();
    let old = fs::read_to_string(&spec).expect("spec");
    assert_ne!(old, new);
    let link = root(&machine).join("dev/char/195:255");
    let reset = || {
        fs::write(&spec, &old).expect("write");
        let _ = fs::remove_file(&link);
    };
    reset();
    let calls = traced(&machine, &once, None);
    assert!(calls > 5, "only {calls} calls with an effect were seen");
    for at in 1..=calls {
        reset();
        traced(&machine, &once, Some(at));
        let found = fs::read_to_string(&spec).expect("spec");
        assert!(found == old || found == new, "killed at call {at}: {found}");
    }
    machine.ok(&once);
    let left: Vec<_> = fs::read_dir(machine.dir().join("cdi")).expect("cdi").collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn a_watch_killed_while_things_change_leaves_a_whole_spec() {
    let machine = Machine::new("dgx-a100");
    let (minors, root) = (machine.minors(), root(&machine));
    let node = root.join(format!("dev/nvidia{}", minors[3]));
    for round in 0_u64..10 {
        let watcher = Watcher::of(&machine);
        match node.exists() {
            true => fs::remove_file(&node).expect("rm"),
            false => mknod(&node, 195, minors[3]),
        }
        // Somewhere between the change and the end of the pass that it leads to.
        std::thread::sleep(Duration::from_millis(100 + round * 37));
        watcher.signal("-KILL");
        watcher.spec();
    }
    machine.ok(&["cdi", "validate"]);
}
