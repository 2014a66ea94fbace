//! On demand from start to end.

use super::{Choice, Policy, View};

/// On demand from start to end.
pub(super) struct OnDemand;

impl Policy for OnDemand {
    fn choose(&mut self, _: &View<'_>) -> Choice {
        Choice::OnDemand
    }
}
