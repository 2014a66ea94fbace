//! The life of an agent.

use super::control::{LOG, STOP, StopOrder};
use super::folder::Folder;
use super::metadata::{Heard, listen};
use super::process::Process;
use super::report::{Checkpoint, Exit, ExitReason, GpuUse, Notice, NoticeKind, Phase, Report, now_ms, uptime_ms};
use super::workload::workload_file;
use super::{AgentError, Plan, nvbind};
use rustix::process::{Signal, setsid};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Tells how much the GPUs do. It is called each second in a thread of its own: a driver may hang.
pub type Meter = Box<dyn FnMut() -> Vec<GpuUse> + Send>;

/// So often the agent looks at its child, its notices and its folder.
const TICK: Duration = Duration::from_millis(50);
const HEARTBEAT: Duration = Duration::from_secs(1);
const BYTES_PER_MIB: u64 = 1 << 20;
/// Seconds for a checkpoint before a stop that nobody hurries.
const CHECKPOINT_SECONDS: u64 = 300;

/// Carries out the plan in a folder; returns when the workload has ended. `program` is the `nvbind` to run it with.
pub fn run(path: &Path, program: &Path, meter: Meter) -> Result<(), AgentError> {
    let folder = Folder::of(path);
    let plan = folder.plan()?.ok_or_else(|| AgentError::None(path.to_owned()))?;
    let _lock = folder.hold()?.ok_or_else(|| AgentError::Runs(path.to_owned()))?;
    // A plan is carried out once.
    if folder.report()?.is_some() {
        return Ok(());
    }
    // No terminal's end is ours. It fails where we lead a session already.
    let _ = setsid();
    let (sender, heard) = channel();
    listen(plan.metadata, plan.metadata_url.as_deref(), sender);
    let mut agent = Agent {
        report: Report::new(&plan),
        folder,
        plan,
        program: program.to_owned(),
        heard,
        gpus: measure(meter),
        heartbeat: Instant::now(),
        ending: None,
    };
    agent.changed()?;
    agent.live()
}

struct Agent {
    folder: Folder,
    plan: Plan,
    report: Report,
    program: PathBuf,
    heard: Receiver<Heard>,
    gpus: Receiver<Vec<GpuUse>>,
    heartbeat: Instant,
    ending: Option<Ending>,
}

/// The way to the end of a workload that does not end by itself.
struct Ending {
    reason: ExitReason,
    grace: Duration,
    step: Step,
}

enum Step {
    /// The checkpoint runs until then at most.
    Checkpoint(Process, Instant),
    /// It was told to end, and is killed then.
    Terminated(Instant),
    Killed,
}

impl Agent {
    fn live(&mut self) -> Result<(), AgentError> {
        if let Some(script) = self.plan.setup.clone() {
            let command = self.script("setup.sh", &script)?;
            let code = self.accompany(Phase::Setup, command)?;
            if code != Some(0) || self.ending.is_some() {
                return self.ended(code, ExitReason::Setup);
            }
        }
        let command = match self.workload() {
            Ok(command) => command,
            Err(error) => return self.not_started(&error),
        };
        self.report.started_ms = Some(now_ms());
        let code = self.accompany(Phase::Running, command)?;
        if matches!(&self.ending, Some(Ending { step: Step::Killed, .. })) {
            // The container goes with its `nvbind run`; the next call removes its traces.
            nvbind::end(&self.program, &self.plan.container(), 0)?;
        }
        self.ended(code, ExitReason::Ended)
    }

    /// `nvbind run` with the plan's workload.
    fn workload(&self) -> Result<Command, AgentError> {
        let text = workload_file(&self.plan).map_err(|why| AgentError::Form {
            path: self.folder.file("plan.json"),
            why,
        })?;
        self.folder.write_bytes("workload.toml", text.as_bytes(), true)?;
        let mut command = Command::new(&self.program);
        command.args(["run", "--file"]).arg(self.folder.file("workload.toml"));
        Ok(command)
    }

