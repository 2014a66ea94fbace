//! A docker daemon of the test's own.

use crate::{check, make_dir, tar_of, temp_dir, wait_until, write};
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Starts the daemon and stops it, and removes its folder, when its standard input closes: so at the latest when
/// the test process ends, however it ends. `$0` is the folder, the arguments are the daemon's.
const KEEPER: &str = r#"
dockerd "$@" </dev/null >"$0/dockerd.log" 2>&1 &
daemon=$!
cat >/dev/null
kill -TERM $daemon
wait $daemon
for attempt in 1 2 3 4 5; do rm -rf --one-file-system "$0" 2>/dev/null && break; sleep 0.2; done
"#;

/// How the daemon is to be started.
#[derive(Debug, Clone, Default)]
pub struct DockerdOptions {
    /// OCI runtimes to register: name and program.
    pub runtimes: Vec<(String, PathBuf)>,
    /// The registered runtime that containers get when they name none.
    pub default_runtime: Option<String>,
    /// Environment of the daemon; its runtimes inherit it.
    pub env: Vec<(OsString, OsString)>,
}

/// A docker daemon on a Unix socket in a folder of its own, without network, stopped when dropped.
#[derive(Debug)]
pub struct Dockerd {
    dir: PathBuf,
    keeper: Child,
}

impl Dockerd {
    /// Starts a daemon and waits until it answers.
    pub fn start(options: &DockerdOptions) -> Self {
        Self::start_with("{}", options)
    }

    /// Starts a daemon with that `daemon.json`.
    pub fn start_with(config: &str, options: &DockerdOptions) -> Self {
        let dir = temp_dir("dockerd").keep();
        make_dir(&dir.join("data"));
        write(&dir.join("daemon.json"), config);
        let log = File::create(dir.join("keeper.log")).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        let mut keeper = Command::new("sh");
        keeper
            .args(["-c", KEEPER])
            .arg(&dir)
            .args(arguments(&dir, options))
            .envs(options.env.iter().cloned());
        keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        let keeper = keeper
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start a shell for dockerd: {error}"));
        let daemon = Self { dir, keeper };
        wait_until("the start of dockerd", || daemon.answers());
        daemon
    }

    /// `DOCKER_HOST` of the daemon.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The socket of the daemon.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("docker.sock")
    }

    /// The bundle of a container that runs.
    pub fn bundle(&self, id: &str) -> PathBuf {
        let tasks = "containerd/daemon/io.containerd.runtime.v2.task/moby";
        self.dir.join("exec").join(tasks).join(id)
    }

    /// What the daemon has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("dockerd.log")).unwrap_or_default()
    }

    /// Makes an image of a root file system.
    pub fn import(&self, rootfs: &Path, image: &str) {
        let mut tar = tar_of(rootfs);
        let stream = tar.stdout.take().map_or_else(Stdio::null, Stdio::from);
        check(self.client().args(["import", "-", image]).stdin(stream));
        assert!(
            tar.wait().is_ok_and(|status| status.success()),
            "tar of {} failed",
            rootfs.display()
        );
    }

    /// Docker's own client, talking to this daemon.
    pub fn client(&self) -> Command {
        let mut docker = Command::new("docker");
        docker.env("DOCKER_HOST", self.host()).env_remove("DOCKER_CONTEXT");
        docker
    }

    fn answers(&self) -> bool {
        let alive = !self.log().contains("failed to start daemon");
        assert!(alive, "dockerd did not start:\n{}", self.log());
        self.socket().exists()
            && self
                .client()
                .arg("version")
                .output()
                .is_ok_and(|output| output.status.success())
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

fn arguments(dir: &Path, options: &DockerdOptions) -> Vec<OsString> {
    let option = |name: &str, value: &Path| {
        let mut argument = OsString::from(format!("--{name}="));
        argument.push(value);
        argument
    };
    let mut arguments = vec![
        option("config-file", &dir.join("daemon.json")),
        option(
            "host",
            Path::new(&format!("unix://{}", dir.join("docker.sock").display())),
        ),
        option("data-root", &dir.join("data")),
        option("exec-root", &dir.join("exec")),
        option("pidfile", &dir.join("docker.pid")),
        "--iptables=false".into(),
        "--ip6tables=false".into(),
        "--bridge=none".into(),
    ];
    let runtimes = options
        .runtimes
        .iter()
        .map(|(name, path)| format!("--add-runtime={name}={}", path.display()));
    arguments.extend(runtimes.map(OsString::from));
    arguments.extend(
        options
            .default_runtime
            .iter()
            .map(|name| format!("--default-runtime={name}").into()),
    );
    arguments
}
