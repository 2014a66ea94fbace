//! An emulated cloud (`emulators/<name>.py`) on loopback.

use crate::{PATIENCE, cache_dir, check, checkout};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Starts the emulator and stops it when its standard input closes: at the latest when the test process ends, however it
/// ends. `$0` is Python, `$1` the emulator.
const KEEPER: &str = r#"
"$0" "$1" 0 </dev/null &
emulator=$!
cat >/dev/null
kill -TERM $emulator
wait $emulator
"#;

/// An emulated cloud with nothing in it, stopped when dropped.
#[derive(Debug)]
pub struct Emulator {
    address: String,
    keeper: Child,
}

impl Emulator {
    /// Starts the emulator of that name (`aws`, `gcp`, `azure`) on a port of its own, with these variables in its environment.
    pub fn start(name: &str, environment: &[(&str, &str)]) -> Self {
        let program = checkout().join(format!("emulators/{name}.py"));
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER]).arg(python()).arg(program);
        // Roots of containers lie there, and it may be in a folder that machines have of their own.
        keeper.env("NVBIND_MACHINES_SHARE", cache_dir());
        keeper.envs(environment.iter().copied());
        let mut keeper = keeper
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start a shell: {error}"));
        let mut line = String::new();
        if let Some(output) = keeper.stdout.take() {
            let _ = BufReader::new(output).read_line(&mut line);
        }
        let Some(address) = line.trim().strip_prefix("listening on http://") else {
            let _ = keeper.kill();
            panic!("the emulator of {name} did not start: it said '{}'", line.trim());
        };
        Self {
            address: address.to_owned(),
            keeper,
        }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds a rule: what is to go wrong, as `emulators/rules.py` describes it.
    pub fn rule(&self, rule: &Value) {
        self.post("/_x/rule", rule);
    }

    /// Forgets rules and log; what exists stays.
    pub fn reset(&self) {
        self.post("/_x/reset", &json!({}));
    }

    /// Every call so far.
    pub fn log(&self) -> Vec<Value> {
        self.get("/_x/log")
    }

    /// How often an operation was called.
    pub fn calls(&self, name: &str) -> usize {
        self.log().iter().filter(|call| call["call"] == name).count()
    }

    /// Every machine that is not gone.
    pub fn machines(&self) -> Vec<Value> {
        self.get("/_x/machines")
    }

    /// Everything that is not gone: machines, keys, firewalls, disks, addresses, networks.
    pub fn everything(&self) -> Vec<Value> {
        self.get("/_x/everything")
    }

    /// A machine dies silently.
    pub fn kill(&self, id: &str) {
        self.post("/_x/kill", &json!({ "id": id }));
    }

    /// A spot machine is warned now and taken back after so many seconds.
    pub fn interrupt(&self, id: &str, seconds: f64) {
        self.post("/_x/interrupt", &json!({ "id": id, "seconds": seconds }));
    }

    /// Posts to a path of the emulator's own, below `/_x/`. Panics with what it answered when that is no success.
    pub fn post(&self, path: &str, body: &Value) -> Value {
        self.exchange("POST", path, &body.to_string())
    }

    fn get(&self, path: &str) -> Vec<Value> {
        match self.exchange("GET", path, "") {
            Value::Array(list) => list,
            other => panic!("{path}: no list: {other}"),
        }
    }

    fn exchange(&self, method: &str, path: &str, body: &str) -> Value {
        let answer = self.talk(method, path, body);
        let answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        assert!(head.split(' ').nth(1) == Some("200"), "{method} {path}: {head}\n{body}");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{method} {path}: {error}: {body}"))
    }

    fn talk(&self, method: &str, path: &str, body: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}",
            self.address
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// Python with what the emulators need, fetched if need be.
fn python() -> PathBuf {
    let dir = cache_dir().join("emulators");
    check(Command::new(checkout().join("scripts/fetch-emulators.sh")).arg(&dir));
    dir.join("bin/python")
}
