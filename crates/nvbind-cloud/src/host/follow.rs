//! The reports of a node as they come.

use super::HostError;
use super::ssh::{Printed, Ssh, collect};
use crate::agent::{AgentState, Report};
use std::io::{BufRead, BufReader};
use std::process::Child;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// The reports of a node: one at each change and each second, the last one when its agent is done or dead. After an error, and
/// after the last one, there are no more.
#[derive(Debug)]
pub struct Follow {
    host: String,
    child: Child,
    lines: Receiver<String>,
    printed: Printed,
    silence: Duration,
    is_over: bool,
}

impl Follow {
    pub(super) fn start(ssh: &Ssh, argv: &[&str], silence: Duration) -> Result<Self, HostError> {
        let mut child = ssh.stream(argv)?;
        let printed = collect(child.stderr.take());
        let (sender, lines) = channel();
        let stdout = child.stdout.take();
        thread::spawn(move || {
            let Some(stdout) = stdout else { return };
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            host: ssh.host().to_owned(),
            child,
            lines,
            printed,
            silence,
            is_over: false,
        })
    }

    fn report(&self, line: &str) -> Result<Report, HostError> {
        serde_json::from_str(line).map_err(|error| HostError::Answer {
            host: self.host.clone(),
            what: "agent follow".to_owned(),
            why: error.to_string(),
        })
    }

    /// The stream has ended before its last report.
    fn broken(&mut self) -> HostError {
        let code = self.child.wait().ok().and_then(|status| status.code()).unwrap_or(-1);
        let printed = self.printed.whole();
        let (host, why) = (self.host.clone(), super::error::last_words(&printed));
        match code {
            255 | -1 if printed.trim().is_empty() => HostError::Lost {
                host,
                why: "the connection ended".to_owned(),
            },
            255 | -1 => HostError::Lost { host, why },
            code => HostError::Failed {
                host,
                what: "agent follow".to_owned(),
                code,
                why,
            },
        }
    }
}

impl Iterator for Follow {
    type Item = Result<Report, HostError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let next = match self.lines.recv_timeout(self.silence) {
            Ok(line) => self.report(&line),
            Err(RecvTimeoutError::Timeout) => Err(HostError::Silent {
                host: self.host.clone(),
                seconds: self.silence.as_secs(),
            }),
            Err(RecvTimeoutError::Disconnected) => Err(self.broken()),
        };
        self.is_over = next.as_ref().map_or(true, |report| report.agent != AgentState::Alive);
        Some(next)
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
