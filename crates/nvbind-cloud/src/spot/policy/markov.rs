//! Backward induction over one fixed Markov chain.

use super::{Choice, Policy, View};
use crate::spot::hazard::age;
use crate::spot::{Chain, Job, Plan};

/// Mean ticks that capacity stays, whatever the trace.
const UP_TICKS: f32 = 20.0;
/// Mean ticks that it stays away.
const DOWN_TICKS: f32 = 30.0;

/// Plans once, with nothing learned.
pub(super) struct Markov {
    job: Job,
    tick_hours: f64,
    plan: Option<Plan>,
}

impl Markov {
    pub(super) fn new(job: &Job, tick_hours: f64) -> Self {
        Self {
            job: *job,
            tick_hours,
            plan: None,
        }
    }
}

impl Policy for Markov {
    fn choose(&mut self, view: &View<'_>) -> Choice {
        let plan = self.plan.get_or_insert_with(|| {
            let chain = Chain::memoryless(1.0 / UP_TICKS, 1.0 / DOWN_TICKS);
            Plan::new(&self.job, self.tick_hours, chain, view)
        });
        plan.choose(view, age(view.observed))
    }
}
