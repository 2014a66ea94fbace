//! Whoever looks after one machine: a thread that prepares it, starts the workload there, and tells what the agent reports.

use super::gang::{is_complete, peers};
use super::{Controller, Happening};
use crate::agent::{AgentState, ExitReason, MetadataSource, Phase, Plan, Report, StopOrder};
use crate::attempt::{Attempt, AttemptStatus, EndReason};
use crate::catalog::ProviderName;
use crate::deployment::{Deployment, DeploymentSpec, DeploymentStatus};
use crate::host::{HostError, Kit, Node, Prepared, Target};
use crate::provider::{ErrorClass, ProviderError};
use crate::state::{State, StateError, now_ms};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

/// Pause before a machine that could not be reached is tried again.
const PAUSE: Duration = Duration::from_millis(300);
/// Free disk that a machine must have for nvbind and its state, in MiB.
const DISK_MIB: u64 = 64;
/// Without a report for that long the connection is made anew. The agent reports each second.
const SILENCE: Duration = Duration::from_secs(4);

/// Pause before a provider is asked again about a silent machine, in milliseconds.
const SUSPECT_MS: i64 = 2_000;

/// News from a machine.
#[derive(Debug)]
pub(super) enum WorkerNews {
    /// It was reached.
    Reached,
    /// The workload was started; what took how long.
    Started(String),
    /// The agent reports.
    Report(Box<Report>),
    /// The machine cannot be used.
    Useless(HostError),
}

/// A thread that looks after a machine; it ends when this is dropped.
pub(super) struct Worker {
    is_done: Arc<AtomicBool>,
    /// When it last had a word from the machine, in milliseconds since 1970.
    pub(super) heard_ms: i64,
    /// When it began.
    since_ms: i64,
    /// Number of starts of the workload that it knows of.
    starts: u32,
    /// The addresses that the workload is told.
    peers: Vec<String>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.is_done.store(true, Ordering::Relaxed);
    }
}

/// What a worker knows.
struct Task {
    target: Target,
    kit: Arc<Kit>,
    plan: Plan,
    /// Whether the workload is to be started; else it runs already.
    starts: bool,
    /// The run before that one on the same machine, which has ended or is to end.
    before: Option<String>,
    is_done: Arc<AtomicBool>,
    to: Sender<Happening>,
    attempt: i64,
}

impl Task {
    fn tell(&self, news: WorkerNews) {
        // Nobody listens any more when the controller was told to go.
        let _ = self.to.send(Happening::News(self.attempt, news));
    }

    fn run(mut self) {
        while !self.is_done.load(Ordering::Relaxed) {
            match self.look_after() {
                Err(error) if !may_pass(&error) => return self.tell(WorkerNews::Useless(error)),
                Err(_) => thread::sleep(PAUSE),
                Ok(()) => return,
            }
        }
    }

