//! What is done with an agent from outside: commands on the same host.

use super::folder::Folder;
use super::log::Tail;
use super::report::{Exit, ExitReason, now_ms};
use super::{AgentError, AgentState, Phase, Plan, Report, nvbind, process};
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The log of the workload.
pub(super) const LOG: &str = "log";
/// The order to stop.
pub(super) const STOP: &str = "stop.json";
/// Path of the `nvbind` that is the agent: whoever comes later asks the same one.
const PROGRAM: &str = "program";
/// What the agent itself has to say.
const AGENT_LOG: &str = "agent.log";
const LOOK: Duration = Duration::from_millis(50);
const HEARTBEAT: Duration = Duration::from_secs(1);
/// So long an agent may take to write its first state.
const START: Duration = Duration::from_secs(15);
/// Seconds beside the grace that an agent may take to stop.
const SLACK_SECONDS: u64 = 20;

/// The order to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopOrder {
    /// Seconds between SIGTERM and SIGKILL.
    pub grace_seconds: u64,
    /// Whether the checkpoint is to be made before.
    pub checkpoint: bool,
}

/// Starts an agent with the plan (JSON) in the background. The same plan again starts nothing: what became of it is told.
/// `program` is the `nvbind` that is to be the agent.
pub fn start(path: &Path, program: &Path, plan: &str) -> Result<Report, AgentError> {
    let plan: Plan = serde_json::from_str(plan).map_err(|error| AgentError::Form {
        path: "standard input".into(),
        why: error.to_string(),
    })?;
    let folder = Folder::make(path)?;
    match folder.plan()? {
        Some(other) if other.token != plan.token => return Err(AgentError::Taken(path.to_owned())),
        Some(_) => {
            if let Some(report) = folder.report()? {
                return Ok(report);
            }
        }
        None => folder.write_plan(&plan)?,
    }
    folder.write_bytes(PROGRAM, program.as_os_str().as_bytes(), true)?;
    let log = folder.file(AGENT_LOG);
    let open = || OpenOptions::new().create(true).append(true).mode(0o600).open(&log);
    let mut command = Command::new(program);
    command.args(["cloud", "agent", "run", "--dir"]).arg(path);
    command.stdin(Stdio::null());
    command.stdout(open().map_err(AgentError::io("open", &log))?);
    command.stderr(open().map_err(AgentError::io("open", &log))?);
    let mut child = command.spawn().map_err(AgentError::io("start", program))?;
    let deadline = Instant::now() + START;
    loop {
        if let Some(report) = folder.report()? {
            return Ok(report);
        }
        let has_ended = matches!(child.try_wait(), Ok(Some(_)));
        // Another start of the same plan may have been quicker, so the state is looked for once more.
        if has_ended || Instant::now() > deadline {
            return folder.report()?.ok_or_else(|| not_started(path, &log));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn not_started(path: &Path, log: &Path) -> AgentError {
    let text = fs::read_to_string(log).unwrap_or_default();
    AgentError::NotStarted {
        path: path.to_owned(),
        why: text.lines().last().unwrap_or("it said nothing").to_owned(),
    }
}

/// Prints the state as a line of JSON at each change and each second, until the agent is done or dead.
pub fn follow(path: &Path, output: &mut dyn Write) -> Result<(), AgentError> {
    let folder = Folder::of(path);
    let mut told: Option<(u64, AgentState, Instant)> = None;
    loop {
        let report = folder.report()?.ok_or_else(|| AgentError::None(path.to_owned()))?;
        let is_news = told.is_none_or(|(change, agent, at)| {
            change != report.change || agent != report.agent || at.elapsed() >= HEARTBEAT
        });
        if is_news {
            told = Some((report.change, report.agent, Instant::now()));
            if !tell(&report, output).map_err(AgentError::io("write", "standard output".as_ref()))? {
                return Ok(());
            }
        }
        if report.agent != AgentState::Alive {
            return Ok(());
        }
        thread::sleep(LOOK);
    }
}

/// Whether somebody still reads.
fn tell(report: &Report, output: &mut dyn Write) -> io::Result<bool> {
    let line = serde_json::to_string(report)?;
    match writeln!(output, "{line}").and_then(|()| output.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        other => other.map(|()| true),
    }
}

/// Prints what the workload wrote: the last `tail` lines or all that is kept; with `follow` also what comes, until the agent is done or dead.
pub fn logs(path: &Path, tail: Option<usize>, follow: bool, output: &mut dyn Write) -> Result<(), AgentError> {
    let folder = Folder::of(path);
    let state = || -> Result<AgentState, AgentError> {
        let report = folder.report()?.ok_or_else(|| AgentError::None(path.to_owned()))?;
        Ok(report.agent)
    };
    // Before the log: what was written until then is read after it.
    let mut agent = state()?;
    let log = folder.file(LOG);
    let copied = Tail::open(&log, tail, output);
    let mut tail = match broken_is_end(copied, &log)? {
        Some(tail) => tail,
        None => return Ok(()),
    };
    while follow && agent == AgentState::Alive {
        thread::sleep(LOOK);
        agent = state()?;
        if broken_is_end(tail.go_on(output), &log)?.is_none() {
            return Ok(());
        }
    }
    Ok(())
}

/// A reader that has gone away is no error.
fn broken_is_end<T>(result: io::Result<T>, log: &Path) -> Result<Option<T>, AgentError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(None),
        Err(error) => Err(AgentError::io("copy", log)(error)),
    }
}

/// Ends a workload, also one whose agent is dead, and returns when it has ended.
pub fn stop(path: &Path, program: &Path, order: StopOrder) -> Result<Report, AgentError> {
    let folder = Folder::of(path);
    let report = || folder.report()?.ok_or_else(|| AgentError::None(path.to_owned()));
    let first = report()?;
    if first.agent == AgentState::Alive {
        folder.write(STOP, &order, true)?;
    }
    let mut now = first;
    let seconds = order.grace_seconds + SLACK_SECONDS + if order.checkpoint { 300 } else { 0 };
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while now.agent == AgentState::Alive {
        if Instant::now() > deadline {
            return Err(AgentError::NotStopped {
                path: path.to_owned(),
                seconds,
            });
        }
        thread::sleep(LOOK);
        now = report()?;
    }
    match now.agent {
        AgentState::Dead => end_for_the_dead(&folder, program, now, order.grace_seconds),
        AgentState::Alive | AgentState::Done => Ok(now),
    }
}

/// Ends what a dead agent has left, and says so in its place.
fn end_for_the_dead(folder: &Folder, program: &Path, report: Report, grace: u64) -> Result<Report, AgentError> {
    let plan = folder.plan()?.ok_or_else(|| AgentError::None(folder.path().to_owned()))?;
    nvbind::end(program, &plan.container(), grace)?;
    if let Some(child) = report.child {
        process::kill_named(child);
    }
    // A start that was cut off before it had a container is found by this call.
    nvbind::end(program, &plan.container(), 0)?;
    let report = Report {
        agent: AgentState::Done,
        change: report.change + 1,
        at_ms: now_ms(),
        phase: Phase::Ended,
        exit: Some(Exit {
            at_ms: now_ms(),
            code: None,
            reason: ExitReason::Stopped,
        }),
        child: None,
        ..report
    };
    folder.write_report(&report, true)?;
    Ok(report)
}

/// Removes the folder of an agent that is done; one that is not there is no error.
pub fn clean(path: &Path) -> Result<(), AgentError> {
    let folder = Folder::of(path);
    if !path.exists() {
        return Ok(());
    }
    match folder.report()?.map(|report| report.agent) {
        Some(AgentState::Alive | AgentState::Dead) => Err(AgentError::Runs(path.to_owned())),
        Some(AgentState::Done) | None => fs::remove_dir_all(path).map_err(AgentError::io("remove", path)),
    }
}
