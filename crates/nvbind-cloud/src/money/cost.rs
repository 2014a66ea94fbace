//! What a period has cost, by what it was spent on.

use super::{HOUR_MS, Period};
use crate::Attempt;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;

/// What costs are told apart by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// Who rents the machines out.
    Provider,
    /// What ran on them.
    #[default]
    Deployment,
    /// Who deployed it.
    User,
    /// GPU model.
    Gpu,
    /// Day, UTC.
    Day,
}

impl By {
    /// Every one with its name.
    pub const WORDS: [(Self, &'static str); 5] = [
        (Self::Provider, "provider"),
        (Self::Deployment, "deployment"),
        (Self::User, "user"),
        (Self::Gpu, "gpu"),
        (Self::Day, "day"),
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(by, _)| *by == self)
            .map_or("", |(_, word)| word)
    }
}

impl FromStr for By {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = Self::WORDS.iter().find(|(_, known)| *known == word);
        found
            .map(|(by, _)| *by)
            .ok_or_else(|| format!("use {}", Self::WORDS.map(|(_, known)| known).join(", ")))
    }
}

/// Names of those who deployed, by the number of the deployment.
pub type Owners = HashMap<i64, String>;

/// What a period has cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Costs {
    /// The period.
    pub period: Period,
    /// What the lines are told apart by.
    pub by: By,
    /// The dearest first; days in their order, those without cost too.
    pub lines: Vec<CostLine>,
    /// All of it.
    pub total: CostLine,
}

/// What was spent on one thing.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CostLine {
    /// What it was spent on.
    pub name: String,
    /// USD for machines.
    pub machines_usd: f64,
    /// USD for what comes with them: disks, addresses.
    pub extras_usd: f64,
    /// Their sum.
    pub usd: f64,
    /// Hours of machines.
    pub machine_hours: f64,
    /// Hours of GPUs.
    pub gpu_hours: f64,
    /// Machines.
    pub machines: usize,
    /// Those of them that are paid for still.
    pub running: usize,
    /// USD an hour that those cost.
    pub running_usd_h: f64,
}

/// What attempts have cost in a period, up to now where they are paid for still.
pub fn costs(attempts: &[Attempt], owners: &Owners, period: Period, by: By, now_ms: i64) -> Costs {
    let mut lines: BTreeMap<String, CostLine> = BTreeMap::new();
    if by == By::Day {
        let known = Period {
            to_ms: period.to_ms.min(now_ms),
            ..period
        };
        lines.extend(known.days().map(|(day, _)| (day.to_string(), CostLine::default())));
    }
    let mut total = CostLine::default();
    for attempt in attempts {
        let Some(paid) = paid(attempt, period, now_ms) else {
            continue;
        };
        let is_running = attempt.ended_ms.is_none();
        total.add(attempt, paid.hours(), is_running);
        if by == By::Day {
            for (day, part) in paid.days() {
                let is_last = part.to_ms == paid.to_ms;
                let line = lines.entry(day.to_string()).or_default();
                line.add(attempt, part.hours(), is_running && is_last);
            }
            continue;
        }
        let name = name(attempt, owners, by);
        lines.entry(name).or_default().add(attempt, paid.hours(), is_running);
    }
    total.name = "total".to_owned();
    let named = lines.into_iter().map(|(name, line)| CostLine { name, ..line });
    let mut lines: Vec<CostLine> = named.collect();
    if by != By::Day {
        lines.sort_by(|a, b| b.usd.total_cmp(&a.usd));
    }
    Costs {
        period,
        by,
        lines,
        total,
    }
}

/// The part of a period that an attempt was paid for in; `None` when there is none.
pub(super) fn paid(attempt: &Attempt, period: Period, now_ms: i64) -> Option<Period> {
    let life = Period {
        from_ms: attempt.accepted_ms?,
        to_ms: attempt.ended_ms.unwrap_or(now_ms).min(now_ms),
    };
    let paid = life.and(period);
    (paid.to_ms > paid.from_ms).then_some(paid)
}

/// USD of a time in milliseconds.
pub(super) fn usd(ms: i64, usd_h: f64) -> f64 {
    ms as f64 / HOUR_MS * usd_h
}

/// USD an hour of a machine with what comes with it.
pub(super) fn rate(attempt: &Attempt) -> f64 {
    attempt.usd_h + attempt.extras_usd_h
}

fn name(attempt: &Attempt, owners: &Owners, by: By) -> String {
    match by {
        By::Provider => attempt.provider.to_string(),
        By::Deployment => attempt.order.deployment.clone(),
        By::Gpu => attempt.gpu.clone(),
        By::User | By::Day => match owners.get(&attempt.deployment) {
            Some(owner) if !owner.is_empty() => owner.clone(),
            _ => "unknown".to_owned(),
        },
    }
}

