//! The load of a deployment's nodes, and how their number follows it.

use super::{Controller, Happening};
use crate::Scale;
use crate::attempt::{Attempt, AttemptStatus};
use crate::deployment::Deployment;
use crate::scale::{Load, desired_nodes};
use crate::state::StateError;
use std::collections::{BTreeMap, VecDeque};
use std::process::{Command, Stdio};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// Longest time that the use of a node's GPUs is averaged over, in milliseconds: one second of it says little.
const WINDOW_MS: i64 = 60_000;
/// How long a queue may take to tell its length.
const QUEUE_PATIENCE: Duration = Duration::from_secs(5);
/// Kind of the event that tells of another number of nodes.
const CHANGE: &str = "scale";

/// What was heard of the load.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    /// Use of each node's GPUs in percent, with the time at which it was heard.
    gpus: BTreeMap<u32, VecDeque<(i64, f64)>>,
    /// How much waits, as last told.
    queue: Option<f64>,
    /// Whether the queue is being asked.
    is_asking: bool,
    /// When the number of nodes was changed last, in milliseconds since 1970; read when it is first needed.
    changed_ms: Option<i64>,
}

impl Gauge {
    /// A node's GPUs are that busy.
    pub(super) fn hear(&mut self, node: u32, percent: f64, now_ms: i64) {
        let samples = self.gpus.entry(node).or_default();
        samples.push_back((now_ms, percent));
        while samples.front().is_some_and(|(at, _)| now_ms - at > WINDOW_MS) {
            samples.pop_front();
        }
    }

    /// A node has another machine, or none any more.
    pub(super) fn forget(&mut self, node: u32) {
        self.gpus.remove(&node);
    }

    /// The queue has told its length, or not.
    pub(super) fn queue_told(&mut self, length: Option<f64>) {
        self.queue = length;
        self.is_asking = false;
    }

    /// The load now. A node that has not been heard of for as long as uses are averaged over is not known.
    fn load(&self, scale: &Scale, now_ms: i64) -> Load {
        let cooldown_ms = i64::try_from(scale.cooldown_seconds.saturating_mul(1000)).unwrap_or(WINDOW_MS);
        let since = now_ms - cooldown_ms.clamp(1000, WINDOW_MS);
        let mean = |(node, samples): (&u32, &VecDeque<(i64, f64)>)| {
            let recent: Vec<f64> = samples
                .iter()
                .filter(|(at, _)| *at >= since)
                .map(|(_, percent)| *percent)
                .collect();
            (!recent.is_empty()).then(|| (*node, recent.iter().sum::<f64>() / recent.len() as f64))
        };
        Load {
            gpu_percent: self.gpus.iter().filter_map(mean).collect(),
            queue: self.queue,
        }
    }

    /// Asks the queue in a thread of its own: a slow one holds up nothing else.
    fn ask(&mut self, command: Option<&str>, to: &Sender<Happening>) {
        let Some(command) = command.filter(|_| !self.is_asking) else {
            return;
        };
        self.is_asking = true;
        let (command, to) = (command.to_owned(), to.clone());
        std::thread::spawn(move || {
            let _ = to.send(Happening::Queue(queue(&command)));
        });
    }
}

impl Controller {
    /// Changes the number of nodes where the load asks for it; whether it did.
    pub(super) fn scaled(
        &mut self,
        deployment: &Deployment,
        attempts: &[Attempt],
        now: i64,
    ) -> Result<bool, StateError> {
        let Some(scale) = &deployment.spec.scale else {
            return Ok(false);
        };
        self.gauge.ask(scale.queue_command.as_deref(), &self.to);
        let changed_ms = match self.gauge.changed_ms {
            Some(changed) => changed,
            None => self.state.last_event_of(deployment.id, CHANGE)?.unwrap_or(0),
        };
        self.gauge.changed_ms = Some(changed_ms);
        let load = self.gauge.load(scale, now);
        let wanted = desired_nodes(scale, deployment.nodes, &load, changed_ms, now);
        let is_early = wanted < deployment.nodes && deployment.nodes <= scale.max && !is_warm(scale, attempts, now);
        if wanted == deployment.nodes || is_early {
            return Ok(false);
        }
        self.gauge.changed_ms = Some(now);
        self.state.set_nodes(deployment.id, wanted)?;
        let message = format!("from {} to {wanted} nodes: {}", deployment.nodes, told(scale, &load));
        self.state.tell(Some(deployment.id), None, CHANGE, &message)?;
        Ok(true)
    }
}

/// Whether every node has had the cool-down to get to work: one that has just been started is idle, and that says nothing.
fn is_warm(scale: &Scale, attempts: &[Attempt], now_ms: i64) -> bool {
    let cooldown_ms = i64::try_from(scale.cooldown_seconds.saturating_mul(1000)).unwrap_or(i64::MAX);
    let mut live = attempts.iter().filter(|attempt| attempt.is_live());
    live.all(|attempt| {
        let started = attempt.started_ms.filter(|_| attempt.status == AttemptStatus::Working);
        started.is_some_and(|started| now_ms.saturating_sub(started) >= cooldown_ms)
    })
}

/// The load as it was looked at, in words.
fn told(scale: &Scale, load: &Load) -> String {
    let count = load.gpu_percent.len();
    let sum: f64 = load.gpu_percent.iter().map(|(_, percent)| percent).sum();
    let gpus =
        (scale.gpu_utilization.is_some() && count > 0).then(|| format!("GPUs are busy to {:.0} %", sum / count as f64));
    let queue = load.queue.map(|queue| format!("{queue} wait"));
    let parts: Vec<String> = gpus.into_iter().chain(queue).collect();
    match parts.is_empty() {
        true => "within the bounds".to_owned(),
        false => parts.join(", "),
    }
}

/// The number that a queue's command prints.
fn queue(command: &str) -> Option<f64> {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = shell.spawn().ok()?;
    let until = Instant::now() + QUEUE_PATIENCE;
    while child.try_wait().ok()?.is_none() {
        if Instant::now() > until {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().ok()?;
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(cooldown_seconds: u64) -> Scale {
        Scale {
            min: 1,
            max: 4,
            gpu_utilization: Some(50.0),
            queue_command: None,
            queue_per_node: None,
            cooldown_seconds,
        }
    }

    #[test]
    fn uses_are_averaged_and_old_ones_forgotten() {
        let mut gauge = Gauge::default();
        for (at, percent) in [(0, 100.0), (30_000, 0.0), (60_000, 80.0)] {
            gauge.hear(0, percent, at);
        }
        gauge.hear(1, 10.0, 5_000);
        let percents = |cooldown, now| gauge.load(&scale(cooldown), now).gpu_percent;
        assert_eq!(percents(300, 60_000), [(0, 60.0), (1, 10.0)]);
        assert_eq!(percents(300, 70_000), [(0, 40.0)]);
        assert_eq!(percents(5, 62_000), [(0, 80.0)]);
        assert_eq!(percents(300, 200_000), []);
        gauge.forget(0);
        assert_eq!(gauge.load(&scale(300), 60_000).gpu_percent, [(1, 10.0)]);
    }

    #[test]
    fn a_queue_tells_a_number_or_nothing() {
        assert_eq!(queue("echo ' 12 '"), Some(12.0));
        assert_eq!(queue("echo many"), None);
        assert_eq!(queue("exit 1"), None);
        let start = Instant::now();
        assert_eq!(queue("sleep 60"), None);
        assert!(start.elapsed() < QUEUE_PATIENCE * 2);
    }
}
