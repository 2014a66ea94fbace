//! Runs a policy against traces.

use super::policy::{Choice, Policy, PolicyName};
use super::progress::{EPSILON, Progress};
use super::{Job, Trace};
use serde::Serialize;

/// Hours that the last start of a trace leaves, whatever the deadline: runs with different deadlines stay comparable.
const LAST_START_LEAVES_HOURS: f64 = 70.0;

/// How one run ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Run {
    /// What it cost in USD.
    pub cost_usd: f64,
    /// Whether the work was done by the deadline.
    pub met: bool,
}

/// What many runs of one policy cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The policy.
    pub policy: &'static str,
    /// How many runs.
    pub runs: usize,
    /// How many of them missed the deadline.
    pub missed: usize,
    /// Mean of their costs in USD.
    pub mean_cost_usd: f64,
    /// Their costs in USD, trace by trace, in the order of their starts.
    pub costs_usd: Vec<f64>,
}

/// What a policy may know of the time before its job started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum History {
    /// All that the trace recorded before.
    #[default]
    Trace,
    /// Nothing.
    Job,
}

/// A job to be started many times along each trace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Study {
    /// The job.
    pub job: Job,
    /// Starts per trace, evenly spaced.
    pub starts: usize,
    /// What a policy may know of the time before.
    pub history: History,
}

/// A study that cannot be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum StudyError {
    /// A trace ends before the deadline of a job that starts with it.
    #[error("trace {number} has {ticks} ticks: its last start must leave {leave} ticks: give a longer trace")]
    Short {
        /// Which of the traces, from 1 on.
        number: usize,
        /// How long it is.
        ticks: usize,
        /// What is needed after the last start.
        leave: usize,
    },
    /// A plan would take too much memory.
    #[error(
        "a plan for {ticks} ticks until the deadline takes too much memory: give traces with longer ticks, or --policy uniform-progress"
    )]
    Fine {
        /// Ticks until the deadline.
        ticks: usize,
    },
}

impl StudyError {
    /// The exit code of a command that ends with this error.
    pub fn exit_code(&self) -> u8 {
        2
    }
}

/// Work times slack that a plan may have, in square ticks: some hundred MiB.
const PLAN_LIMIT: f64 = 2e6;

impl Study {
    /// Where along the trace the job starts, in ticks; the error is how many ticks the last start must leave.
    pub fn starts_in(&self, trace: &Trace) -> Result<Vec<usize>, usize> {
        let leave = self.job.deadline_hours.max(LAST_START_LEAVES_HOURS);
        let leave = (leave * 3600.0 / trace.tick_seconds - EPSILON).ceil() as usize;
        let last = trace.up.len().checked_sub(leave + 1).ok_or(leave)?;
        let spaces = self.starts.saturating_sub(1).max(1) as f64;
        let start = |index: usize| (index as f64 * last as f64 / spaces).round() as usize;
        Ok((0..self.starts).map(start).collect())
    }

    /// Runs a policy from every start of every trace.
    pub fn report(&self, policy: PolicyName, traces: &[Trace]) -> Result<Report, StudyError> {
        let mut runs: Vec<(&Trace, usize)> = Vec::new();
        for (index, trace) in traces.iter().enumerate() {
            let starts = self.starts_in(trace).map_err(|leave| StudyError::Short {
                number: index + 1,
                ticks: trace.up.len(),
                leave,
            })?;
            self.check_plan(policy, trace)?;
            runs.extend(starts.into_iter().map(|start| (trace, start)));
        }
        let outcomes = in_parallel(&runs, |(trace, start)| {
            let mut policy = policy.policy(&self.job, trace.tick_hours);
            run(&self.job, trace, *start, self.history, policy.as_mut())
        });
        let costs_usd: Vec<f64> = outcomes.iter().map(|run| run.cost_usd).collect();
        Ok(Report {
            policy: policy.as_str(),
            runs: outcomes.len(),
            missed: outcomes.iter().filter(|run| !run.met).count(),
            mean_cost_usd: costs_usd.iter().sum::<f64>() / costs_usd.len().max(1) as f64,
            costs_usd,
        })
    }

