//! What the tests of the engines have in common.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::LazyLock;

/// The image of the tests: the small root file system.
pub(crate) const IMAGE: &str = "nvbind-test:small";

static ENGINE_RUN: LazyLock<PathBuf> = LazyLock::new(|| nvbind_testkit::example("engine-run"));
static SHIM: LazyLock<PathBuf> = LazyLock::new(|| nvbind_testkit::program("nvbind-runtime"));

/// The program that runs an engine: `examples/engine-run.rs`.
pub(crate) fn engine_run(engine: &str) -> Command {
    let mut command = Command::new(&*ENGINE_RUN);
    command.arg(engine);
    command
}

/// `nvbind-runtime`.
pub(crate) fn shim() -> PathBuf {
    SHIM.clone()
}

/// The end of a program.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs a program with `input` to its end.
pub(crate) fn finish(command: &mut Command, input: &[u8]) -> Ended {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A container that does not read its input leaves a closed pipe.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let ended = child.wait_with_output().unwrap().into();
    writer.join().unwrap();
    ended
}

/// A program that has said `ready`.
pub(crate) fn start_until(command: &mut Command, ready: &str) -> (Child, BufReader<ChildStdout>) {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while line.trim() != ready {
        line.clear();
        assert_ne!(
            stdout.read_line(&mut line).unwrap(),
            0,
            "it ended without saying {ready:?}"
        );
    }
    (child, stdout)
}

/// Sends a signal to a program that the test started.
pub(crate) fn signal(child: &Child, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).unwrap();
}