    /// A script, in a file that this user alone can read: it may hold secrets.
    fn script(&self, name: &str, text: &str) -> Result<Command, AgentError> {
        self.folder.write_bytes(name, text.as_bytes(), false)?;
        let mut command = Command::new("sh");
        command.arg("-e").arg(self.folder.file(name)).envs(&self.plan.environment);
        Ok(command)
    }

    fn start(&self, command: Command) -> Result<Process, AgentError> {
        let limit = self.plan.log_mib.max(1) * BYTES_PER_MIB;
        let program = PathBuf::from(command.get_program());
        Process::start(command, &self.folder.file(LOG), limit).map_err(AgentError::io("start", &program))
    }

    /// Runs a command to its end, minding everything else meanwhile.
    fn accompany(&mut self, phase: Phase, command: Command) -> Result<Option<i32>, AgentError> {
        let mut process = match self.start(command) {
            Ok(process) => process,
            Err(error) => return self.not_started(&error).map(|()| None),
        };
        self.report.phase = phase;
        self.report.child = process.name();
        self.changed()?;
        loop {
            if let Some(code) = process.ended().map_err(AgentError::io("wait for", self.folder.path()))? {
                return Ok(Some(code));
            }
            self.hear(&process)?;
            self.go_on_ending(&process)?;
            self.beat()?;
            thread::sleep(TICK);
        }
    }

