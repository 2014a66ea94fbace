//! A `ctr run` in this process's place: signals, standard input, exit code.

use super::{api, ctr};
use crate::ExitStatus;
use crate::child::{comes_from_terminal, pass_on};
use crate::signals::Signals;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::process::{ChildStderr, ChildStdin};
use tokio::sync::oneshot;

/// Pause before containerd is asked again whether it has the task.
const RETRY: Duration = Duration::from_millis(20);
/// How much of ctr's messages is kept.
const TAIL: usize = 4096;

/// What the container reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// This process's terminal.
    Terminal,
    /// What this process is given.
    Piped,
    /// Nothing.
    Nothing,
    /// Nothing, and nobody waits for the container's end.
    Detached,
}

/// Runs ctr to its end; returns how it ended, and the end of what it and the container wrote to standard error.
pub(super) fn attend(mut command: Command, id: &str, input: Input) -> io::Result<(ExitStatus, String)> {
    command.stderr(Stdio::piped());
    command.stdin(match input {
        Input::Terminal => Stdio::inherit(),
        Input::Piped => Stdio::piped(),
        Input::Nothing | Input::Detached => Stdio::null(),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::catch()?;
        let mut child = tokio::process::Command::from(command).spawn()?;
        let tail = child
            .stderr
            .take()
            .map(ChildStderr::into_owned_fd)
            .transpose()?
            .map(keep_tail);
        let end_of_input = child.stdin.take().map(ChildStdin::into_owned_fd).transpose()?.map(feed);
        let closing = close_stdin(id, input, end_of_input);
        tokio::pin!(closing);
        let mut is_closed = false;
        let status = loop {
            tokio::select! {
                status = child.wait() => break status?,
                () = &mut closing, if !is_closed => is_closed = true,
                (signal, name) = signals.next() => {
                    if !comes_from_terminal(signal) && !kill(id, name).await {
                        pass_on(signal, child.id());
                    }
                }
            }
        };
        let tail = tail.and_then(|tail| tail.join().ok()).unwrap_or_default();
        Ok((ExitStatus::of_process(status), tail))
    })
}

/// Copies this process's standard input to ctr; says when it has ended.
fn feed(to: OwnedFd) -> oneshot::Receiver<()> {
    let (sender, end) = oneshot::channel();
    std::thread::spawn(move || {
        // A container that reads no further is no failure.
        let _ = io::copy(&mut io::stdin(), &mut File::from(to));
        let _ = sender.send(());
    });
    end
}

/// Copies what ctr writes to standard error; its end is the thread's answer.
fn keep_tail(from: OwnedFd) -> JoinHandle<String> {
    let mut from = File::from(from);
    std::thread::spawn(move || {
        let (mut tail, mut buffer) = (Vec::new(), [0; TAIL]);
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let _ = io::stderr().write_all(&buffer[..length]);
            tail.extend_from_slice(&buffer[..length]);
            tail.drain(..tail.len().saturating_sub(TAIL));
        }
        String::from_utf8_lossy(&tail).into_owned()
    })
}

/// Tells the container that its input has ended, once it has. containerd's shim holds the other end of the pipe as long
/// as no one does, and ctr (1.6) does not.
async fn close_stdin(id: &str, input: Input, end: Option<oneshot::Receiver<()>>) {
    match (input, end) {
        (Input::Piped, Some(end)) => drop(end.await),
        (Input::Nothing, _) => {}
        _ => return,
    }
    while !matches!(api::close_stdin(id).await, Ok(true)) {
        tokio::time::sleep(RETRY).await;
    }
}

/// Sends a signal to the container, if it runs: `false` when it does not (the image is being unpacked).
async fn kill(id: &str, signal: &str) -> bool {
    let mut ctr = tokio::process::Command::from(ctr::command());
    ctr.args(["task", "kill", "--signal", signal, id]);
    ctr.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    ctr.status().await.is_ok_and(|status| status.success())
}
