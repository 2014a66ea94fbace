//! How far a job is, tick by tick: the one reckoning of the simulator and of live deployments.

use super::Job;
use super::policy::{Choice, View};

/// Times below this, in ticks, are rounding.
pub(crate) const EPSILON: f64 = 1e-6;

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Ticks that each start burns.
    overhead: f64,
    /// Ticks of work that are left.
    work_left: f64,
    /// Ticks of overhead that what is running still has to burn.
    overhead_left: f64,
    /// What is running.
    running: Choice,
}

impl Progress {
    /// A job that has not begun, on ticks of that length.
    pub fn new(job: &Job, tick_hours: f64) -> Self {
        Self {
            overhead: job.overhead_hours / tick_hours,
            work_left: job.work_hours / tick_hours,
            overhead_left: 0.0,
            running: Choice::None,
        }
    }

    /// A tick begins, with spot capacity or without: without, what ran on it is lost.
    pub fn see(&mut self, is_up: bool) {
        if self.running == Choice::Spot && !is_up {
            self.running = Choice::None;
        }
    }

    /// What a policy sees now.
    pub fn view<'trace>(&self, time_left: f64, observed: &'trace [bool]) -> View<'trace> {
        View {
            time_left,
            work_left: self.work_left,
            overhead_left: match self.running {
                Choice::None => 0.0,
                _ => self.overhead_left,
            },
            running: self.running,
            observed,
        }
    }

    /// Runs on that for a tick, or what is left of one; the ticks of it that were used.
    pub fn run(&mut self, choice: Choice, length: f64) -> f64 {
        if choice != self.running {
            self.overhead_left = self.overhead;
        }
        self.running = choice;
        if choice == Choice::None {
            return 0.0;
        }
        let used = length.min(self.overhead_left + self.work_left);
        let burnt = used.min(self.overhead_left);
        self.overhead_left -= burnt;
        self.work_left -= used - burnt;
        used
    }

    /// Whether the work is done.
    pub fn is_done(&self) -> bool {
        self.work_left < EPSILON
    }

    /// At least so many ticks of work are left, whatever was reckoned.
    pub(crate) fn expect_at_least(&mut self, ticks: f64) {
        self.work_left = self.work_left.max(ticks);
    }

    /// Ticks of work that are left.
    pub fn work_left(&self) -> f64 {
        self.work_left.max(0.0)
    }
}
