//! A live deployment with a deadline: what to run it on now.
//!
//! Time is counted in ticks of ten minutes from the deployment's start. What is decided follows from what was written down about
//! the ticks that are over, and from nothing else: a controller that starts anew decides as the one before it would have.

use crate::spot::{Choice, Job, Policy, PolicyName, Progress};
use serde::{Deserialize, Serialize};

/// Length of a tick in milliseconds, that of the records which the policies were compared on.
pub const TICK_MS: i64 = 600_000;

/// Length of a tick in hours.
const TICK_HOURS: f64 = 1.0 / 6.0;

/// A tick that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// Whether spot capacity was there: a spot machine ran, or one could have been had, as far as is known.
    pub was_up: bool,
    /// What the workload ran on for the whole of the tick, its set-up included. One that was cut short counts as
    /// [`Choice::None`]: work since the last checkpoint may be lost, and nobody knows how much.
    #[serde(with = "word")]
    pub ran: Choice,
}

/// What a live deployment runs on, tick by tick.
pub struct Live {
    job: Job,
    policy: Box<dyn Policy>,
    progress: Progress,
    /// What was seen of spot capacity: before the start, then tick by tick.
    observed: Vec<bool>,
    /// Ticks that are over.
    ticks: usize,
}

impl Live {
    /// A job that starts now. `before` is what was seen of spot capacity before, tick by tick, as far as anything was.
    pub fn new(job: &Job, before: &[bool]) -> Self {
        Self {
            job: *job,
            policy: PolicyName::Bayes.policy(job, TICK_HOURS),
            progress: Progress::new(job, TICK_HOURS),
            observed: before.to_vec(),
            ticks: 0,
        }
    }

    /// The same, brought to where the ticks that are over have brought it.
    pub fn resume(job: &Job, before: &[bool], over: &[Tick]) -> Self {
        let mut live = Self::new(job, before);
        for tick in over {
            live.choose(tick.was_up, 0.0);
            live.ran(tick.ran);
        }
        live
    }

    /// What to run on in the tick that begins or has begun. To be called once for each tick, and followed by [`Live::ran`].
    ///
    /// `late_ms` is how much of the time until the deadline is gone beyond the ticks that were told of: the part of this tick that is
    /// over, and ticks that nobody watched.
    pub fn choose(&mut self, is_up: bool, late_ms: f64) -> Choice {
        self.observed.push(is_up);
        self.progress.see(is_up);
        if self.progress.is_done() {
            return Choice::None;
        }
        let late = late_ms.max(0.0) / TICK_MS as f64;
        let time_left = self.job.deadline_hours / TICK_HOURS - self.ticks as f64 - late;
        match self.policy.choose(&self.progress.view(time_left, &self.observed)) {
            Choice::Spot if !is_up => Choice::None,
            choice => choice,
        }
    }

    /// The tick is over: what it ran on.
    pub fn ran(&mut self, choice: Choice) {
        self.progress.run(choice, 1.0);
        self.ticks += 1;
    }

    /// Hours of work that are left, as far as the ticks tell.
    pub fn work_left_hours(&self) -> f64 {
        self.progress.work_left() * TICK_HOURS
    }
}

/// What to run on now: a job that started then, what was seen of spot capacity before, the ticks that are over, and whether
/// spot capacity is there.
pub fn choose(job: &Job, before: &[bool], over: &[Tick], started_ms: i64, now_ms: i64, is_up: bool) -> Choice {
    let told = i64::try_from(over.len()).unwrap_or(i64::MAX).saturating_mul(TICK_MS);
    let late = now_ms.saturating_sub(started_ms).saturating_sub(told);
    Live::resume(job, before, over).choose(is_up, late as f64)
}

/// A choice as a word.
mod word {
    use crate::spot::Choice;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    const WORDS: [(Choice, &str); 3] = [
        (Choice::None, "none"),
        (Choice::Spot, "spot"),
        (Choice::OnDemand, "on-demand"),
    ];

