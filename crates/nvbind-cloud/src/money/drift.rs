//! How far our record and the provider's bill are apart.

use super::cost::{paid, rate};
use super::{DAY_MS, Period};
use crate::Attempt;
use crate::catalog::{Day, ProviderName};
use crate::provider::BillLine;
use serde::Serialize;
use std::collections::BTreeMap;

/// A day of a deployment at a provider, as recorded here and as billed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DriftLine {
    /// The day, UTC.
    pub day: Day,
    /// The provider.
    pub provider: ProviderName,
    /// The deployment; empty where a bill names none.
    pub deployment: String,
    /// USD as recorded here.
    pub recorded_usd: f64,
    /// USD as billed.
    pub billed_usd: f64,
    /// USD billed beyond what is recorded; negative where less was billed.
    pub drift_usd: f64,
    /// That in percent of what is recorded; `None` where nothing is.
    pub drift_percent: Option<f64>,
}

/// USD below which a day is not worth a line.
const NOTHING: f64 = 0.005;

/// Sets the bills of providers against what was recorded, by day and deployment. Only providers with a bill are compared, and only
/// whole days: a bill knows no hours.
pub fn drift(
    attempts: &[Attempt],
    bills: &[(ProviderName, Vec<BillLine>)],
    period: Period,
    now_ms: i64,
) -> Vec<DriftLine> {
    let mut sums: BTreeMap<(Day, ProviderName, String), (f64, f64)> = BTreeMap::new();
    let has_bill = |provider| bills.iter().any(|(billed, _)| *billed == provider);
    for attempt in attempts.iter().filter(|attempt| has_bill(attempt.provider)) {
        let Some(paid) = paid(attempt, whole_days(period), now_ms) else {
            continue;
        };
        for (day, part) in paid.days() {
            let key = (day, attempt.provider, attempt.order.deployment.clone());
            sums.entry(key).or_default().0 += part.hours() * rate(attempt);
        }
    }
    for (provider, lines) in bills {
        for line in lines {
            let day = Day::of_unix(line.day);
            let is_in = whole_days(period).days().any(|(known, _)| known == day);
            if is_in {
                sums.entry((day, *provider, line.deployment.clone())).or_default().1 += line.usd;
            }
        }
    }
    let lines = sums
        .into_iter()
        .map(|((day, provider, deployment), (recorded_usd, billed_usd))| DriftLine {
            day,
            provider,
            deployment,
            recorded_usd,
            billed_usd,
            drift_usd: billed_usd - recorded_usd,
            drift_percent: (recorded_usd > NOTHING).then(|| (billed_usd - recorded_usd) / recorded_usd * 100.0),
        });
    lines
        .filter(|line| line.recorded_usd.abs() > NOTHING || line.billed_usd.abs() > NOTHING)
        .collect()
}

/// The days that a period touches, whole.
fn whole_days(period: Period) -> Period {
    Period {
        from_ms: period.from_ms.div_euclid(DAY_MS) * DAY_MS,
        to_ms: (period.to_ms + DAY_MS - 1).div_euclid(DAY_MS) * DAY_MS,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{HOUR, attempt};
    use super::*;
    use crate::catalog::ProviderName::{Aws, Azure, Gcp};

    fn line(deployment: &str, day: u64, usd: f64) -> BillLine {
        BillLine {
            deployment: deployment.to_owned(),
            day: day * 86_400,
            usd,
        }
    }

    #[test]
    fn bills_are_set_against_the_record_by_day_and_deployment() {
        let attempts = [
            attempt("a", Aws, Some(20), Some(28)),
            attempt("b", Gcp, Some(24), Some(25)),
            attempt("c", Azure, Some(24), Some(25)),
        ];
        let bills = [
            (
                Aws,
                vec![
                    line("a", 0, 11.0),
                    line("a", 1, 4.0),
                    line("a", 1, 4.0),
                    line("", 1, 3.0),
                    line("a", 99, 7.0),
                ],
            ),
            (Gcp, vec![]),
        ];
        let period = Period {
            from_ms: 22 * HOUR,
            to_ms: 30 * HOUR,
        };
        let found: Vec<(i64, ProviderName, String, f64, f64, Option<f64>)> =
            drift(&attempts, &bills, period, 30 * HOUR)
                .into_iter()
                .map(|line| {
                    let DriftLine {
                        day,
                        provider,
                        deployment,
                        recorded_usd,
                        billed_usd,
                        drift_percent,
                        ..
                    } = line;
                    (day.0, provider, deployment, recorded_usd, billed_usd, drift_percent)
                })
                .collect();
        let expected = [
            (0, Aws, "a".to_owned(), 10.0, 11.0, Some(10.0)),
            (1, Aws, String::new(), 0.0, 3.0, None),
            (1, Aws, "a".to_owned(), 10.0, 8.0, Some(-20.0)),
            (1, Gcp, "b".to_owned(), 2.5, 0.0, Some(-100.0)),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn cents_of_nothing_are_left_out() {
        let bills = [(Aws, vec![line("a", 0, 0.001)])];
        let period = Period::day_of(0);
        assert!(drift(&[], &bills, period, HOUR).is_empty());
    }
}