    /// Connects, prepares and starts what is to be started, and tells the reports until the connection breaks.
    fn look_after(&mut self) -> Result<(), HostError> {
        let mut node = Node::connect(self.target.clone())?;
        self.tell(WorkerNews::Reached);
        if self.starts {
            let prepared = node.prepare(&self.kit, DISK_MIB)?;
            if let Some(token) = &self.before {
                node.stop(token, stop_order(self.plan.grace_seconds))?;
            }
            node.start(&self.plan)?;
            self.starts = false;
            self.tell(WorkerNews::Started(told(&prepared)));
        }
        for report in node.follow(&self.plan.token, SILENCE)? {
            if self.is_done.load(Ordering::Relaxed) {
                return Ok(());
            }
            let report = report?;
            let is_over = end_of(&report).is_some();
            self.tell(WorkerNews::Report(Box::new(report)));
            if is_over {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// What took how long.
fn told(prepared: &Prepared) -> String {
    let steps: Vec<String> = prepared
        .steps
        .iter()
        .map(|step| format!("{} {:.2} s", step.name, step.seconds))
        .collect();
    format!("the workload was started; {}", steps.join(", "))
}

/// Whether that may be over when the host is asked again.
fn may_pass(error: &HostError) -> bool {
    // A machine that has just come up refuses logins until its first-boot program has put the key in place.
    matches!(
        error,
        HostError::Unreachable { .. }
            | HostError::Lost { .. }
            | HostError::Silent { .. }
            | HostError::Denied { .. }
            | HostError::Local { .. }
    )
}

impl Controller {
    /// Sees that somebody looks after a machine, and that it is not silent for too long.
    pub(super) fn attend(
        &mut self,
        deployment: &Deployment,
        attempts: &[Attempt],
        attempt: &Attempt,
    ) -> Result<(), StateError> {
        if self.rejoined(deployment, attempts, attempt)? {
            return Ok(());
        }
        let now = now_ms();
        let starts = attempt.starts;
        match self.workers.get(&attempt.id) {
            Some(worker) if worker.starts == starts => {
                let is_up = attempt.status == AttemptStatus::Working;
                let patience = &self.tools.patience;
                if is_up && attempt.exit_code.is_none() && now - worker.heard_ms > patience.lost_ms {
                    return self.suspect(deployment, attempt);
                }
                if !is_up && now - worker.since_ms > patience.prepare_ms {
                    return self.release(attempt.clone(), EndReason::NotUsable);
                }
                Ok(())
            }
            _ if attempt.exit_code.is_some() => Ok(()),
            _ => self.begin(deployment, attempts, attempt),
        }
    }

    /// Starts the workload on a machine, or finds it started, once nothing stands against it.
    fn begin(&mut self, deployment: &Deployment, attempts: &[Attempt], attempt: &Attempt) -> Result<(), StateError> {
        let is_new = attempt.status == AttemptStatus::Running;
        if is_new && (!is_complete(deployment, attempts) || self.hands_over(attempts, attempt)?) {
            return Ok(());
        }
        self.start_worker(deployment, attempts, attempt)
    }

    fn start_worker(
        &mut self,
        deployment: &Deployment,
        attempts: &[Attempt],
        attempt: &Attempt,
    ) -> Result<(), StateError> {
        let target = match target(&self.state, deployment, attempt, self.tools.ssh_config.as_deref()) {
            Ok(target) => target,
            Err(error) => return self.useless(attempt.clone(), &error),
        };
        let is_done = Arc::new(AtomicBool::new(false));
        let task = Task {
            target,
            kit: self.tools.programs.clone(),
            plan: plan(&deployment.spec, attempts, attempt, deployment.nodes),
            starts: attempt.status == AttemptStatus::Running,
            before: attempt.starts.checked_sub(1).map(|starts| token_of(attempt, starts)),
            is_done: is_done.clone(),
            to: self.to.clone(),
            attempt: attempt.id,
        };
        thread::spawn(move || task.run());
        let worker = Worker {
            peers: peers(deployment, attempts),
            is_done,
            heard_ms: now_ms(),
            since_ms: now_ms(),
            starts: attempt.starts,
        };
        self.workers.insert(attempt.id, worker);
        Ok(())
    }

    /// Writes down what is new of a machine.
    pub(super) fn heard(&mut self, id: i64, news: WorkerNews) -> Result<(), StateError> {
        let Some(worker) = self.workers.get_mut(&id) else {
            return Ok(());
        };
        worker.heard_ms = now_ms();
        let peers = worker.peers.clone();
        let mut attempt = self.state.attempt(id)?;
        if attempt.status >= AttemptStatus::Deleting {
            return Ok(());
        }
        match news {
            WorkerNews::Reached => Ok(()),
            WorkerNews::Useless(error) => self.useless(attempt, &error),
            WorkerNews::Started(how) => {
                attempt.status = AttemptStatus::Working;
                attempt.started_ms = Some(now_ms());
                attempt.peers = peers;
                attempt.tries = 0;
                self.save(&attempt, "working", &how)
            }
            WorkerNews::Report(report) => self.reported(attempt, &report),
        }
    }

    fn reported(&mut self, mut attempt: Attempt, report: &Report) -> Result<(), StateError> {
        // What is left to be told of a run that was ended for the next one says nothing of that.
        if report.token != run_token(&attempt) {
            return Ok(());
        }
        if let Some(percent) = mean_use(report) {
            self.gauge.hear(attempt.order.node, percent, now_ms());
        }
        if let (Some(notice), None) = (&report.notice, attempt.notice_ms) {
            attempt.notice_ms = Some(now_ms());
            self.block_after_loss(&attempt)?;
            let message = format!("the provider takes it back {}", notice.when);
            self.save(&attempt, "notice", message.trim_end())?;
        }
        let Some((code, what)) = end_of(report) else {
            return Ok(());
        };
        if attempt.exit_code.is_some() {
            return Ok(());
        }
        let message = format!("{what} ended with code {code}");
        let is_over = attempt.notice_ms.is_some() || code == 0;
        if !is_over && self.is_torn(&attempt)? {
            return self.rejoin(attempt, &message);
        }
        if !is_over && attempt.starts - attempt.rejoins < self.restarts()? {
            attempt.starts += 1;
            attempt.status = AttemptStatus::Running;
            return self.save(&attempt, "restart", &message);
        }
        attempt.exit_code = Some(code);
        self.save(&attempt, "ended", &message)?;
        if code != 0 && attempt.notice_ms.is_none() {
            let message = format!("{what} of node {} ended with code {code}", attempt.order.node);
            self.state
                .set_deployment(attempt.deployment, DeploymentStatus::Failing, &message)?;
        }
        Ok(())
    }

    fn restarts(&self) -> Result<u32, StateError> {
        Ok(self.state.deployment(self.deployment)?.spec.max_restarts)
    }

    /// A machine is silent. Of a cloud's the provider is asked first: when it does not answer either, the silence is on this side.
    fn suspect(&mut self, deployment: &Deployment, attempt: &Attempt) -> Result<(), StateError> {
        if attempt.provider == ProviderName::Hosts {
            return self.lost(attempt.clone());
        }
        let asked = self.suspects.get(&attempt.id).copied().unwrap_or(0);
        if now_ms() - asked > SUSPECT_MS {
            self.suspects.insert(attempt.id, now_ms());
            self.ask(super::Call::Describe, Some(attempt), deployment);
        }
        Ok(())
    }

    /// The provider has answered about a machine that was silent: whether it still is.
    pub(super) fn is_silent(&mut self, id: i64) -> bool {
        let was_suspect = self.suspects.remove(&id).is_some();
        let lost_ms = self.tools.patience.lost_ms;
        let heard = self.workers.get(&id).map(|worker| worker.heard_ms);
        was_suspect && heard.is_some_and(|heard| now_ms() - heard > lost_ms)
    }

    /// A machine is silent: it is given back and its node gets another one.
    pub(super) fn lost(&mut self, attempt: Attempt) -> Result<(), StateError> {
        self.block_after_loss(&attempt)?;
        let heard = self.workers.get(&attempt.id).map_or(0, |worker| worker.heard_ms);
        let silent_ms = now_ms() - heard;
        let message = format!("silent for {:.1} s", silent_ms as f64 / 1000.0);
        self.save(&attempt, "lost", &message)?;
        self.release(attempt, EndReason::Lost)
    }

    fn useless(&mut self, mut attempt: Attempt, error: &HostError) -> Result<(), StateError> {
        let error = ProviderError::new(ErrorClass::Unknown, "Useless", error.to_string());
        self.block(&attempt, &error)?;
        self.save(&attempt, "useless", &error.message)?;
        attempt.error = Some(error);
        self.release(attempt, EndReason::NotUsable)
    }
}

/// The exit code that stands for a workload whose agent was killed: that of SIGKILL.
const KILLED: i32 = 137;

/// How a workload ended and what of it, if it has.
fn end_of(report: &Report) -> Option<(i32, &'static str)> {
    if report.agent == AgentState::Dead {
        return Some((KILLED, "the agent"));
    }
    let exit = report.exit.as_ref()?;
    let what = match exit.reason {
        ExitReason::Setup => "the set-up",
        ExitReason::NotStarted => "the start of the workload",
        _ => "the workload",
    };
    Some((exit.code.unwrap_or(KILLED), what))
}

fn mean_use(report: &Report) -> Option<f64> {
    let count = report.gpus.len();
    let sum: u32 = report.gpus.iter().map(|gpu| gpu.percent).sum();
    (report.phase == Phase::Running && count > 0).then(|| f64::from(sum) / count as f64)
}

/// Names a run of the workload: that of the order, and of its own where it is started again on the same machine.
pub fn run_token(attempt: &Attempt) -> String {
    token_of(attempt, attempt.starts)
}

fn token_of(attempt: &Attempt, starts: u32) -> String {
    match starts {
        0 => attempt.order.token.clone(),
        again => format!("{}r{again}", attempt.order.token),
    }
}

/// What the agent of a node is to do.
fn plan(spec: &DeploymentSpec, attempts: &[Attempt], attempt: &Attempt, nodes: u32) -> Plan {
    let addresses = super::gang::addresses(attempts, nodes);
    let order = &attempt.order;
    let mut environment: BTreeMap<String, String> = BTreeMap::new();
    let mut set = |name: &str, value: String| environment.insert(name.to_owned(), value);
    for (name, skypilot, value) in [
        ("NVBIND_DEPLOYMENT", "SKYPILOT_TASK_ID", spec.name.clone()),
        ("NVBIND_NODE_RANK", "SKYPILOT_NODE_RANK", order.node.to_string()),
        ("NVBIND_NODES", "SKYPILOT_NUM_NODES", nodes.to_string()),
        ("NVBIND_NODE_ADDRESSES", "SKYPILOT_NODE_IPS", addresses.join("\n")),
        ("NVBIND_GPUS", "SKYPILOT_NUM_GPUS_PER_NODE", attempt.gpus.to_string()),
    ] {
        set(name, value.clone());
        set(skypilot, value);
    }
    for name in &spec.secrets {
        if let Ok(value) = std::env::var(name) {
            set(name, value);
        }
    }
    Plan {
        deployment: spec.name.clone(),
        node: order.node,
        token: run_token(attempt),
        workload: spec.run.clone(),
        environment,
        setup: spec.setup.clone(),
        checkpoint: spec.on_notice.clone(),
        grace_seconds: spec.grace_seconds.into(),
        metadata: match attempt.provider {
            ProviderName::Aws => MetadataSource::Aws,
            ProviderName::Gcp => MetadataSource::Gcp,
            ProviderName::Azure => MetadataSource::Azure,
            ProviderName::Hosts => MetadataSource::None,
        },
        metadata_url: None,
        log_mib: 64,
    }
}

/// How an attempt's machine is reached; the user's own hosts by that configuration of `ssh`, or the user's own.
pub fn target(
    state: &State,
    deployment: &Deployment,
    attempt: &Attempt,
    ssh_config: Option<&Path>,
) -> Result<Target, HostError> {
    let address = attempt.address.as_deref().unwrap_or_default();
    if attempt.provider == ProviderName::Hosts {
        let mut target = Target::own(address)?;
        target.config = ssh_config.map(Path::to_owned);
        return Ok(target);
    }
    let folder = super::key::key_folder(state, deployment.id);
    let (user, name) = (&deployment.spec.user, &attempt.order.name);
    Ok(Target::fresh(
        user,
        address,
        folder.join("id_ed25519"),
        folder.join("known_hosts"),
        name,
    )?)
}

fn stop_order(grace_seconds: u64) -> StopOrder {
    StopOrder {
        grace_seconds,
        checkpoint: true,
    }
}

/// Tells the workload on a machine to stop, as far as it can be reached.
pub(super) fn stop(target: Target, token: &str, grace_seconds: u32) {
    let order = stop_order(grace_seconds.into());
    if let Ok(node) = Node::connect(target) {
        // A machine that does not answer is given back all the same.
        let _ = node.stop(token, order);
    }
}
