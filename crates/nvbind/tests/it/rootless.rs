//! `nvbind run` as an ordinary user, whom the tests make in a mount namespace of their own.

use crate::support::{companions, listed_uuids, nvidia_smi, stderr, stdout};
use nvbind_testkit::{
    LayoutWriter, Packing, TarWriter, check, debian_rootfs, small_rootfs, small_tar, temp_dir, wait_until,
};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// Puts the user into the files of this mount namespace and becomes it. `$0` is its folder, `$1` its id, the rest is the
/// command.
const BECOME: &str = r#"
for file in passwd subuid subgid; do mount --bind "$0/etc/$file" /etc/$file || exit 99; done
uid=$1; shift
exec setpriv --reuid="$uid" --regid="$uid" --clear-groups "$@"
"#;

/// An ordinary user with a home, and `nvbind` in it: the build's own folder may be closed to others.
struct User {
    dir: TempDir,
    uid: u32,
}

impl User {
    /// A user with that many ids of its own beside its own one. Every test has another user, whose processes it counts.
    fn new(uid: u32, subordinate: u32) -> Self {
        let user = Self {
            dir: temp_dir("user"),
            uid,
        };
        let (runtime, hook) = companions();
        let library = runtime.with_file_name("libnvbind_sim_nvml.so");
        let nvbind = PathBuf::from(env!("CARGO_BIN_EXE_nvbind"));
        for folder in ["bin", "etc", "home"] {
            fs::create_dir(user.path(folder)).expect("folder");
        }
        for program in [nvbind, runtime, hook, library] {
            let name = program.file_name().expect("a name").to_owned();
            fs::copy(&program, user.path("bin").join(name)).expect("copy");
        }
        let passwd = fs::read_to_string("/etc/passwd").expect("passwd");
        let ranges = match subordinate {
            0 => String::new(),
            count => format!("tester:300000:{count}\n"),
        };
        fs::write(
            user.path("etc/passwd"),
            format!("{passwd}tester:x:{uid}:{uid}::/nowhere:/bin/sh\n"),
        )
        .expect("passwd");
        fs::write(user.path("etc/subuid"), &ranges).expect("subuid");
        fs::write(user.path("etc/subgid"), &ranges).expect("subgid");
        user.take(&small_rootfs());
        fs::set_permissions(user.dir.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        user
    }

    /// A copy of a root file system, which is the user's.
    fn take(&self, rootfs: &Path) {
        let (copy, uid) = (self.path("home/rootfs"), self.uid);
        let _ = fs::remove_dir_all(&copy);
        check(Command::new("cp").args(["-a", "--reflink=auto"]).arg(rootfs).arg(&copy));
        check(
            Command::new("chown")
                .args(["-R", &format!("{uid}:{uid}")])
                .arg(self.path("home")),
        );
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn rootfs(&self) -> String {
        self.path("home/rootfs").display().to_string()
    }

    /// A program that this user runs.
    fn command(&self, program: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", BECOME])
            .arg(self.dir.path())
            .arg(self.uid.to_string());
        command.args(program).env_clear().stdin(Stdio::null());
        command.env("PATH", format!("{}:/usr/bin:/bin", self.path("bin").display()));
        command.env("HOME", self.path("home")).env("USER", "tester");
        command
            .env("XDG_STATE_HOME", self.path("home/state"))
            .env("NVBIND_SIM", "dgx-a100");
        command.env("NVBIND_SIM_DRIVER", nvidia_smi());
        command
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.command(&[&["nvbind"], arguments].concat())
            .output()
            .expect("unshare")
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        stdout(&output)
    }

    fn run(&self, options: &[&str], script: &str) -> String {
        let rootfs = self.rootfs();
        self.ok(&[&["run"], options, &["--rootfs", &rootfs, "--", "sh", "-c", script]].concat())
    }

    /// Processes of this user.
    fn processes(&self) -> Vec<String> {
        let entries = fs::read_dir("/proc").expect("/proc").flatten();
        let status = |path: &Path| fs::read_to_string(path.join("status")).unwrap_or_default();
        let own = |text: &str| {
            text.lines()
                .any(|line| line.starts_with(&format!("Uid:\t{}\t", self.uid)))
        };
        let alive = |text: &str| !text.contains("State:\tZ");
        let name = |text: String| text.lines().next().unwrap_or_default().to_owned();
        entries
            .map(|entry| status(&entry.path()))
            .filter(|text| own(text) && alive(text))
            .map(name)
            .collect()
    }

    /// Panics when anything of a container is left.
    fn assert_nothing_is_left(&self, what: &str) {
        assert_eq!(self.ok(&["ps", "--all", "--format", "json"]).trim(), "[]", "{what}");
        for folder in ["run", "containers"] {
            let left = fs::read_dir(self.path("home/state/nvbind").join(folder));
            let left: Vec<_> = left.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
            assert!(left.is_empty(), "{what}: {left:?}");
        }
        assert!(self.processes().is_empty(), "{what}: {:?}", self.processes());
    }
}

fn refused(output: &Output, code: i32, words: &[&str]) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(
        said.lines().count() == 1 && words.iter().all(|word| said.contains(word)),
        "{words:?} in: {said}"
    );
}

#[test]
fn a_user_gets_the_gpus_that_were_given_and_no_others() {
    for (uid, subordinate) in [(20101, 0), (20102, 65536)] {
        let user = User::new(uid, subordinate);
        user.take(&debian_rootfs());
        let info: Value = serde_json::from_str(&user.ok(&["info", "--format", "json"])).expect("JSON");
        let gpu = |index: usize| info["gpus"][index].clone();
        let uuids = [gpu(2), gpu(5)].map(|gpu| gpu["uuid"].as_str().expect("uuid").to_owned());
        let listing = user.run(&["--gpu", "2,5"], "nvidia-smi -L");
        assert_eq!(listed_uuids(&listing), uuids, "{listing}");
        let mut nodes = [gpu(2), gpu(5)].map(|gpu| format!("/dev/nvidia{}", gpu["minor"]));
        nodes.sort();
        let seen = user.run(&["--gpu", "2,5"], "ls /dev/nvidia[0-9]*");
        assert_eq!(seen.lines().collect::<Vec<_>>(), nodes);
        // No other node can be made: that is what stands in for the device cgroup.
        let made = user.run(&["--gpu", "2"], "mknod /tmp/other c 195 0 2>&1 && echo made; exit 0");
        assert!(made.contains("not permitted"), "{made}");
        user.assert_nothing_is_left("after four containers");
    }
}

#[test]
fn a_user_is_root_inside_and_nobody_else_outside() {
    let user = User::new(20111, 0);
    let seen = user.run(&[], "id -u; cat /proc/self/uid_map; ls /sys/class/net; : > /made; echo 3 2>/dev/null >/proc/sys/vm/drop_caches || echo no");
    let words: Vec<&str> = seen.split_whitespace().collect();
    assert_eq!(words, ["0", "0", "20111", "1", "lo", "no"]);
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(user.path("home/rootfs/made")).expect("made"));
    assert_eq!(owner, 20111);
    assert!(user.run(&["--network", "host"], "ls /sys/class/net").lines().count() > 0);
    let other = user.output(&["run", "--rootfs", &user.rootfs(), "--user", "1000", "--", "true"]);
    refused(&other, 5, &["beyond the 1 user ids", "usermod --add-subuids"]);
    let (exit, rootfs) = (
        user.output(&[
            "run",
            "--rootless",
            "--rootfs",
            &user.rootfs(),
            "--",
            "sh",
            "-c",
            "exit 7",
        ]),
        user.rootfs(),
    );
    assert_eq!(exit.status.code(), Some(7), "{}", stderr(&exit));
    let verbose = user.output(&["-v", "run", "--rootfs", &rootfs, "--", "true"]);
    assert!(
        stderr(&verbose).contains("one user id") && stderr(&verbose).contains("no device cgroup"),
        "{}",
        stderr(&verbose)
    );

