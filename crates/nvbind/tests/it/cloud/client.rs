//! An nvbind with a state of its own.

use crate::support::{stderr, stdout};
use nvbind_testkit::small_rootfs;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

/// An nvbind with a state of its own, and with what it is to find in its environment.
pub(crate) struct Client {
    /// The folder of the programs.
    pub(crate) programs: PathBuf,
    /// Where its state and its home are.
    pub(crate) dir: PathBuf,
    /// Credentials, endpoints, configuration.
    pub(crate) variables: Vec<(&'static str, String)>,
}

impl Client {
    /// `nvbind` in this environment.
    pub(crate) fn nvbind(&self) -> Command {
        let mut command = Command::new(self.programs.join("nvbind"));
        command.env("NVBIND_STATE_DIR", self.state()).env("HOME", &self.dir);
        command.env_remove("NVBIND_SIM");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs `nvbind cloud` to its end.
    pub(crate) fn cloud(&self, arguments: &[&str]) -> Output {
        let mut command = self.nvbind();
        command.arg("cloud").args(arguments);
        command.output().expect("start nvbind")
    }

    /// Runs `nvbind cloud` to its end; panics when it fails.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.cloud(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}\n{}{}",
            output.status,
            stdout(&output),
            stderr(&output)
        );
        stdout(&output)
    }

    /// What is written down about a deployment.
    pub(crate) fn status(&self, name: &str) -> Value {
        serde_json::from_str(&self.ok(&["status", name, "--all", "--format", "json"])).expect("status prints JSON")
    }

    /// Options of a deployment that runs that script.
    pub(crate) fn deploy(&self, name: &str, script: &str, more: &[&str]) -> Vec<String> {
        let rootfs = small_rootfs().display().to_string();
        let mut arguments: Vec<String> = [
            "deploy",
            "--name",
            name,
            "--gpu-type",
            "T4,L4,A10,A100,V100",
            "--rootfs",
            &rootfs,
        ]
        .map(str::to_owned)
        .to_vec();
        arguments.extend(more.iter().map(|word| (*word).to_owned()));
        arguments.extend(["--", "sh", "-c", script].map(str::to_owned));
        arguments
    }

    /// Writes an `nvbind.toml` that runs that script, with these lines in its `[cloud]` table; its path.
    pub(crate) fn file(&self, name: &str, script: &str, cloud: &str) -> String {
        let path = self.dir.join(format!("{name}.toml"));
        let text = format!(
            "name = {name:?}\nrootfs = {:?}\ncommand = [\"sh\", \"-c\", {script:?}]\n[cloud]\n{cloud}\n",
            small_rootfs()
        );
        std::fs::write(&path, text).expect("write a file");
        path.display().to_string()
    }

    /// Starts `nvbind cloud serve`, which is killed when the result is dropped.
    pub(crate) fn serve(&self) -> Served {
        self.start(&["serve"])
    }

    /// Starts `nvbind cloud`, which is killed when the result is dropped.
    pub(crate) fn start(&self, arguments: &[&str]) -> Served {
        let mut command = self.nvbind();
        command.arg("cloud").args(arguments);
        Served(command.spawn().expect("start nvbind"))
    }

    /// Tokens of the attempts of which something may be left.
    pub(crate) fn open_tokens(&self, name: &str) -> BTreeSet<String> {
        let status = self.status(name);
        let attempts = status["attempts"].as_array().cloned().unwrap_or_default();
        let open = attempts.iter().filter(|attempt| attempt["ended_ms"].is_null());
        open.filter_map(|attempt| attempt["order"]["token"].as_str().map(str::to_owned))
            .collect()
    }

    /// Waits until the status is so.
    pub(crate) fn until(&self, name: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let status = self.status(name);
            if is_so(&status) {
                return status;
            }
            assert!(start.elapsed() < Duration::from_secs(120), "{what}: {status:#}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The folder of its state.
    pub(crate) fn state(&self) -> PathBuf {
        self.dir.join("state")
    }
}

/// An `nvbind cloud` that runs until this is dropped.
pub(crate) struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How many nodes of a deployment work.
pub(crate) fn working(status: &Value) -> usize {
    usize::try_from(status["working"].as_u64().unwrap_or_default()).expect("a small number")
}

/// Milliseconds between the first events of two kinds, the second one after the first.
pub(crate) fn between(status: &Value, from: &str, to: &str) -> i64 {
    let events = status["events"].as_array().expect("events");
    let at = |event: &Value| event["at_ms"].as_i64().expect("at_ms");
    let start = events
        .iter()
        .position(|event| event["kind"] == from)
        .unwrap_or_else(|| panic!("no {from}: {events:#?}"));
    let end = events[start..].iter().find(|event| event["kind"] == to);
    at(end.unwrap_or_else(|| panic!("no {to} after {from}: {events:#?}"))) - at(&events[start])
}
