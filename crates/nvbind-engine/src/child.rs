//! Engines that are programs: a child that takes this process's place towards its caller.

use crate::ExitStatus;
use crate::signals::Signals;
use rustix::process::{Pid, Signal, kill_process};
use std::io;
use std::process::Command;

/// Runs a program with this process's standard streams and returns how it ended. A signal is offered to `deliver`, by
/// its name, and passed on to the program when that does not take it.
pub(crate) fn forward(command: Command, deliver: &impl AsyncFn(&str) -> bool) -> io::Result<ExitStatus> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::catch()?;
        let mut child = tokio::process::Command::from(command).spawn()?;
        loop {
            tokio::select! {
                status = child.wait() => return Ok(ExitStatus::of_process(status?)),
                (signal, name) = signals.next() => {
                    if !comes_from_terminal(signal) && !deliver(name).await {
                        pass_on(signal, child.id());
                    }
                }
            }
        }
    })
}

/// Runs a program to its end: what it printed, or what it said was wrong, on one line.
pub(crate) fn ask(command: &mut Command) -> io::Result<Result<String, String>> {
    let output = command.stdin(std::process::Stdio::null()).output()?;
    if output.status.success() {
        return Ok(Ok(String::from_utf8_lossy(&output.stdout).into_owned()));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(Err(if line.is_empty() {
        output.status.to_string()
    } else {
        line
    }))
}

/// Sends a signal to a program.
pub(crate) fn pass_on(signal: i32, child: Option<u32>) {
    let pid = child.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    if let (Some(pid), Some(signal)) = (pid, Signal::from_named_raw(signal)) {
        // That the child has just ended is no error.
        let _ = kill_process(pid, signal);
    }
}

/// Whether the kernel sent a terminal's signal (a person's Ctrl-C) to the whole foreground group: the child, which is
/// in it, has it already.
pub(crate) fn comes_from_terminal(signal: i32) -> bool {
    let of_terminals = [Signal::INT, Signal::QUIT, Signal::HUP].map(Signal::as_raw);
    of_terminals.contains(&signal)
        && rustix::termios::tcgetpgrp(io::stdin()).is_ok_and(|group| group == rustix::process::getpgrp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        shell
    }

    #[test]
    fn exit_codes_and_signals_of_the_child_are_ours() {
        assert_eq!(forward(shell("exit 7"), &async |_| false).unwrap().code, 7);
        assert_eq!(forward(shell("kill -KILL $$"), &async |_| false).unwrap().code, 137);
    }

    #[test]
    fn what_went_wrong_is_one_line() {
        assert_eq!(ask(&mut shell("echo yes")).unwrap(), Ok("yes\n".into()));
        assert_eq!(
            ask(&mut shell("echo a >&2; echo b >&2; exit 1")).unwrap(),
            Err("a b".into())
        );
        assert_eq!(ask(&mut shell("exit 1")).unwrap(), Err("exit status: 1".into()));
    }
}