    let many = User::new(20112, 65536);
    let ids = many.run(&["--user", "1000:1000"], "id -u; id -g");
    assert_eq!(ids, "1000\n1000\n");
    let map = many.run(&[], "cat /proc/self/uid_map");
    assert_eq!(
        map.split_whitespace().collect::<Vec<_>>(),
        ["0", "20112", "1", "1", "300000", "65536"]
    );
    many.assert_nothing_is_left("after two containers");
}

#[test]
fn promises_that_cannot_be_held_are_refused() {
    let user = User::new(20121, 0);
    let rootfs = user.rootfs();
    let run = |options: &[&str]| user.output(&[&["run"], options, &["--rootfs", &rootfs, "--", "true"]].concat());
    refused(
        &run(&["--gpu", "0", "--isolation", "exclusive"]),
        5,
        &["--isolation exclusive needs root", "leave it out"],
    );
    refused(&run(&["--memory", "64MiB"]), 5, &["--memory and --cpus need root"]);
    refused(&run(&["--cpus", "1"]), 5, &["--memory and --cpus need root"]);
    // Bolt sends it with every container.
    let bolt = run(&[
        "--runtime",
        "bolt",
        "--rootless",
        "--gpu",
        "0",
        "--isolation",
        "exclusive",
    ]);
    assert!(
        bolt.status.success() && stderr(&bolt).contains("among your own containers only"),
        "{}",
        stderr(&bolt)
    );
    user.assert_nothing_is_left("after refusals");
}

