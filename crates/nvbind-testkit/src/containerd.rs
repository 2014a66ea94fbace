//! A containerd of the test's own.

use crate::{check, make_dir, tar_of, temp_dir, wait_until, write};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Starts containerd and stops it, with the containers that are left, when its standard input closes: so at the latest when
/// the test process ends, however it ends. `$0` is the folder, `$1` the namespace of the test's containers, of which runc and
/// the cgroups would keep an empty folder each.
const KEEPER: &str = r#"
containerd --config "$0/config.toml" --root "$0/root" --state "$0/state" --address "$0/s" </dev/null >"$0/log" 2>&1 &
daemon=$!
cat >/dev/null
for namespace in default k8s.io "$1"; do
    for task in $(ctr -a "$0/s" -n $namespace task ls -q); do ctr -a "$0/s" -n $namespace task rm -f $task; done
done >/dev/null 2>&1
kill -TERM $daemon
wait $daemon
rmdir "/run/containerd/runc/$1" "/sys/fs/cgroup/$1" /sys/fs/cgroup/*/"$1" 2>/dev/null
for attempt in 1 2 3 4 5; do rm -rf --one-file-system "$0" 2>/dev/null && break; sleep 0.2; done
"#;

/// A containerd on a Unix socket in a folder of its own, stopped when dropped.
///
/// Containers of one name in one namespace are one to runc and to the cgroups, whichever daemon they belong to. So every daemon
/// has a namespace of its own: two runs of the tests on one machine stay out of each other's way.
#[derive(Debug)]
pub struct Containerd {
    dir: PathBuf,
    keeper: Child,
}

impl Containerd {
    /// Starts one with that configuration and waits until it answers. Its runtimes inherit `env`.
    pub fn start(config: &str, env: &[(OsString, OsString)]) -> Self {
        let dir = temp_dir("containerd").keep();
        make_dir(&dir);
        write(&dir.join("config.toml"), config);
        let log = File::create(dir.join("keeper.log")).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        let mut keeper = Command::new("sh");
        keeper
            .args(["-c", KEEPER])
            .arg(&dir)
            .arg(namespace_of(&dir))
            .envs(env.iter().cloned());
        keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        let keeper = keeper
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start a shell for containerd: {error}"));
        let daemon = Self { dir, keeper };
        wait_until("the start of containerd", || daemon.answers());
        daemon
    }

    /// The socket.
    pub fn address(&self) -> PathBuf {
        self.dir.join("s")
    }

    /// The namespace of the test's containers.
    pub fn namespace(&self) -> &str {
        namespace_of(&self.dir)
    }

    /// The environment of containerd's clients that talk to this one.
    pub fn vars(&self) -> [(&'static str, OsString); 2] {
        [
            ("CONTAINERD_ADDRESS", self.address().into()),
            ("CONTAINERD_NAMESPACE", self.namespace().into()),
        ]
    }

    /// The folder of the containers that run: their bundles lie in `io.containerd.runtime.v2.task/NAMESPACE/ID`.
    pub fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// containerd's own client, talking to this one.
    pub fn ctr(&self) -> Command {
        let mut ctr = Command::new("ctr");
        ctr.envs(self.vars());
        ctr
    }

    /// Makes an image of a root file system, by way of docker's format (`name` is a full one: `docker.io/library/x:1`).
    pub fn import(&self, rootfs: &Path, name: &str) {
        self.import_into(self.namespace(), rootfs, name, &[]);
    }

    /// The same, in a namespace and with a command of its own.
    pub fn import_into(&self, namespace: &str, rootfs: &Path, name: &str, command: &[&str]) {
        let work = temp_dir("image");
        let layer = work.path().join("layer.tar");
        let mut tar = tar_of(rootfs);
        let mut stream = tar.stdout.take().unwrap_or_else(|| panic!("tar has no output"));
        let mut file = File::create(&layer).unwrap_or_else(|error| panic!("{}: {error}", layer.display()));
        std::io::copy(&mut stream, &mut file).unwrap_or_else(|error| panic!("{}: {error}", layer.display()));
        assert!(
            tar.wait().is_ok_and(|status| status.success()),
            "tar of {} failed",
            rootfs.display()
        );
        let sum = check(Command::new("sha256sum").arg(&layer));
        let digest = sum.split_whitespace().next().unwrap_or_default();
        let config = serde_json::json!({
            "architecture": match std::env::consts::ARCH { "x86_64" => "amd64", "aarch64" => "arm64", other => other },
            "os": "linux",
            "config": { "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": command },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
        });
        let manifest = serde_json::json!([{ "Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"] }]);
        write(&work.path().join("config.json"), &config.to_string());
        write(&work.path().join("manifest.json"), &manifest.to_string());
        let archive = work.path().join("image.tar");
        let mut pack = Command::new("tar");
        pack.arg("-C").arg(work.path()).arg("-cf").arg(&archive);
        check(pack.args(["manifest.json", "config.json", "layer.tar"]));
        check(self.ctr().args(["-n", namespace, "image", "import"]).arg(&archive));
    }

    fn answers(&self) -> bool {
        let log = self.log();
        assert!(!log.contains("level=fatal"), "containerd did not start:\n{log}");
        self.address().exists()
            && self
                .ctr()
                .arg("version")
                .output()
                .is_ok_and(|output| output.status.success())
    }
}

/// The name of the daemon's folder, which no other has.
fn namespace_of(dir: &Path) -> &str {
    dir.file_name().and_then(OsStr::to_str).unwrap_or_default()
}

impl Drop for Containerd {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}
