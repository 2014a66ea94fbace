//! What a job runs on in the next tick: the policies that can be compared.

mod bayes;
mod greedy;
mod markov;
mod on_demand;
mod uniform_progress;

use super::Job;
use super::progress::EPSILON;
use std::str::FromStr;

/// What a job runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Nothing.
    None,
    /// Spot capacity.
    Spot,
    /// Capacity on demand.
    OnDemand,
}

/// What a policy sees at a tick.
#[derive(Debug, Clone, Copy)]
pub struct View<'trace> {
    /// Ticks until the deadline.
    pub time_left: f64,
    /// Ticks of work that are left.
    pub work_left: f64,
    /// Ticks of overhead that what is running still has to burn.
    pub overhead_left: f64,
    /// What has run in the last tick and still can.
    pub running: Choice,
    /// Whether spot capacity was there, tick by tick; the last entry is now.
    pub observed: &'trace [bool],
}

impl View<'_> {
    /// Whether spot capacity is there now.
    pub fn is_up(&self) -> bool {
        self.observed.last().copied().unwrap_or(false)
    }

    /// Ticks until the deadline less what the job needs if it goes on with what is running.
    pub fn slack(&self) -> f64 {
        self.time_left - self.work_left - self.overhead_left
    }

    /// Slack that is left after a tick of that choice.
    fn slack_after(&self, choice: Choice, overhead: f64) -> f64 {
        let started = self.time_left - self.work_left;
        match choice {
            Choice::None => started - 1.0,
            _ if choice == self.running => self.slack(),
            _ => started - overhead,
        }
    }

    /// Whether after a tick of that choice the deadline can still be met on demand from scratch, come what may.
    pub fn is_safe(&self, choice: Choice, overhead: f64) -> bool {
        let reserve = if choice == Choice::OnDemand { 0.0 } else { overhead };
        self.slack_after(choice, overhead) >= reserve - EPSILON
    }
}

/// Decides at each tick what a job runs on.
pub trait Policy {
    /// What to run on in the next tick. `Spot` without capacity runs nothing.
    fn choose(&mut self, view: &View<'_>) -> Choice;
}

/// The policies by name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PolicyName {
    /// Learns how long capacity stays and stays away, and plans backward from the deadline.
    #[default]
    Bayes,
    /// Plans backward from the deadline with one fixed Markov chain.
    Markov,
    /// "Can't Be Late" (NSDI 2024): keeps up with a line from start to deadline.
    UniformProgress,
    /// Spot when it is there; on demand when the deadline leaves no choice.
    Greedy,
    /// On demand from start to end.
    OnDemand,
}

impl PolicyName {
    /// Every policy with its name.
    pub const WORDS: [(Self, &'static str); 5] = [
        (Self::Bayes, "bayes"),
        (Self::Markov, "markov"),
        (Self::UniformProgress, "uniform-progress"),
        (Self::Greedy, "greedy"),
        (Self::OnDemand, "on-demand"),
    ];

    /// The name.
    pub fn as_str(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(policy, _)| *policy == self)
            .map_or("", |(_, word)| word)
    }

    /// Whether the policy plans backward, which takes memory for every tick of work and of slack.
    pub(crate) fn plans(self) -> bool {
        matches!(self, Self::Bayes | Self::Markov)
    }

    /// The policy, ready for one run of a job on ticks of that length.
    pub fn policy(self, job: &Job, tick_hours: f64) -> Box<dyn Policy> {
        let overhead = job.overhead_hours / tick_hours;
        match self {
            Self::Bayes => Box::new(bayes::Bayes::new(job, tick_hours)),
            Self::Markov => Box::new(markov::Markov::new(job, tick_hours)),
            Self::UniformProgress => Box::new(uniform_progress::UniformProgress::new(job, tick_hours)),
            Self::Greedy => Box::new(greedy::Greedy { overhead }),
            Self::OnDemand => Box::new(on_demand::OnDemand),
        }
    }
}

/// A word that names no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown policy '{word}': use {}", PolicyName::WORDS.map(|(_, known)| known).join(", "))]
pub struct UnknownPolicy {
    /// The word.
    pub word: String,
}

impl FromStr for PolicyName {
    type Err = UnknownPolicy;

    fn from_str(word: &str) -> Result<Self, UnknownPolicy> {
        let found = Self::WORDS.iter().find(|(_, known)| *known == word);
        found
            .map(|(policy, _)| *policy)
            .ok_or_else(|| UnknownPolicy { word: word.to_owned() })
    }
}
