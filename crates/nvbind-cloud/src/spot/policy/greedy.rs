//! Spot when it is there; on demand when the deadline leaves no choice.

use super::{Choice, Policy, View};

/// Spot when it is there, nothing when it is not; on demand to the end as soon as that is the only safe choice.
pub(super) struct Greedy {
    /// Ticks that a start burns.
    pub(super) overhead: f64,
}

impl Policy for Greedy {
    fn choose(&mut self, view: &View<'_>) -> Choice {
        let wish = if view.is_up() { Choice::Spot } else { Choice::None };
        match view.running != Choice::OnDemand && view.is_safe(wish, self.overhead) {
            true => wish,
            false => Choice::OnDemand,
        }
    }
}
