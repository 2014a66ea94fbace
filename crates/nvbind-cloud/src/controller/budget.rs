//! Whether the budget allows a machine.

use super::Tools;
use super::choose::NoOffer;
use crate::attempt::Attempt;
use crate::deployment::Deployment;
use crate::money::{self, Launch, Period, Spender, Spent};
use crate::state::{NewAttempt, now_ms};

/// Whether the budget allows what is about to be ordered, and what is to be told then; what is running already counts, too.
pub(super) fn allowed(
    tools: &Tools,
    deployment: &Deployment,
    attempts: &[Attempt],
    all: &[Attempt],
    new: &NewAttempt,
) -> Result<Option<String>, NoOffer> {
    let committed: f64 = all.iter().map(usd_h).sum();
    let running: f64 = attempts.iter().map(usd_h).sum();
    let spender = Spender {
        deployment: deployment.id,
        name: deployment.spec.name.clone(),
        budget_usd: deployment.spec.requirements.budget_usd,
        spent_usd: attempts.iter().map(|attempt| attempt.cost_usd(now_ms())).sum(),
        usd_h: running + new.usd_h + new.extras_usd_h,
    };
    let hours = deployment.spec.requirements.work_hours;
    match money::check_launch(&tools.market.budget, &spent(all), committed - running, &spender, hours) {
        Launch::Refuse(message) => Err(NoOffer {
            message,
            is_final: true,
        }),
        Launch::Warn(message) => Ok(Some(message)),
        Launch::Allowed => Ok(None),
    }
}

/// USD an hour that an attempt costs now.
pub(super) fn usd_h(attempt: &Attempt) -> f64 {
    match (attempt.accepted_ms, attempt.ended_ms) {
        (Some(_), None) => attempt.usd_h + attempt.extras_usd_h,
        _ => 0.0,
    }
}

/// What was spent today and this month.
pub(super) fn spent(all: &[Attempt]) -> Spent {
    let now = now_ms();
    let since = |period: Period| {
        let cost = |attempt: &Attempt| attempt.cost_usd(now) - attempt.cost_usd(period.from_ms);
        // The sum of nothing is -0.0, which would be told with its sign.
        all.iter().map(cost).sum::<f64>() + 0.0
    };
    Spent {
        day_usd: since(Period::day_of(now)),
        month_usd: since(Period::month_of(now)),
    }
}