impl CostLine {
    fn add(&mut self, attempt: &Attempt, hours: f64, is_running: bool) {
        self.machines_usd += hours * attempt.usd_h;
        self.extras_usd += hours * attempt.extras_usd_h;
        self.usd = self.machines_usd + self.extras_usd;
        self.machine_hours += hours;
        self.gpu_hours += hours * attempt.gpus;
        self.machines += 1;
        if is_running {
            self.running += 1;
            self.running_usd_h += rate(attempt);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{HOUR, attempt};
    use super::*;
    use crate::catalog::ProviderName::{Aws, Gcp};
    use proptest::prelude::*;

    fn period(from: i64, to: i64) -> Period {
        Period {
            from_ms: from * HOUR,
            to_ms: to * HOUR,
        }
    }

    fn lines(costs: &Costs) -> Vec<(&str, f64)> {
        costs.lines.iter().map(|line| (line.name.as_str(), line.usd)).collect()
    }

    #[test]
    fn what_was_never_accepted_costs_nothing_and_what_runs_costs_until_now() {
        let attempts = [
            attempt("train", Aws, None, None),
            attempt("train", Aws, None, Some(5)),
            attempt("train", Aws, Some(1), Some(3)),
            attempt("train", Gcp, Some(6), None),
        ];
        let costs = costs(&attempts, &Owners::new(), period(0, 100), By::Provider, 10 * HOUR);
        assert_eq!(lines(&costs), [("gcp", 10.0), ("aws", 5.0)]);
        let total = &costs.total;
        assert_eq!((total.machines, total.running, total.running_usd_h), (2, 1, 2.5));
        assert_eq!((total.machines_usd, total.extras_usd), (12.0, 3.0));
        assert_eq!((total.machine_hours, total.gpu_hours), (6.0, 24.0));
    }

    #[test]
    fn only_what_lies_in_the_period_counts() {
        let attempts = [
            attempt("a", Aws, Some(0), Some(10)),
            attempt("b", Aws, Some(8), Some(30)),
            attempt("c", Aws, Some(20), Some(30)),
        ];
        let costs = costs(&attempts, &Owners::new(), period(6, 16), By::Deployment, 40 * HOUR);
        assert_eq!(lines(&costs), [("b", 20.0), ("a", 10.0)]);
    }

    #[test]
    fn users_are_known_by_their_deployments() {
        let mut other = attempt("b", Aws, Some(0), Some(2));
        other.deployment = 2;
        let attempts = [attempt("a", Aws, Some(0), Some(1)), other];
        let owners = Owners::from([(1, "ada".to_owned())]);
        let costs = costs(&attempts, &owners, period(0, 10), By::User, 10 * HOUR);
        assert_eq!(lines(&costs), [("unknown", 5.0), ("ada", 2.5)]);
    }

    #[test]
    fn a_machine_over_midnight_counts_on_both_days() {
        let attempts = [attempt("a", Aws, Some(22), None)];
        let costs = costs(&attempts, &Owners::new(), period(0, 240), By::Day, 49 * HOUR);
        assert_eq!(
            lines(&costs),
            [("1970-01-01", 5.0), ("1970-01-02", 60.0), ("1970-01-03", 2.5)]
        );
        let running: Vec<usize> = costs.lines.iter().map(|line| line.running).collect();
        assert_eq!(running, [0, 0, 1]);
    }

    proptest! {
        /// However it is told apart, the lines add up to the total, and the total is what the attempts say themselves.
        #[test]
        fn lines_add_up(
            lives in prop::collection::vec((0_i64..200, prop::option::of(0_i64..200), any::<bool>()), 0..20),
            now in 200_i64..300,
        ) {
            let attempts: Vec<Attempt> = lives
                .iter()
                .map(|(from, hours, is_aws)| {
                    attempt("a", if *is_aws { Aws } else { Gcp }, Some(*from), hours.map(|hours| from + hours))
                })
                .collect();
            let expected: f64 = attempts.iter().map(|attempt| attempt.cost_usd(now * HOUR)).sum();
            for (by, word) in By::WORDS {
                let costs = costs(&attempts, &Owners::new(), period(0, 1000), by, now * HOUR);
                let sum: f64 = costs.lines.iter().map(|line| line.usd).sum();
                prop_assert!((sum - expected).abs() < 1e-6, "{word}: {sum} {expected}");
                prop_assert!((costs.total.usd - expected).abs() < 1e-6, "{word}");
                let running: usize = costs.lines.iter().map(|line| line.running).sum();
                prop_assert_eq!(running, costs.total.running);
            }
        }
    }
}