    /// What the provider and the user say.
    fn hear(&mut self, process: &Process) -> Result<(), AgentError> {
        loop {
            match self.heard.try_recv() {
                Ok(Heard::Notice(notice)) => self.take_notice(notice, process)?,
                Ok(Heard::Error(error)) => {
                    self.report.metadata_error = error;
                    self.changed()?;
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        if self.ending.is_none()
            && let Some(order) = self.folder.read::<StopOrder>(STOP)?
        {
            let checkpoint = order.checkpoint.then_some(CHECKPOINT_SECONDS);
            self.begin_ending(ExitReason::Stopped, order.grace_seconds, checkpoint, process)?;
        }
        Ok(())
    }

    fn take_notice(&mut self, notice: Notice, process: &Process) -> Result<(), AgentError> {
        if notice.kind == NoticeKind::Rebalance {
            self.report.rebalance = Some(notice);
            return self.changed();
        }
        let left = notice.seconds;
        self.report.notice = Some(notice);
        // The checkpoint gets what the workload does not need to end, and at least half of the time.
        let checkpoint = left.saturating_sub(self.plan.grace_seconds + 1).max(left / 2);
        let grace = self.plan.grace_seconds.min(left / 2);
        match self.ending.is_some() {
            true => self.changed(),
            false => self.begin_ending(ExitReason::Interrupted, grace, Some(checkpoint), process),
        }
    }

    /// Begins with the checkpoint, where there is one and the workload runs.
    fn begin_ending(
        &mut self,
        reason: ExitReason,
        grace: u64,
        checkpoint: Option<u64>,
        process: &Process,
    ) -> Result<(), AgentError> {
        let is_running = self.report.phase == Phase::Running;
        self.report.phase = Phase::Stopping;
        let grace = Duration::from_secs(grace);
        let script = self.plan.checkpoint.clone().filter(|_| is_running);
        let checkpoint = match (script, checkpoint) {
            (Some(script), Some(seconds)) => self.checkpoint(&script, seconds),
            _ => None,
        };
        let step = match checkpoint {
            Some((checkpoint, deadline)) => Step::Checkpoint(checkpoint, deadline),
            None => self.terminate(grace, process),
        };
        self.ending = Some(Ending { reason, grace, step });
        self.changed()
    }

    fn checkpoint(&mut self, script: &str, seconds: u64) -> Option<(Process, Instant)> {
        let name = self.plan.container();
        let pid = nvbind::container(&self.program, &name).ok().flatten().and_then(|container| container.pid);
        self.report.checkpoint = Some(Checkpoint {
            started_ms: now_ms(),
            seconds: None,
            code: None,
        });
        let started = self.script("checkpoint.sh", script).and_then(|mut command| {
            command.env("NVBIND_CONTAINER", &name).env("NVBIND_SECONDS", seconds.to_string());
            command.envs(pid.map(|pid| ("NVBIND_PID", pid.to_string())));
            self.start(command)
        });
        started.ok().map(|process| (process, Instant::now() + Duration::from_secs(seconds)))
    }

    fn terminate(&mut self, grace: Duration, process: &Process) -> Step {
        self.report.terminated_ms = Some(now_ms());
        match self.report.started_ms {
            // `nvbind run` hands it on to the command in the container.
            Some(_) => process.signal(Signal::TERM),
            None => process.signal_all(Signal::TERM),
        }
        Step::Terminated(Instant::now() + grace)
    }

    fn go_on_ending(&mut self, process: &Process) -> Result<(), AgentError> {
        let Some(mut ending) = self.ending.take() else { return Ok(()) };
        let next = match &mut ending.step {
            Step::Checkpoint(checkpoint, deadline) => {
                let code = checkpoint.ended().map_err(AgentError::io("wait for", self.folder.path()))?;
                if code.is_none() && Instant::now() < *deadline {
                    None
                } else {
                    if code.is_none() {
                        checkpoint.signal_all(Signal::KILL);
                    }
                    self.note_checkpoint(code);
                    Some(self.terminate(ending.grace, process))
                }
            }
            Step::Terminated(deadline) if Instant::now() >= *deadline => {
                process.signal_all(Signal::KILL);
                Some(Step::Killed)
            }
            Step::Terminated(_) | Step::Killed => None,
        };
        let is_change = next.is_some();
        if let Some(step) = next {
            ending.step = step;
        }
        self.ending = Some(ending);
        match is_change {
            true => self.changed(),
            false => Ok(()),
        }
    }

    fn note_checkpoint(&mut self, code: Option<i32>) {
        if let Some(checkpoint) = &mut self.report.checkpoint {
            checkpoint.seconds = Some(now_ms().saturating_sub(checkpoint.started_ms) as f64 / 1000.0);
            checkpoint.code = code;
        }
    }

    fn beat(&mut self) -> Result<(), AgentError> {
        if self.heartbeat.elapsed() < HEARTBEAT {
            return Ok(());
        }
        self.write(false)
    }

    fn changed(&mut self) -> Result<(), AgentError> {
        self.report.change += 1;
        self.write(true)
    }

    fn write(&mut self, is_change: bool) -> Result<(), AgentError> {
        while let Ok(gpus) = self.gpus.try_recv() {
            self.report.gpus = gpus;
        }
        self.heartbeat = Instant::now();
        self.report.at_ms = now_ms();
        self.report.uptime_ms = uptime_ms();
        self.folder.write_report(&self.report, is_change)
    }

    fn ended(&mut self, code: Option<i32>, reason: ExitReason) -> Result<(), AgentError> {
        if self.report.exit.is_some() {
            return Ok(());
        }
        let reason = self.ending.as_ref().map_or(reason, |ending| ending.reason);
        self.report.phase = Phase::Ended;
        self.report.child = None;
        self.report.exit = Some(Exit {
            at_ms: now_ms(),
            code,
            reason,
        });
        self.changed()
    }

    fn not_started(&mut self, error: &AgentError) -> Result<(), AgentError> {
        let line = format!("nvbind: {error}\n");
        let log = self.folder.file(LOG);
        let written = super::log::Log::open(&log, u64::MAX)
            .and_then(|mut log| std::io::Write::write_all(&mut log, line.as_bytes()));
        written.map_err(AgentError::io("write", &log))?;
        self.ended(Some(1), ExitReason::NotStarted)
    }
}

/// Measures each second in a thread of its own.
fn measure(mut meter: Meter) -> Receiver<Vec<GpuUse>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        while sender.send(meter()).is_ok() {
            thread::sleep(HEARTBEAT);
        }
    });
    receiver
}