    #[allow(clippy::trivially_copy_pass_by_ref)] // As serde wants it.
    pub(super) fn serialize<S: Serializer>(choice: &Choice, serializer: S) -> Result<S::Ok, S::Error> {
        let word = WORDS.iter().find(|(known, _)| known == choice);
        serializer.serialize_str(word.map_or("", |(_, word)| word))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Choice, D::Error> {
        let text = String::deserialize(deserializer)?;
        let found = WORDS.iter().find(|(_, word)| *word == text);
        found
            .map(|(choice, _)| *choice)
            .ok_or_else(|| D::Error::custom(format!("'{text}' is neither none, spot nor on-demand")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spot::{History, Trace, View, run};

    fn job(work_hours: f64, deadline_hours: f64) -> Job {
        Job {
            work_hours,
            deadline_hours,
            overhead_hours: 0.05,
            on_demand_usd: 3.06,
            spot_usd: 0.97,
        }
    }

    /// Capacity that comes and goes: up for 1 to 20 ticks, away for 1 to 12, from a seed.
    fn made_up(mut seed: u64, ticks: usize) -> Vec<bool> {
        let mut up = Vec::new();
        while up.len() < ticks {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let most = if up.last() == Some(&true) { 12 } else { 20 };
            let is_up = up.last() != Some(&true);
            up.extend(std::iter::repeat_n(is_up, 1 + (seed >> 33) as usize % most));
        }
        up
    }

    /// What the simulator runs on, tick by tick, from `start` on.
    fn simulated(job: &Job, up: &[bool], start: usize) -> Vec<Choice> {
        struct Recorder(Box<dyn Policy>, Vec<Choice>);
        impl Policy for Recorder {
            fn choose(&mut self, view: &View<'_>) -> Choice {
                let choice = self.0.choose(view);
                self.1.push(choice);
                choice
            }
        }
        let trace = Trace {
            tick_hours: TICK_HOURS,
            tick_seconds: 600.0,
            up: up.to_vec(),
        };
        let mut recorder = Recorder(PolicyName::Bayes.policy(job, TICK_HOURS), Vec::new());
        let outcome = run(job, &trace, start, History::Trace, &mut recorder);
        assert!(outcome.met);
        recorder.1
    }

    #[test]
    fn a_live_deployment_chooses_as_the_simulator_does() {
        for (seed, start, deadline) in [(1, 0, 7.0), (2, 40, 9.0), (3, 90, 6.5)] {
            let (job, up) = (job(6.0, deadline), made_up(seed, 300));
            let expected = simulated(&job, &up, start);
            let mut live = Live::new(&job, &up[..start]);
            let mut over = Vec::new();
            for (tick, choice) in expected.iter().enumerate() {
                let was_up = up[start + tick];
                assert_eq!(live.choose(was_up, 0.0), *choice, "seed {seed}, tick {tick}");
                // A controller that starts anew knows only what was written down.
                let now = 1_000 + tick as i64 * TICK_MS;
                if tick % 20 == 0 {
                    assert_eq!(
                        self::choose(&job, &up[..start], &over, 1_000, now, was_up),
                        *choice,
                        "seed {seed}, tick {tick}"
                    );
                }
                live.ran(*choice);
                over.push(Tick { was_up, ran: *choice });
            }
            assert!(expected.contains(&Choice::Spot), "{seed}");
            assert!(live.work_left_hours() < 1e-6);
            assert_eq!(live.choose(true, 0.0), Choice::None);
        }
    }

    #[test]
    fn time_that_nobody_watched_is_gone() {
        let job = job(4.0, 6.0);
        // 1.95 h of slack: with capacity away, waiting is right at first, and too late after that.
        let at = |hours: f64| choose(&job, &[], &[], 0, (hours * 3_600_000.0) as i64, false);
        assert_eq!(at(1.9), Choice::OnDemand);
        assert_eq!(at(99.0), Choice::OnDemand);
        let before = made_up(5, 500);
        let patient = choose(&job, &before, &[], 0, 0, false);
        assert_eq!(patient, Choice::None);
    }

    #[test]
    fn ticks_are_written_as_words() {
        let tick = Tick {
            was_up: true,
            ran: Choice::OnDemand,
        };
        let text = serde_json::to_string(&tick).unwrap();
        assert_eq!(text, r#"{"was_up":true,"ran":"on-demand"}"#);
        assert_eq!(serde_json::from_str::<Tick>(&text).unwrap(), tick);
        assert!(serde_json::from_str::<Tick>(r#"{"was_up":true,"ran":"x"}"#).is_err());
    }
}
