//! Uniform Progress of "Can't Be Late: Optimizing Spot Instance Savings under Deadlines" (Wu et al., NSDI 2024).

use super::{Choice, Policy, View};
use crate::spot::Job;

/// Keeps up with the line from no work at the start to all work at the deadline: on demand when behind and there is no spot.
pub(super) struct UniformProgress {
    work: f64,
    deadline: f64,
    overhead: f64,
}

impl UniformProgress {
    pub(super) fn new(job: &Job, tick_hours: f64) -> Self {
        Self {
            work: job.work_hours / tick_hours,
            deadline: job.deadline_hours / tick_hours,
            overhead: job.overhead_hours / tick_hours,
        }
    }

    /// Work that the line expects after that many ticks.
    fn expected(&self, ticks: f64) -> f64 {
        ticks * self.work / self.deadline
    }

    fn wish(&self, view: &View<'_>) -> Choice {
        let now = self.deadline - view.time_left;
        let done = self.work - view.work_left;
        // Back from on demand only with two overheads in hand, or each change would be undone at once.
        let is_held = view.running == Choice::OnDemand && done < self.expected(now + 2.0 * self.overhead);
        match (is_held, view.is_up()) {
            (true, _) => Choice::OnDemand,
            (false, true) => Choice::Spot,
            (false, false) if done < self.expected(now) => Choice::OnDemand,
            (false, false) => Choice::None,
        }
    }
}

impl Policy for UniformProgress {
    fn choose(&mut self, view: &View<'_>) -> Choice {
        let wish = self.wish(view);
        match view.is_safe(wish, self.overhead) {
            true => wish,
            false => Choice::OnDemand,
        }
    }
}
