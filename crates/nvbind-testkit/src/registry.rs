//! A real registry (Debian's `docker-registry`) on loopback, and a proxy that cuts its connections.

use crate::{check, temp_dir, wait_until, write};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

/// Starts the registry and stops it when its standard input closes: at the latest when the test process ends, however it
/// ends. `$0` is the folder.
const KEEPER: &str = r#"
docker-registry serve "$0/config.yml" </dev/null >"$0/log" 2>&1 &
registry=$!
cat >/dev/null
kill -TERM $registry
wait $registry
"#;

/// A registry with nothing in it, stopped when dropped.
#[derive(Debug)]
pub struct Registry {
    dir: TempDir,
    port: u16,
    keeper: Child,
    login: Option<(String, String)>,
}

impl Registry {
    /// Starts one that asks nobody who they are.
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// Starts one that knows this user alone.
    pub fn start_for(user: &str, password: &str) -> Self {
        Self::start_with(Some((user.to_owned(), password.to_owned())))
    }

    fn start_with(login: Option<(String, String)>) -> Self {
        let dir = temp_dir("registry");
        let port = free_port();
        let mut config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: \"{}\"}}}}\nhttp: {{addr: \"127.0.0.1:{port}\"}}\n",
            dir.path().join("data").display()
        );
        if let Some((user, password)) = &login {
            let file = dir.path().join("htpasswd");
            write(&file, &check(Command::new("htpasswd").args(["-nbB", user, password])));
            config += &format!("auth: {{htpasswd: {{realm: test, path: \"{}\"}}}}\n", file.display());
        }
        write(&dir.path().join("config.yml"), &config);
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER]).arg(dir.path());
        keeper.stdin(Stdio::piped()).stderr(Stdio::null());
        let keeper = keeper
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start a shell: {error}"));
        let registry = Self {
            dir,
            port,
            keeper,
            login,
        };
        wait_until("the start of docker-registry", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        registry
    }

    /// `localhost:PORT`.
    pub fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// Brings an image of a layout into the registry, by skopeo: `push(dir, "test-amd64", "team/app:1")`.
    pub fn push(&self, layout: &Path, reference: &str, name: &str) {
        let mut skopeo = Command::new("skopeo");
        skopeo.args([
            "--insecure-policy",
            "copy",
            "--quiet",
            "--all",
            "--dest-tls-verify=false",
        ]);
        if let Some((user, password)) = &self.login {
            skopeo.arg(format!("--dest-creds={user}:{password}"));
        }
        skopeo.arg(format!("oci:{}:{reference}", layout.display()));
        check(skopeo.arg(format!("docker://{}/{name}", self.host())));
    }

    /// The file that the registry keeps a blob in.
    pub fn blob_file(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        let blobs = self.dir.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }

    /// How often a blob was asked for.
    pub fn requests_for(&self, digest: &str) -> usize {
        let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        let wanted = format!("/blobs/{digest}");
        let is_one = |line: &&str| line.contains("\"GET ") && line.contains(&wanted);
        log.lines().filter(is_one).count()
    }

    /// How many answers with this HTTP status were given.
    pub fn answers_with(&self, status: u16) -> usize {
        let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        let wanted = format!("HTTP/1.1\" {status} ");
        log.lines().filter(|line| line.contains(&wanted)).count()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    listener
        .unwrap_or_else(|error| panic!("cannot listen on loopback: {error}"))
        .port()
}

/// When a connection is cut, in bytes of the registry's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The first connection that has carried so many.
    Once(usize),
    /// Every connection that has carried so many.
    Always(usize),
}

/// A TCP proxy on loopback before a registry, for as long as the test process lives.
#[derive(Debug)]
pub struct CuttingProxy {
    port: u16,
}

impl CuttingProxy {
    /// Starts one.
    pub fn start(registry: &Registry, cut: Cut) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap_or_else(|error| panic!("cannot listen: {error}"));
        let port = listener.local_addr().map_or(0, |address| address.port());
        let target = registry.port;
        let was_cut = Arc::new(AtomicBool::new(false));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let was_cut = Arc::clone(&was_cut);
                std::thread::spawn(move || carry(client, target, cut, &was_cut));
            }
        });
        Self { port }
    }

    /// `localhost:PORT`.
    pub fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }
}

/// Carries both ways until one side, or the cut, ends it.
fn carry(client: TcpStream, target: u16, cut: Cut, was_cut: &AtomicBool) {
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", target)) else {
        return;
    };
    let (Ok(mut requests), Ok(mut to_server)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut requests, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Both);
    });
    let mut client = client;
    let (mut carried, mut buffer) = (0, [0u8; 4096]);
    while let Ok(length) = server.read(&mut buffer) {
        if length == 0 || client.write_all(&buffer[..length]).is_err() {
            break;
        }
        carried += length;
        let is_cut = match cut {
            Cut::Once(limit) => carried > limit && !was_cut.swap(true, Ordering::SeqCst),
            Cut::Always(limit) => carried > limit,
        };
        if is_cut {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}