    fn check_plan(&self, policy: PolicyName, trace: &Trace) -> Result<(), StudyError> {
        let ticks = |hours: f64| hours / trace.tick_hours;
        let slack = ticks(self.job.deadline_hours - self.job.work_hours);
        match policy.plans() && ticks(self.job.work_hours) * slack > PLAN_LIMIT {
            true => Err(StudyError::Fine {
                ticks: ticks(self.job.deadline_hours) as usize,
            }),
            false => Ok(()),
        }
    }
}

/// `work` on every item, in order, on all processors: runs know nothing of each other.
fn in_parallel<Item: Sync, Out: Send + Sync>(items: &[Item], work: impl Fn(&Item) -> Out + Sync) -> Vec<Out> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = items.len().div_ceil(threads * 4).max(1);
    let next = std::sync::atomic::AtomicUsize::new(0);
    let chunks: Vec<&[Item]> = items.chunks(share).collect();
    let done: Vec<std::sync::OnceLock<Vec<Out>>> = chunks.iter().map(|_| std::sync::OnceLock::new()).collect();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let (Some(chunk), Some(slot)) = (chunks.get(index), done.get(index)) else {
                        return;
                    };
                    slot.get_or_init(|| chunk.iter().map(&work).collect());
                }
            });
        }
    });
    done.into_iter()
        .filter_map(std::sync::OnceLock::into_inner)
        .flatten()
        .collect()
}

/// Runs a policy from one start; `trace` must reach as far as the deadline.
pub fn run(job: &Job, trace: &Trace, start: usize, history: History, policy: &mut dyn Policy) -> Run {
    let known = if history == History::Trace { 0 } else { start };
    let hours = trace.tick_hours;
    let deadline = job.deadline_hours / hours;
    let mut progress = Progress::new(job, hours);
    let mut cost_usd = 0.0;
    let mut tick = 0;
    while (tick as f64) < deadline - EPSILON {
        let up = trace.up[start + tick];
        progress.see(up);
        let time_left = deadline - tick as f64;
        let choice = policy.choose(&progress.view(time_left, &trace.up[known..=start + tick]));
        let choice = if choice == Choice::Spot && !up {
            Choice::None
        } else {
            choice
        };
        let used = progress.run(choice, time_left.min(1.0));
        let price = match choice {
            Choice::None => 0.0,
            Choice::Spot => job.spot_usd,
            Choice::OnDemand => job.on_demand_usd,
        };
        cost_usd += price * used * hours;
        if progress.is_done() {
            return Run { cost_usd, met: true };
        }
        tick += 1;
    }
    Run { cost_usd, met: false }
}

#[cfg(test)]
mod tests {
    use super::super::policy::View;
    use super::*;

    /// The job of BENCHMARKS 4 with that deadline and overhead.
    fn job(deadline_hours: f64, overhead_hours: f64) -> Job {
        Job {
            work_hours: 48.0,
            deadline_hours,
            overhead_hours,
            on_demand_usd: 3.06,
            spot_usd: 0.97,
        }
    }

    fn trace(up: Vec<bool>) -> Trace {
        Trace {
            tick_hours: 1.0 / 6.0,
            tick_seconds: 600.0,
            up,
        }
    }

    /// States whose lengths are drawn from a heavy tail, from a seed.
    fn random_trace(seed: u64, ticks: usize) -> Trace {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let mut up = Vec::new();
        let mut is_up = random() < 0.5;
        let (shape_up, shape_down) = (0.6 + random(), 0.6 + random());
        while up.len() < ticks {
            let shape = if is_up { shape_up } else { shape_down };
            let length = random().max(1e-6).powf(-1.0 / shape).min(500.0) as usize;
            up.extend(std::iter::repeat_n(is_up, length.max(1)));
            is_up = !is_up;
        }
        trace(up)
    }

    fn cost(policy: PolicyName, job: Job, up: Vec<bool>) -> Run {
        let trace = trace(up);
        let mut policy = policy.policy(&job, trace.tick_hours);
        run(&job, &trace, 0, History::Trace, policy.as_mut())
    }

    #[test]
    fn a_start_is_paid_like_work_and_the_last_tick_in_part() {
        for (overhead, usd) in [(0.05, 48.05 * 3.06), (0.20, 48.20 * 3.06), (0.0, 48.0 * 3.06)] {
            let run = cost(PolicyName::OnDemand, job(52.0, overhead), vec![false; 500]);
            assert!(run.met && (run.cost_usd - usd).abs() < 1e-9, "{overhead}: {run:?}");
            let run = cost(PolicyName::Greedy, job(52.0, overhead), vec![true; 500]);
            assert!(
                run.met && (run.cost_usd - usd / 3.06 * 0.97).abs() < 1e-9,
                "{overhead}: {run:?}"
            );
        }
    }