#[test]
fn a_kernel_that_refuses_is_told_with_what_to_do() {
    let user = User::new(20131, 0);
    // A user namespace in which the user may make no other.
    let script = "echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --inh-caps=-all --ambient-caps=-all \"$@\"";
    let outer = [
        "unshare",
        "--user",
        "--map-current-user",
        "--keep-caps",
        "sh",
        "-c",
        script,
        "sh",
    ];
    let rootfs = user.rootfs();
    let mut command = user.command(&[&outer[..], &["nvbind", "run", "--rootfs", &rootfs, "--", "true"]].concat());
    let output = command.output().expect("unshare");
    refused(
        &output,
        5,
        &[
            "does not let an ordinary user",
            "/proc/sys/user/max_user_namespaces is 0",
            "sysctl -w",
        ],
    );
}

#[test]
fn images_of_a_user_are_its_own() {
    for (uid, subordinate) in [(20141, 0), (20142, 65536)] {
        let user = User::new(uid, subordinate);
        let mut layout = LayoutWriter::new(user.path("image"));
        layout.layer(&small_tar(), Packing::Gzip);
        let top = TarWriter::new()
            .file("marker", "from the image\n")
            .folder_of("owned", 7)
            .file("owned/file", "x")
            .file("etc/.wh.hostname", "")
            .finish();
        layout.layer(&top, Packing::Gzip);
        layout.finish(&json!({ "Cmd": ["cat", "/marker"] }), &["amd64"]);
        let image = format!("oci:{}", layout.dir.display());
        assert_eq!(user.ok(&["run", &image]), "from the image\n");
        assert_eq!(
            user.ok(&[
                "run",
                &image,
                "--",
                "sh",
                "-c",
                "ls /etc/hostname || echo x > /marker; cat /marker"
            ]),
            "x\n"
        );
        assert_eq!(
            user.ok(&["run", &image]),
            "from the image\n",
            "a container wrote into its image"
        );
        if subordinate > 0 {
            assert_eq!(user.ok(&["run", "--user", "daemon", &image, "--", "id", "-u"]), "1\n");
        }
        user.assert_nothing_is_left("after images");
        user.ok(&["image", "prune", "--all"]);
        let layers = fs::read_dir(user.path("home/state/nvbind/images/layers"))
            .expect("layers")
            .count();
        assert_eq!(layers, 0);
    }
}

#[test]
fn a_container_in_the_background_is_listed_logged_and_ended() {
    for (uid, subordinate) in [(20151, 0), (20152, 65536)] {
        let user = User::new(uid, subordinate);
        let script = "trap 'echo ended; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
        user.run(&["--detach", "--name", "one", "--gpu", "0"], script);
        wait_until("the log", || user.ok(&["logs", "one"]).contains("ready"));
        let listed: Value = serde_json::from_str(&user.ok(&["ps", "--format", "json"])).expect("JSON");
        assert_eq!(listed[0]["status"], "running");
        user.ok(&["stop", "--time", "120", "one"]);
        assert_eq!(user.ok(&["logs", "one"]), "ready\nended\n");
        user.ok(&["rm", "one"]);
        user.run(
            &["--detach", "--name", "two"],
            "trap '' TERM; while :; do sleep 0.05; done",
        );
        refused(&user.output(&["rm", "two"]), 2, &["is running"]);
        user.ok(&["rm", "--force", "two"]);
        user.run(&["--detach", "--name", "three"], "exit 5");
        wait_until("the end", || user.ok(&["ps", "--all"]).contains("exited (5)"));
        user.ok(&["rm", "three"]);
        user.assert_nothing_is_left("after three containers");
    }
}

/// System calls with an effect, or that wait for one. strace counts each for itself.
const EFFECTS: [&str; 22] = [
    "mkdir",
    "write",
    "pwrite64",
    "rename",
    "unlink",
    "unlinkat",
    "rmdir",
    "unshare",
    "mount",
    "clone",
    "clone3",
    "fork",
    "bind",
    "connect",
    "sendto",
    "sendmsg",
    "recvmsg",
    "flock",
    "waitid",
    "poll",
    "ppoll",
    "close_range",
];

#[test]
fn a_run_killed_at_any_step_leaves_nothing() {
    let user = User::new(20161, 0);
    let rootfs = user.rootfs();
    user.run(&[], "true");
    let mut steps = 0;
    for call in EFFECTS {
        for step in 1..500 {
            let inject = format!("inject={call}:signal=SIGKILL:when={step}");
            let mut run = user.command(&["strace", "-qq", "-o", "/dev/null", "-e", &inject]);
            run.args(["nvbind", "run", "--rootfs", &rootfs, "--", "true"]);
            let ended = run
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .expect("unshare");
            user.assert_nothing_is_left(&format!("{call} {step}"));
            if ended.success() {
                break;
            }
            steps += 1;
        }
    }
    assert!(steps > 40, "only {steps} steps were seen");
}
