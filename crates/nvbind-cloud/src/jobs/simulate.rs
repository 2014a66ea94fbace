//! Workloads that arrive, wait, run, are interrupted, and end.

use super::Job;
use crate::catalog::Offer;
use crate::place::{Choice, Facts, LOST_WORK_HOURS, OfferIndex, PlaceError, Survey, place_all};
use crate::requirements::{Requirements, Strategy, Weights};
use serde::Serialize;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// What the workloads meet.
#[derive(Debug, Clone)]
pub struct Setting<'offers> {
    /// What can be rented.
    pub offers: &'offers [Offer],
    /// Machines that there are of each offer, in their order; none given for no limit.
    pub capacity: Vec<u32>,
    /// Weights of [`Strategy::HybridBalanced`].
    pub weights: Weights,
    /// Decides when spot machines are taken back; the same for all strategies.
    pub seed: u64,
}

/// What a strategy came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// The strategy.
    pub strategy: Strategy,
    /// Workloads in the list.
    pub jobs: usize,
    /// Those that were done.
    pub done: usize,
    /// Those that were done after their deadline.
    pub late: usize,
    /// Those that fit nowhere, with the reason.
    pub refused: Vec<Refusal>,
    /// Spot machines that were taken back.
    pub interruptions: usize,
    /// USD in all.
    pub cost_usd: f64,
    /// Mean hours from arrival to the end of those that were done.
    pub mean_completion_hours: f64,
    /// The longest of these.
    pub max_completion_hours: f64,
    /// Hours from the beginning until the last was done.
    pub makespan_hours: f64,
    /// Mean hours that a workload waited for a machine to be free.
    pub mean_wait_hours: f64,
    /// The longest of these.
    pub max_wait_hours: f64,
    /// Share of the GPU hours that were paid which went into work, without what interruptions lost.
    pub utilization: f64,
}

/// A workload that fits nowhere.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Refusal {
    /// Its name.
    pub name: String,
    /// Why.
    pub why: String,
}

/// Starts of one workload after which it is given up.
const MOST_STARTS: u32 = 1000;

/// Runs the workloads with a strategy.
pub fn simulate(jobs: &[Job], setting: &Setting<'_>, strategy: Strategy) -> Outcome {
    let index = OfferIndex::new(setting.offers);
    let mut world = World {
        setting,
        index: &index,
        strategy,
        states: jobs.iter().map(|job| State::new(job, setting, strategy)).collect(),
        jobs,
        free: setting.capacity.clone(),
        events: BinaryHeap::new(),
        waiting: Vec::new(),
        turn: 0,
        interruptions: 0,
        refused: Vec::new(),
    };
    for (job, entry) in jobs.iter().enumerate() {
        world.push(entry.arrival_hours, Happening::Arrival(job));
    }
    world.run();
    world.outcome()
}

/// Something that happens at a time.
#[derive(Debug)]
struct Event {
    hours: f64,
    number: usize,
    what: Happening,
}

#[derive(Debug)]
enum Happening {
    Arrival(usize),
    End(usize),
}

impl Ord for Event {
    /// The earliest is the greatest, so that it leaves the heap first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.hours.total_cmp(&self.hours).then(other.number.cmp(&self.number))
    }
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Event {}

/// How far a workload is.
#[derive(Debug)]
struct State {
    needs: Requirements,
    /// Hours of work that are left.
    left_hours: f64,
    /// Since when it waits.
    waits_since: f64,
    waited_hours: f64,
    starts: u32,
    run: Option<Run>,
    done_at: Option<f64>,
    cost_usd: f64,
    gpu_hours: f64,
}

impl State {
    fn new(job: &Job, setting: &Setting<'_>, strategy: Strategy) -> Self {
        let needs = Requirements {
            strategy,
            weights: setting.weights,
            ..job.requirements.clone()
        };
        Self {
            left_hours: needs.work_hours.unwrap_or_default(),
            needs,
            waits_since: job.arrival_hours,
            waited_hours: 0.0,
            starts: 0,
            run: None,
            done_at: None,
            cost_usd: 0.0,
            gpu_hours: 0.0,
        }
    }
}

/// A workload on its machines.
#[derive(Debug)]
struct Run {
    offer: usize,
    began: f64,
    start_hours: f64,
    usd_h: f64,
    egress_usd: f64,
    is_interrupted: bool,
}

