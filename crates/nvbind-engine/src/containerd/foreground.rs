//! A `ctr run` in this process's place: signals, standard input, exit code.

use super::ctr;
use super::input::{self, Input};
use crate::ExitStatus;
use crate::child::{comes_from_terminal, pass_on};
use crate::signals::Signals;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use tokio::process::{ChildStderr, ChildStdin};

/// How much of ctr's messages is kept.
const TAIL: usize = 4096;

/// Runs ctr to its end; returns how it ended, and the end of what it and the container wrote to standard error.
pub(super) fn attend(mut command: Command, id: &str, input: Input) -> io::Result<(ExitStatus, String)> {
    command.stderr(Stdio::piped());
    command.stdin(match input {
        Input::Terminal => Stdio::inherit(),
        Input::Piped | Input::Nothing => Stdio::piped(),
        Input::Detached => Stdio::null(),
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
        let of_ctr = child.stdin.take().map(ChildStdin::into_owned_fd).transpose()?;
        let writing = async {
            match of_ctr {
                Some(of_ctr) => input::write(id, input, of_ctr).await,
                None => Ok(()),
            }
        };
        tokio::pin!(writing);
        let mut is_written = false;
        let status = loop {
            tokio::select! {
                status = child.wait() => break status?,
                written = &mut writing, if !is_written => {
                    is_written = true;
                    if let Err(error) = written {
                        eprintln!("cannot give container '{id}' its input: {error}");
                    }
                }
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

/// Sends a signal to the container, if it runs: `false` when it does not (the image is being unpacked).
async fn kill(id: &str, signal: &str) -> bool {
    let mut ctr = tokio::process::Command::from(ctr::command());
    ctr.args(["task", "kill", "--signal", signal, id]);
    ctr.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    ctr.status().await.is_ok_and(|status| status.success())
}
