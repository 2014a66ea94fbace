//! A live deployment with a deadline: what to run it on now.
//!
//! Time is counted in ticks from the deployment's start: of ten minutes, or a twelfth of a deadline that is nearer than two hours. What is
//! decided follows from what was written down about the ticks that are over, and from nothing else: a controller that starts anew
//! decides as the one before it would have.
//!
//! The policies were made for capacity that comes and goes between ticks. Here it goes in the middle of one, whose work then does
//! not count, so one tick before the deadline is kept in reserve: a start on demand at any moment still comes in time.

use crate::spot::{Choice, Job, Policy, PolicyName, Progress};
use serde::{Deserialize, Serialize};

/// Longest tick in milliseconds, that of the records which the policies were compared on.
const LONGEST_TICK_MS: i64 = 600_000;
/// Shortest tick in milliseconds: a controller looks as often.
const SHORTEST_TICK_MS: i64 = 5_000;
/// Ticks until a deadline, at least.
const LEAST_TICKS: f64 = 12.0;
const HOUR_MS: f64 = 3_600_000.0;

/// Length of a tick in milliseconds, for a deadline that many hours after the start.
pub fn tick_ms(deadline_hours: f64) -> i64 {
    ((deadline_hours * HOUR_MS / LEAST_TICKS) as i64).clamp(SHORTEST_TICK_MS, LONGEST_TICK_MS)
}

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
    tick_hours: f64,
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
        let tick_hours = tick_ms(job.deadline_hours) as f64 / HOUR_MS;
        let job = with_reserve(job, tick_hours);
        Self {
            job,
            tick_hours,
            policy: PolicyName::Bayes.policy(&job, tick_hours),
            progress: Progress::new(&job, tick_hours),
            observed: before.to_vec(),
            ticks: 0,
        }
    }

    /// The same, brought to where the ticks that are over have brought it.
    pub fn resume(job: &Job, before: &[bool], over: &[Tick]) -> Self {
        let mut live = Self::new(job, before);
        for tick in over {
            live.choose(tick.was_up, 0);
            live.ran(tick.ran);
        }
        live
    }

    /// What to run on in the tick that begins or has begun, and then [`Live::ran`]. `missed` are ticks that nobody watched.
    pub fn choose(&mut self, is_up: bool, missed: usize) -> Choice {
        self.observed.push(is_up);
        self.progress.see(is_up);
        if self.progress.is_done() {
            return Choice::None;
        }
        let time_left = self.job.deadline_hours / self.tick_hours - (self.ticks + missed) as f64;
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
        self.progress.work_left() * self.tick_hours
    }
}

/// What to run on now: a job that started then, what was seen of spot capacity before, the ticks that are over, and whether
/// spot capacity is there. Within a tick the answer changes only when capacity comes or goes.
pub fn choose(job: &Job, before: &[bool], over: &[Tick], started_ms: i64, now_ms: i64, is_up: bool) -> Choice {
    let ticks = now_ms.saturating_sub(started_ms) / tick_ms(job.deadline_hours);
    let missed = usize::try_from(ticks).unwrap_or(0).saturating_sub(over.len());
    let mut live = Live::resume(job, before, over);
    // Whoever asks has a workload that goes on: it takes longer than was said, and nobody knows how long.
    live.progress.expect_at_least(1.0);
    live.choose(is_up, missed)
}

