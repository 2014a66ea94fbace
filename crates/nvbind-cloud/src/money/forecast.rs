//! What will have been spent at the end of the day and of the month.

use super::cost::{paid, rate, usd};
use super::{DAY_MS, Period, total};
use crate::Attempt;
use serde::Serialize;

/// Days back that the mean is taken over.
const HISTORY_DAYS: i64 = 7;

/// What a day or a month will cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Forecast {
    /// The day or month.
    pub period: Period,
    /// USD spent in it so far.
    pub spent_usd: f64,
    /// USD an hour that machines cost now.
    pub running_usd_h: f64,
    /// USD at its end if what runs now runs on, each machine no longer than its provider lets it.
    pub if_running_usd: f64,
    /// USD an hour, the mean of the seven days up to now, or of the time since the first machine where that is shorter.
    pub usual_usd_h: f64,
    /// USD at its end if it goes on as it usually does.
    pub if_usual_usd: f64,
    /// The higher of both: what to reckon with.
    pub expected_usd: f64,
}

/// What a day or month, of which now is part, will cost.
pub fn forecast(attempts: &[Attempt], period: Period, now_ms: i64) -> Forecast {
    let spent_in = |period: Period| -> f64 {
        let spent = |attempt| paid(attempt, period, now_ms).map_or(0.0, |paid| paid.hours() * rate(attempt));
        total(attempts.iter().map(spent))
    };
    let running = || attempts.iter().filter(|attempt| is_running(attempt));
    let left = Period {
        from_ms: now_ms.max(period.from_ms),
        ..period
    };
    let spent_usd = spent_in(period);
    let still = |attempt: &Attempt| usd(time_left(attempt, left), rate(attempt));
    let history = history(attempts, now_ms);
    let usual_usd_h = match history.hours() > 0.0 {
        true => spent_in(history) / history.hours(),
        false => 0.0,
    };
    let if_running_usd = spent_usd + total(running().map(still));
    let if_usual_usd = spent_usd + usual_usd_h * left.hours();
    Forecast {
        period,
        spent_usd,
        running_usd_h: total(running().map(rate)),
        if_running_usd,
        usual_usd_h,
        if_usual_usd,
        expected_usd: if_running_usd.max(if_usual_usd),
    }
}

fn is_running(attempt: &Attempt) -> bool {
    attempt.accepted_ms.is_some() && attempt.ended_ms.is_none()
}

/// Milliseconds of that time that a machine can run, by what its provider was told.
fn time_left(attempt: &Attempt, left: Period) -> i64 {
    let longest = attempt
        .order
        .max_run_seconds
        .and_then(|seconds| i64::try_from(seconds).ok());
    let end = match (attempt.accepted_ms, longest) {
        (Some(accepted), Some(seconds)) => accepted.saturating_add(seconds.saturating_mul(1000)),
        _ => i64::MAX,
    };
    (left.to_ms.min(end) - left.from_ms).max(0)
}

/// The days that the mean is taken over. Less than a day says too little: it counts as a day.
fn history(attempts: &[Attempt], now_ms: i64) -> Period {
    let first = attempts.iter().filter_map(|attempt| attempt.accepted_ms).min();
    let from_ms = first.unwrap_or(now_ms).max(now_ms - HISTORY_DAYS * DAY_MS);
    Period {
        from_ms: from_ms.min(now_ms - DAY_MS),
        to_ms: now_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{HOUR, attempt};
    use super::*;
    use crate::catalog::ProviderName::Aws;

    fn close(found: f64, wanted: f64) {
        assert!((found - wanted).abs() < 1e-9, "{found} is not {wanted}");
    }

    #[test]
    fn nothing_costs_nothing_without_a_sign() {
        let none = forecast(&[], Period::day_of(36 * HOUR), 36 * HOUR);
        for usd in [
            none.spent_usd,
            none.running_usd_h,
            none.if_running_usd,
            none.expected_usd,
        ] {
            assert!(usd == 0.0 && usd.is_sign_positive(), "{usd}");
        }
    }

    #[test]
    fn what_runs_runs_on_to_the_end() {
        let now = 36 * HOUR;
        let attempts = [attempt("a", Aws, Some(30), None)];
        let day = forecast(&attempts, Period::day_of(now), now);
        close(day.spent_usd, 6.0 * 2.5);
        close(day.running_usd_h, 2.5);
        close(day.if_running_usd, 18.0 * 2.5);
        // A day is the least that a mean is taken over.
        close(day.usual_usd_h, 15.0 / 24.0);
        close(day.expected_usd, day.if_running_usd);
    }

    #[test]
    fn no_machine_outlives_what_its_provider_was_told() {
        let now = 36 * HOUR;
        let mut short = attempt("a", Aws, Some(30), None);
        short.order.max_run_seconds = Some(8 * 3600);
        close(
            forecast(&[short.clone()], Period::month_of(now), now).if_running_usd,
            8.0 * 2.5,
        );
        short.order.max_run_seconds = Some(3600);
        close(forecast(&[short], Period::day_of(now), now).if_running_usd, 6.0 * 2.5);
    }

    #[test]
    fn what_is_usual_counts_when_nothing_runs() {
        let now = 10 * 24 * HOUR + 12 * HOUR;
        let attempts = [attempt("a", Aws, Some(0), Some(9 * 24))];
        let day = forecast(&attempts, Period::day_of(now), now);
        close(day.spent_usd, 0.0);
        close(day.usual_usd_h, 2.5 * (9.0 * 24.0 - 84.0) / 168.0);
        close(day.if_usual_usd, day.usual_usd_h * 12.0);
        close(day.expected_usd, day.if_usual_usd);
        let nothing = forecast(&[], Period::month_of(now), now);
        close(nothing.expected_usd, 0.0);
    }
}
