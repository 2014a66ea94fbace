//! When the next pass is due.

use super::pass::Outcome;
use std::time::{Duration, Instant};

/// How long changes are collected before a pass answers them together.
const DEBOUNCE: Duration = Duration::from_millis(150);
/// After a failure the next try comes after this long, then after twice as long, up to [`LONGEST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// How often a host is asked again in which something is wrong (a lost GPU) that its driver may have mended.
const RECHECK: Duration = Duration::from_secs(30);

/// The plan for the next pass.
#[derive(Debug)]
pub(super) struct Schedule {
    due: Option<Instant>,
    retry: Duration,
}

impl Schedule {
    pub(super) fn due_at(time: Instant) -> Self {
        Self {
            due: Some(time),
            retry: FIRST_RETRY,
        }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.due
    }

    pub(super) fn clear(&mut self) {
        self.due = None;
    }

    /// A pass at that time, or at the earlier one that is planned.
    pub(super) fn at(&mut self, time: Instant) {
        self.due = Some(self.due.map_or(time, |due| due.min(time)));
    }

    /// A pass shortly: more changes may follow the one that was seen.
    pub(super) fn soon(&mut self, now: Instant) {
        self.at(now + DEBOUNCE);
    }

    /// What follows a pass; `can_change` when asking again may give another answer.
    pub(super) fn after(&mut self, outcome: &Outcome, can_change: bool, now: Instant) {
        if outcome.is_success {
            self.retry = FIRST_RETRY;
            if !outcome.said.is_empty() {
                self.at(now + RECHECK);
            }
        } else if can_change {
            self.at(now + self.retry);
            self.retry = (self.retry * 2).min(LONGEST_RETRY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(is_success: bool, said: &str) -> Outcome {
        Outcome {
            is_success,
            result: String::new(),
            said: said.to_owned(),
        }
    }

    #[test]
    fn the_earlier_time_counts() {
        let now = Instant::now();
        let mut schedule = Schedule::due_at(now);
        assert!(schedule.is_due(now));
        schedule.clear();
        assert!(!schedule.is_due(now) && schedule.next().is_none());
        schedule.soon(now);
        schedule.at(now + RECHECK);
        assert_eq!(schedule.next(), Some(now + DEBOUNCE));
    }

    #[test]
    fn failures_are_tried_again_ever_more_slowly() {
        let now = Instant::now();
        let mut schedule = Schedule::due_at(now);
        let mut next = |outcome: &Outcome, can_change| {
            schedule.clear();
            schedule.after(outcome, can_change, now);
            schedule.next().map(|due| (due - now).as_secs())
        };
        let failed = outcome(false, "NVML");
        let waits: Vec<_> = (0..8).map(|_| next(&failed, true)).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60].map(Some));
        assert_eq!(next(&outcome(true, "GPU 3 is lost"), true), Some(30));
        assert_eq!(next(&failed, true), Some(1), "a success starts anew");
        assert_eq!(next(&failed, false), None);
        assert_eq!(next(&outcome(true, ""), true), None);
    }
}
