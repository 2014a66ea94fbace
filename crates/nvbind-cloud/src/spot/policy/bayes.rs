//! Learns how long capacity stays and stays away, and plans backward from the deadline. `docs/spot-deadlines.md` says why.

use super::{Choice, Policy, View};
use crate::spot::hazard::age;
use crate::spot::{Chain, Hazards, Job, Plan};

/// A plan stands until some probability that it rests on has changed by more than that factor.
const STALE_FACTOR: f32 = 1.15;

/// Learns at every tick; plans again when what it expects has changed.
pub(super) struct Bayes {
    job: Job,
    tick_hours: f64,
    hazards: Hazards,
    planned: Option<(Chain, Plan)>,
}

impl Bayes {
    pub(super) fn new(job: &Job, tick_hours: f64) -> Self {
        Self {
            job: *job,
            tick_hours,
            hazards: Hazards::default(),
            planned: None,
        }
    }
}

impl Policy for Bayes {
    fn choose(&mut self, view: &View<'_>) -> Choice {
        self.hazards.see(view.observed);
        let age = age(view.observed);
        // While a state lasts, the plan knows what its age means; what is learned from it is news when it has doubled.
        let is_news = age.is_power_of_two();
        let plan = match self.planned.take() {
            Some(planned) if !is_news => planned,
            old => self.plan(old, view),
        };
        let choice = plan.1.choose(view, age);
        self.planned = Some(plan);
        choice
    }
}

impl Bayes {
    fn plan(&self, old: Option<(Chain, Plan)>, view: &View<'_>) -> (Chain, Plan) {
        let chain = self.hazards.chain();
        match old {
            Some(old) if old.0.is_near(&chain, STALE_FACTOR) => old,
            _ => (chain, Plan::new(&self.job, self.tick_hours, chain, view)),
        }
    }
}