/// The job with a tick in reserve, or with what there is of one.
fn with_reserve(job: &Job, tick_hours: f64) -> Job {
    let least = job.work_hours + job.overhead_hours;
    Job {
        deadline_hours: (job.deadline_hours - tick_hours).max(least),
        ..*job
    }
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

    /// Deadlines of these tests are so far away that ticks are the longest ones.
    const TICK_MS: i64 = LONGEST_TICK_MS;
    const TICK_HOURS: f64 = 1.0 / 6.0;

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

    /// What the simulator runs on, tick by tick, from `start` on, when it has a tick less.
    fn simulated(job: &Job, up: &[bool], start: usize) -> Vec<Choice> {
        let job = &with_reserve(job, TICK_HOURS);
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
                assert_eq!(live.choose(was_up, 0), *choice, "seed {seed}, tick {tick}");
                // A controller that starts anew knows only what was written down.
                let now = 1_000 + tick as i64 * TICK_MS + (tick as i64 % 7) * 90_000;
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
            assert_eq!(live.choose(true, 0), Choice::None);
        }
    }

    /// Runs a deployment minute by minute: capacity goes at any of them and takes the work of its tick along, and each start takes
    /// three. Returns the minute at which the work is done, and how many minutes it ran on spot.
    fn lived(job: &Job, up: &[bool]) -> (usize, usize) {
        let minute_ms = 60_000;
        let (mut over, mut running, mut since, mut starting) = (Vec::new(), Choice::None, 0, 0);
        let mut choice = Choice::None;
        let (mut left, mut on_spot, mut in_tick) = ((job.work_hours * 60.0).round() as usize, 0, 0);
        for (minute, is_up) in up.iter().enumerate() {
            if minute % 10 == 0 && minute > 0 {
                in_tick = 0;
                let whole = since + 10 <= minute;
                over.push(Tick {
                    was_up: up[minute - 10..minute].iter().all(|up| *up),
                    ran: if whole { running } else { Choice::None },
                });
            }
            if running == Choice::Spot && !is_up {
                running = Choice::None;
                left += in_tick;
                in_tick = 0;
            }
            // Within a tick the answer changes only with capacity.
            if minute % 10 == 0 || up[minute - 1] != *is_up {
                choice = choose(job, &[], &over, 0, minute as i64 * minute_ms, *is_up);
            }
            if choice != running {
                (running, since, starting) = (choice, minute, 3);
            }
            if running != Choice::None {
                on_spot += usize::from(running == Choice::Spot);
                match starting {
                    0 => (left, in_tick) = (left - 1, in_tick + 1),
                    _ => starting -= 1,
                }
            }
            if left == 0 {
                return (minute + 1, on_spot);
            }
        }
        (usize::MAX, on_spot)
    }

    #[test]
    fn deadlines_are_met_whenever_capacity_goes() {
        // Once after so many minutes, or again and again.
        let once = (1..60)
            .step_by(4)
            .map(|minutes| (0..400).map(|minute| minute < minutes).collect());
        let often = [1, 3].map(|seed| {
            let runs = made_up(seed, 40).into_iter().flat_map(|up| vec![up; 1 + seed as usize]);
            runs.collect::<Vec<bool>>().into_iter().cycle().take(400).collect()
        });
        let records: Vec<Vec<bool>> = once.chain(often).collect();
        let mut on_spot = 0;
        for deadline in [2.06, 2.13, 2.2, 2.3, 2.6] {
            for (index, up) in records.iter().enumerate() {
                let (done, spot) = lived(&job(2.0, deadline), up);
                assert!(
                    done as f64 <= deadline * 60.0 + 1e-6,
                    "record {index}, deadline {deadline}: {done}"
                );
                on_spot += spot;
            }
        }
        assert!(on_spot > 500, "{on_spot}");
    }

    #[test]
    fn time_that_nobody_watched_is_gone() {
        let job = job(4.0, 6.0);
        let before = made_up(5, 500);
        let at = |hours: f64| choose(&job, &before, &[], 0, (hours * 3_600_000.0) as i64, false);
        assert_eq!(at(0.0), Choice::None);
        // 1.95 h of slack less a tick in reserve.
        assert_eq!(at(1.9), Choice::OnDemand);
        assert_eq!(at(99.0), Choice::OnDemand);
    }

    #[test]
    fn the_answer_stands_for_the_whole_tick() {
        let job = job(2.0, 2.6);
        let answer = |minutes: i64| choose(&job, &[], &[], 0, minutes * 60_000, true);
        for minutes in 0..10 {
            assert_eq!(answer(minutes), answer(0), "{minutes}");
        }
    }

    #[test]
    fn ticks_are_shorter_where_the_deadline_is_near() {
        for (hours, ms) in [
            (100.0, 600_000),
            (2.0, 600_000),
            (1.0, 300_000),
            (0.1, 30_000),
            (0.001, 5_000),
        ] {
            assert_eq!(tick_ms(hours), ms, "{hours}");
        }
    }

    /// Two minutes and a start that takes three seconds: the same policy, a hundredth of the time.
    #[test]
    fn a_near_deadline_is_met_as_a_far_one_is() {
        let near = Job {
            overhead_hours: 3.0 / 3600.0,
            ..job(20.0 / 3600.0, 120.0 / 3600.0)
        };
        let at = |seconds: i64, is_up: bool| choose(&near, &[], &[], 0, seconds * 1000, is_up);
        assert_eq!(at(0, true), Choice::Spot);
        assert_eq!(at(0, false), Choice::None);
        let moved = (0..120).find(|seconds| at(*seconds, false) == Choice::OnDemand);
        // The work takes longer than was said: what runs goes on, and comes in time as long as that can be.
        let ran = [Tick {
            was_up: true,
            ran: Choice::Spot,
        }; 6];
        let later = |is_up: bool, ticks: i64| choose(&near, &[], &ran[..4], 0, ticks * 10_000, is_up);
        assert_eq!(later(true, 4), Choice::Spot);
        assert_eq!(later(false, 4), Choice::None);
        assert_eq!(later(false, 11), Choice::OnDemand);
        // 120 s less 20 s of work, 3 s to start, a tick of 10 s in reserve and up to one until it is decided.
        assert!(moved.is_some_and(|seconds| (70..=87).contains(&seconds)), "{moved:?}");
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
