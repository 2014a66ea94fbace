//! Machines in namespaces that are reached over SSH (`emulators/machines.py`), stopped when dropped and when the test process ends.

use crate::{check, temp_dir};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use tempfile::TempDir;

/// Reads a call a line, `["boot", "m1", "root", "aws"]`, and answers with a line. The machines end with its standard input.
const SERVER: &str = r#"
import json, sys
sys.path.insert(0, sys.argv[1])
from machines import Machines
machines = Machines(sys.argv[2], json.loads(sys.argv[3]), json.loads(sys.argv[4]))
key = open(sys.argv[5]).read()
for line in sys.stdin:
    call, *rest = json.loads(line)
    if call == "boot":
        name, user, cloud = rest
        answer = machines.boot(name, key, user, cloud)
    else:
        answer = getattr(machines, call)(*rest)
    print(json.dumps(answer), flush=True)
machines.close()
"#;

/// A set of machines that one key logs in to.
#[derive(Debug)]
pub struct Machines {
    dir: TempDir,
    keeper: Child,
    pipes: Mutex<Option<(ChildStdin, BufReader<ChildStdout>)>>,
}

impl Machines {
    /// None yet; those to come have these variables in the environment of every login.
    pub fn new(environment: &[(&str, &str)]) -> Self {
        Self::with_images(environment, &[])
    }

    /// ... and these folders over their root, as an image has baked them in.
    pub fn with_images(environment: &[(&str, &str)], images: &[&Path]) -> Self {
        let dir = temp_dir("machines");
        let key = dir.path().join("key");
        check(
            Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(&key),
        );
        let environment: serde_json::Map<_, _> = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).into()))
            .collect();
        let emulators = crate::checkout().join("emulators");
        let mut keeper = Command::new("python3");
        keeper
            .args(["-B", "-c", SERVER])
            .arg(emulators)
            .arg(dir.path().join("machines"));
        keeper.arg(serde_json::Value::Object(environment).to_string());
        keeper
            .arg(serde_json::json!(images).to_string())
            .arg(key.with_extension("pub"));
        // Roots of containers lie there, and it may be in a folder that machines have of their own.
        keeper.env("NVBIND_MACHINES_SHARE", crate::cache_dir());
        keeper.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = keeper
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start python3: {error}"));
        let pipes = keeper.stdin.take().zip(keeper.stdout.take());
        let (stdin, stdout) = pipes.unwrap_or_else(|| panic!("no pipes"));
        Self {
            dir,
            keeper,
            pipes: Mutex::new(Some((stdin, BufReader::new(stdout)))),
        }
    }

    fn call(&self, call: &serde_json::Value) -> serde_json::Value {
        let mut pipes = self.pipes.lock().unwrap_or_else(|error| panic!("{error}"));
        let Some((stdin, stdout)) = pipes.as_mut() else {
            panic!("the machines are gone")
        };
        let mut line = String::new();
        let answered = writeln!(stdin, "{call}").and_then(|()| stdout.read_line(&mut line));
        assert!(
            answered.is_ok() && !line.is_empty(),
            "emulators/machines.py failed at {call}"
        );
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{call}: {error}: {line}"))
    }

    /// Boots a machine; its address. `cloud` names whose metadata service it has: `aws`, `gcp`, `azure`.
    pub fn boot(&self, name: &str, user: &str, cloud: Option<&str>) -> String {
        let address = self.call(&serde_json::json!(["boot", name, user, cloud]));
        address
            .as_str()
            .unwrap_or_else(|| panic!("no address: {address}"))
            .to_owned()
    }

    /// A machine dies silently.
    pub fn kill(&self, name: &str) {
        self.call(&serde_json::json!(["kill", name]));
    }

    /// A machine is cut off from the network.
    pub fn cut(&self, name: &str) {
        self.call(&serde_json::json!(["cut", name]));
    }

    /// ... and joined to it again.
    pub fn heal(&self, name: &str) {
        self.call(&serde_json::json!(["heal", name]));
    }

    /// The provider says that it takes the machine back in so many seconds, and does.
    pub fn interrupt(&self, name: &str, seconds: u32) {
        self.call(&serde_json::json!(["interrupt", name, seconds]));
    }

    /// The provider says that it may take the machine back (AWS).
    pub fn rebalance(&self, name: &str) {
        self.call(&serde_json::json!(["rebalance", name]));
    }

    /// Whether a machine lives.
    pub fn is_alive(&self, name: &str) -> bool {
        self.call(&serde_json::json!(["is_alive", name])) == true
    }

    /// The private key.
    pub fn key(&self) -> PathBuf {
        self.dir.path().join("key")
    }

    /// A folder for what goes away with them.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A configuration for `ssh` that logs in to these addresses as `user` with the key; `known` are those whose host keys are known.
    pub fn ssh_config(&self, user: &str, known: &[&str]) -> PathBuf {
        let (config, hosts) = (self.dir.path().join("ssh_config"), self.dir.path().join("known_hosts"));
        let scan = |address: &&str| {
            check(
                Command::new("ssh-keyscan")
                    .args(["-t", "ed25519", address])
                    .stderr(Stdio::null()),
            )
        };
        crate::write(&hosts, &known.iter().map(scan).collect::<String>());
        let text = format!(
            "Host *\n User {user}\n IdentityFile {}\n IdentitiesOnly yes\n UserKnownHostsFile {}\n GlobalKnownHostsFile /dev/null\n",
            self.key().display(),
            hosts.display()
        );
        crate::write(&config, &text);
        config
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        // The end of its input is its end, and the machines'.
        if let Ok(mut pipes) = self.pipes.lock() {
            pipes.take();
        }
        let _ = self.keeper.wait();
    }
}
