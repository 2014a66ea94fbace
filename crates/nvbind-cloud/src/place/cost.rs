//! What a job is expected to cost on an offer.

use super::history::Outlook;
use super::query::Query;
use crate::catalog::Market;
use serde::Serialize;

/// Hours of work that are reckoned with where the user named none: what is paid once (set-up, data) is spread over them.
pub const ASSUMED_WORK_HOURS: f64 = 24.0;

/// Hours of work that a lost machine takes along: half of the half hour between two checkpoints.
pub const LOST_WORK_HOURS: f64 = 0.25;

/// What a job is expected to cost, and how long it takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cost {
    /// USD an hour of all nodes, with disks and addresses.
    pub usd_h: f64,
    /// USD of the whole job: machines with set-up and what is repeated after interruptions, and bringing the data.
    pub job_usd: f64,
    /// USD of that for bringing the data.
    pub egress_usd: f64,
    /// Hours from the order until the work starts: set-up, and bringing the data.
    pub start_hours: f64,
    /// Hours of the whole job, with set-up and what is repeated.
    pub hours: f64,
    /// Machines that are expected to be lost meanwhile.
    pub losses: f64,
    /// Chance that an order is filled.
    pub chance: f64,
    /// What offers are compared by: USD of the whole job over the chance to get it.
    pub weighted_usd: f64,
}

/// What does not depend on the offer but on its provider and region.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around {
    pub(super) disk_usd_h: f64,
    pub(super) egress_usd: f64,
    pub(super) transfer_hours: f64,
    pub(super) setup_seconds: f64,
    /// On demand and on spot, as [`super::Extras::address_usd_h`].
    pub(super) address_usd_h: [f64; 2],
    /// Chance that an order is filled where nothing was seen, on demand and on spot.
    pub(super) chance: [f64; 2],
}

impl Query<'_> {
    /// What the job is expected to cost at that price.
    #[inline(always)]
    pub(super) fn cost(&self, usd_h: f64, market: Market, outlook: Outlook, around: &Around) -> Cost {
        let seconds = outlook.setup_seconds.unwrap_or(around.setup_seconds);
        let start_hours = seconds / 3600.0 + around.transfer_hours;
        let losses_of_one = outlook.lost_per_hour * self.work_hours;
        let losses = losses_of_one * self.nodes;
        let hours = start_hours + self.work_hours + losses * (start_hours + LOST_WORK_HOURS);
        let usd_h = self.nodes * (usd_h + around.disk_usd_h + around.address_usd_h[market as usize]);
        let egress_usd = around.egress_usd * (1.0 + losses_of_one);
        let job_usd = usd_h * hours + egress_usd;
        Cost {
            usd_h,
            job_usd,
            egress_usd,
            start_hours,
            hours,
            losses,
            chance: outlook.chance,
            weighted_usd: job_usd / outlook.chance,
        }
    }

    /// What no offer at that price can be below in [`Cost::weighted_usd`].
    pub(super) fn least_usd(&self, usd_h: f64) -> f64 {
        self.nodes * usd_h * self.work_hours
    }
}