    #[test]
    fn an_interruption_costs_a_second_start() {
        let mut up = vec![true; 500];
        up[10] = false;
        let run = cost(PolicyName::Greedy, job(52.0, 0.2), up);
        assert!(run.met && (run.cost_usd - 48.4 * 0.97).abs() < 1e-9, "{run:?}");
    }

    #[test]
    fn starts_are_spread_and_the_last_leaves_70_hours() {
        let study = Study {
            job: job(52.0, 0.05),
            starts: 30,
            history: History::Trace,
        };
        let starts = study.starts_in(&trace(vec![true; 3895])).unwrap();
        assert_eq!((starts[0], starts[1], starts[29]), (0, 120, 3474));
        assert_eq!(study.starts_in(&trace(vec![true; 420])), Err(420));
        assert_eq!(study.starts_in(&trace(vec![true; 421])).unwrap(), vec![0; 30]);
    }

    #[test]
    fn no_policy_misses_a_deadline_on_any_trace() {
        for seed in 1..=8 {
            let trace = random_trace(seed, 200);
            for (deadline, overhead) in [
                (12.05, 0.05),
                (12.3, 0.05),
                (13.0, 0.2),
                (15.0, 0.2),
                (15.07, 0.4),
                (20.0, 0.0),
            ] {
                let job = Job {
                    work_hours: 12.0,
                    ..job(deadline, overhead)
                };
                for (name, word) in PolicyName::WORDS {
                    let mut policy = name.policy(&job, trace.tick_hours);
                    let run = run(&job, &trace, 7, History::Trace, policy.as_mut());
                    assert!(
                        run.met,
                        "{word}, seed {seed}, deadline {deadline}, overhead {overhead}: {run:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_policy_sees_nothing_of_what_is_to_come() {
        let trace = random_trace(5, 700);
        let job = job(60.0, 0.2);
        for (name, word) in PolicyName::WORDS {
            let record = |trace: &Trace| {
                let mut recorder = Recorder(name.policy(&job, trace.tick_hours), Vec::new());
                run(&job, trace, 0, History::Trace, &mut recorder);
                recorder.1
            };
            let mut other = trace.clone();
            other.up[150..].iter_mut().for_each(|up| *up = !*up);
            assert_eq!(record(&trace)[..150], record(&other)[..150], "{word}");
        }
    }

    /// A policy whose choices are kept.
    struct Recorder(Box<dyn Policy>, Vec<Choice>);

    impl Policy for Recorder {
        fn choose(&mut self, view: &View<'_>) -> Choice {
            let choice = self.0.choose(view);
            self.1.push(choice);
            choice
        }
    }

    #[test]
    fn learning_is_cheaper_than_what_is_fixed() {
        let traces: Vec<Trace> = (21..27).map(|seed| random_trace(seed, 1200)).collect();
        let study = Study {
            job: job(52.0, 0.05),
            starts: 6,
            history: History::Trace,
        };
        let mean = |policy| study.report(policy, &traces).unwrap().mean_cost_usd;
        let ours = mean(PolicyName::Bayes);
        for fixed in [PolicyName::UniformProgress, PolicyName::Greedy, PolicyName::OnDemand] {
            assert!(ours < mean(fixed), "{}: {ours} against {}", fixed.as_str(), mean(fixed));
        }
    }

    #[test]
    fn a_trace_that_is_too_short_or_too_fine_is_refused() {
        let study = Study {
            job: job(52.0, 0.05),
            starts: 2,
            history: History::Job,
        };
        let short = study.report(PolicyName::Greedy, &[trace(vec![true; 100])]);
        assert!(
            matches!(
                short,
                Err(StudyError::Short {
                    number: 1,
                    ticks: 100,
                    leave: 420
                })
            ),
            "{short:?}"
        );
        let fine = Trace {
            tick_hours: 1.0 / 3600.0,
            tick_seconds: 1.0,
            up: vec![true; 300_000],
        };
        assert!(matches!(
            study.report(PolicyName::Bayes, std::slice::from_ref(&fine)),
            Err(StudyError::Fine { .. })
        ));
        assert!(study.report(PolicyName::Greedy, &[fine]).is_ok());
    }
}