struct World<'all> {
    setting: &'all Setting<'all>,
    index: &'all OfferIndex<'all>,
    strategy: Strategy,
    jobs: &'all [Job],
    states: Vec<State>,
    free: Vec<u32>,
    events: BinaryHeap<Event>,
    /// Workloads that wait, the first to come first.
    waiting: Vec<usize>,
    turn: u64,
    interruptions: usize,
    refused: Vec<Refusal>,
}

impl World<'_> {
    fn push(&mut self, hours: f64, what: Happening) {
        let number = self.turn as usize + self.events.len();
        self.events.push(Event { hours, number, what });
    }

    fn run(&mut self) {
        while let Some(event) = self.events.pop() {
            let now = event.hours;
            self.happen(now, &event.what);
            while self.events.peek().is_some_and(|next| next.hours <= now) {
                if let Some(next) = self.events.pop() {
                    self.happen(now, &next.what);
                }
            }
            self.place_waiting(now);
        }
    }

    fn happen(&mut self, now: f64, what: &Happening) {
        match what {
            Happening::Arrival(job) => self.arrive(*job, now),
            Happening::End(job) => self.end(*job, now),
        }
    }

    /// What would fit nowhere even if all machines were free is refused at once.
    fn arrive(&mut self, job: usize, now: f64) {
        let facts = Facts {
            rooms: &self.setting.capacity,
            ..Facts::default()
        };
        let placed = Survey::new(self.index, &facts).place(&self.states[job].needs, 1);
        let why = match placed {
            Ok(placement) if placement.choices.is_empty() => "there are not so many machines".to_owned(),
            Ok(_) => {
                self.wait(job, now);
                return;
            }
            Err(error) => error.to_string(),
        };
        self.refuse(job, why);
    }

    fn refuse(&mut self, job: usize, why: String) {
        let name = self.jobs[job].name.clone();
        self.refused.push(Refusal { name, why });
    }

    fn wait(&mut self, job: usize, now: f64) {
        self.states[job].waits_since = now;
        self.waiting.push(job);
    }

    /// Gives machines to those that wait, as far as there are any.
    fn place_waiting(&mut self, now: f64) {
        let waiting = std::mem::take(&mut self.waiting);
        let choices = match self.strategy {
            Strategy::CostAware if !self.free.is_empty() => self.together(&waiting, now),
            _ => Vec::new(),
        };
        for (at, job) in waiting.into_iter().enumerate() {
            let choice = match choices.get(at) {
                Some(choice) => choice.clone(),
                None => self.alone(job, now),
            };
            match choice {
                Some(choice) => self.start(job, now, &choice),
                None => self.waiting.push(job),
            }
        }
    }

    /// What a workload needs now: the work that is left, and the time. A deadline that is lost does not keep it from running.
    fn needs(&self, job: usize, now: f64) -> Requirements {
        let state = &self.states[job];
        let passed = now - self.jobs[job].arrival_hours;
        let left = state.needs.deadline_hours.map(|deadline| deadline - passed);
        Requirements {
            work_hours: Some(state.left_hours),
            deadline_hours: left.filter(|left| *left > state.left_hours),
            ..state.needs.clone()
        }
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            rooms: &self.free,
            turn: self.turn,
            ..Facts::default()
        }
    }

    fn together(&self, waiting: &[usize], now: f64) -> Vec<Option<Choice>> {
        let needs: Vec<Requirements> = waiting.iter().map(|job| self.needs(*job, now)).collect();
        let facts = self.facts();
        let together = place_all(&Survey::new(self.index, &facts), &needs);
        together
            .choices
            .into_iter()
            .map(|choice| choice.ok().flatten())
            .collect()
    }

    fn alone(&self, job: usize, now: f64) -> Option<Choice> {
        let facts = self.facts();
        let survey = Survey::new(self.index, &facts);
        let mut needs = self.needs(job, now);
        let placed = match survey.place(&needs, 1) {
            // The set-up alone may be too long for what is left until the deadline.
            Err(PlaceError::Conflict(_)) => {
                needs.deadline_hours = None;
                survey.place(&needs, 1)
            }
            placed => placed,
        };
        placed.ok()?.choices.into_iter().next()
    }

    fn start(&mut self, job: usize, now: f64, choice: &Choice) {
        let cost = &choice.cost;
        let state = &mut self.states[job];
        let nodes = f64::from(state.needs.nodes);
        state.starts += 1;
        state.waited_hours += now - state.waits_since;
        let hours = cost.start_hours + state.left_hours;
        let lost_per_hour = cost.losses / state.left_hours;
        let draw = random(self.setting.seed ^ ((job as u64) << 20) ^ u64::from(state.starts));
        let until_lost = match lost_per_hour > 0.0 {
            true => -draw.ln() / lost_per_hour,
            false => f64::INFINITY,
        };
        state.run = Some(Run {
            offer: choice.offer,
            began: now,
            start_hours: cost.start_hours,
            usd_h: cost.usd_h,
            egress_usd: cost.egress_usd / (1.0 + cost.losses / nodes),
            is_interrupted: until_lost < hours,
        });
        if let Some(free) = self.free.get_mut(choice.offer) {
            *free = free.saturating_sub(state.needs.nodes);
        }
        self.turn += 1;
        self.push(now + hours.min(until_lost), Happening::End(job));
    }

    fn end(&mut self, job: usize, now: f64) {
        let state = &mut self.states[job];
        let Some(run) = state.run.take() else { return };
        let (hours, nodes) = (now - run.began, state.needs.nodes);
        state.cost_usd += run.usd_h * hours + run.egress_usd;
        state.gpu_hours += hours * f64::from(nodes) * self.setting.offers[run.offer].gpus;
        if let Some(free) = self.free.get_mut(run.offer) {
            *free += nodes;
        }
        if !run.is_interrupted {
            state.left_hours = 0.0;
            state.done_at = Some(now);
            return;
        }
        self.interruptions += 1;
        let kept = (hours - run.start_hours - LOST_WORK_HOURS).max(0.0);
        state.left_hours -= kept;
        match state.starts < MOST_STARTS {
            true => self.wait(job, now),
            false => self.refuse(job, format!("interrupted {MOST_STARTS} times")),
        }
    }

    fn outcome(self) -> Outcome {
        let pairs = || self.states.iter().zip(self.jobs);
        let done: Vec<(f64, &Job)> = pairs()
            .filter_map(|(state, job)| Some((state.done_at? - job.arrival_hours, job)))
            .collect();
        let started = || self.states.iter().filter(|state| state.starts > 0);
        let worked: f64 = pairs()
            .filter(|(state, _)| state.done_at.is_some())
            .map(|(state, job)| {
                let needs = &state.needs;
                needs.gpus * f64::from(needs.nodes) * job.requirements.work_hours.unwrap_or_default()
            })
            .sum();
        let late = |(hours, job): &&(f64, &Job)| {
            job.requirements
                .deadline_hours
                .is_some_and(|deadline| *hours > deadline)
        };
        let paid: f64 = self.states.iter().map(|state| state.gpu_hours).sum();
        Outcome {
            strategy: self.strategy,
            jobs: self.jobs.len(),
            done: done.len(),
            late: done.iter().filter(late).count(),
            interruptions: self.interruptions,
            cost_usd: self.states.iter().map(|state| state.cost_usd).sum(),
            mean_completion_hours: mean(done.iter().map(|(hours, _)| *hours)),
            max_completion_hours: most(done.iter().map(|(hours, _)| *hours)),
            makespan_hours: most(self.states.iter().filter_map(|state| state.done_at)),
            mean_wait_hours: mean(started().map(|state| state.waited_hours)),
            max_wait_hours: most(started().map(|state| state.waited_hours)),
            utilization: if paid > 0.0 { worked / paid } else { 0.0 },
            refused: self.refused,
        }
    }
}

fn mean(numbers: impl Iterator<Item = f64>) -> f64 {
    let (count, sum) = numbers.fold((0.0, 0.0), |(count, sum), number| (count + 1.0, sum + number));
    if count > 0.0 { sum / count } else { 0.0 }
}

fn most(numbers: impl Iterator<Item = f64>) -> f64 {
    numbers.fold(0.0, f64::max)
}

/// A number above 0 and below 1 that is always the same for the same seed (splitmix64: Steele, Lea and Flood, OOPSLA 2014).
fn random(seed: u64) -> f64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64 + f64::EPSILON
}

#[cfg(test)]
mod tests {
    use super::super::parse_json;
    use super::*;
    use crate::catalog::Catalog;

    fn offers() -> Vec<Offer> {
        Catalog::embedded().unwrap().offers()
    }

    fn setting<'offers>(offers: &'offers [Offer], capacity: u32) -> Setting<'offers> {
        Setting {
            offers,
            capacity: if capacity > 0 {
                vec![capacity; offers.len()]
            } else {
                Vec::new()
            },
            weights: Weights::default(),
            seed: 1,
        }
    }

    fn jobs(count: usize, spot: &str) -> Vec<Job> {
        let entry = |at: usize| {
            format!(
                r#"{{"arrival_hours": {}, "work_hours": 4, "gpu_type": "L4", "spot": "{spot}"}}"#,
                at / 4
            )
        };
        let entries: Vec<String> = (0..count).map(entry).collect();
        parse_json(&format!("[{}]", entries.join(","))).unwrap()
    }

    const STRATEGIES: [Strategy; 4] = [
        Strategy::CostAware,
        Strategy::RoundRobin,
        Strategy::GpuUtilization,
        Strategy::HybridBalanced,
    ];

    #[test]
    fn without_limits_nobody_waits_and_the_cheapest_is_cheapest() {
        let offers = offers();
        let jobs = jobs(40, "never");
        let outcomes = STRATEGIES.map(|strategy| simulate(&jobs, &setting(&offers, 0), strategy));
        for outcome in &outcomes {
            assert_eq!((outcome.done, outcome.refused.len()), (40, 0), "{outcome:?}");
            assert!(
                outcome.max_wait_hours == 0.0 && outcome.interruptions == 0,
                "{outcome:?}"
            );
            assert!(outcome.cost_usd >= outcomes[0].cost_usd - 1e-9, "{outcome:?}");
            assert!(outcome.utilization > 0.9 && outcome.utilization <= 1.0, "{outcome:?}");
        }
        assert!(outcomes[1].cost_usd > outcomes[0].cost_usd, "taking turns costs more");
        // One L4 machine for four hours and the set-up.
        let each = outcomes[0].cost_usd / 40.0;
        assert!(each > 4.0 * 0.7 && each < 4.2 * 0.85, "{each}");
    }

    #[test]
    fn limits_make_workloads_wait_and_nothing_is_lost() {
        let offers: Vec<Offer> = offers()
            .into_iter()
            .filter(|offer| offer.instance_type == "g2-standard-4")
            .collect();
        let jobs = jobs(12, "auto");
        for strategy in STRATEGIES {
            let outcome = simulate(&jobs, &setting(&offers, 1), strategy);
            assert_eq!(outcome.done, 12, "{outcome:?}");
            assert!(outcome.max_wait_hours > 10.0, "{outcome:?}");
            assert!(
                outcome.makespan_hours >= 24.0,
                "two machines, 48 hours of work: {outcome:?}"
            );
        }
    }

    #[test]
    fn interruptions_are_drawn_by_seed_and_work_goes_on_after_them() {
        let mut offers = offers();
        for offer in &mut offers {
            offer.interruptions_per_hour = Some(0.3);
        }
        let jobs = jobs(30, "only");
        let run = |seed| {
            let setting = Setting {
                seed,
                ..setting(&offers, 0)
            };
            simulate(&jobs, &setting, Strategy::CostAware)
        };
        let outcome = run(7);
        assert!(outcome.interruptions > 10 && outcome.done == 30, "{outcome:?}");
        assert!(outcome.utilization < 0.97, "{outcome:?}");
        assert_eq!(run(7), outcome);
        assert_ne!(run(8).cost_usd, outcome.cost_usd);
    }

    #[test]
    fn what_fits_nowhere_is_refused_and_a_lost_deadline_is_told() {
        let offers = offers();
        let list = r#"[{"name": "huge", "work_hours": 1, "gpus": 99}, {"name": "many", "work_hours": 1, "nodes": 5},
            {"name": "one", "work_hours": 5, "gpu_type": "P4", "spot": "never", "deadline_hours": 6},
            {"name": "two", "work_hours": 5, "gpu_type": "P4", "spot": "never", "deadline_hours": 6}]"#;
        let outcome = simulate(&parse_json(list).unwrap(), &setting(&offers, 1), Strategy::CostAware);
        let names: Vec<&str> = outcome.refused.iter().map(|refusal| refusal.name.as_str()).collect();
        assert_eq!(names, ["huge", "many"]);
        assert_eq!((outcome.done, outcome.late), (2, 1), "{outcome:?}");
    }
}
