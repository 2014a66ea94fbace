//! What is looked at now and then: the budget, the load, the deadline.

use super::{Controller, budget};
use crate::attempt::{Attempt, AttemptStatus, EndReason};
use crate::catalog::{Market, Offer};
use crate::deadline::{TICK_MS, Tick, choose};
use crate::deployment::{Deployment, DeploymentStatus};
use crate::money::{self, Spender};
use crate::requirements::SpotUse;
use crate::spot::{Choice, Job};
use crate::state::{StateError, now_ms};

/// Pause between two looks, in milliseconds.
const PAUSE_MS: i64 = 5_000;

impl Controller {
    /// Looks at budget, load and deadline when it is time; whether anything was written down.
    pub(super) fn duties(&mut self, deployment: &Deployment, attempts: &[Attempt]) -> Result<bool, StateError> {
        let now = now_ms();
        if deployment.status != DeploymentStatus::Active || now - self.duties_ms < PAUSE_MS {
            return Ok(false);
        }
        self.duties_ms = now;
        Ok(self.within_budget(deployment, attempts)?
            || self.scaled(deployment, attempts, now)?
            || self.on_right_market(deployment, attempts, now)?)
    }

    fn within_budget(&mut self, deployment: &Deployment, attempts: &[Attempt]) -> Result<bool, StateError> {
        let all = self.state.attempts_since(0)?;
        let spender = Spender {
            deployment: deployment.id,
            name: deployment.spec.name.clone(),
            budget_usd: deployment.spec.requirements.budget_usd,
            spent_usd: attempts.iter().map(|attempt| attempt.cost_usd(now_ms())).sum(),
            usd_h: attempts.iter().map(budget::usd_h).sum(),
        };
        let findings = money::check_running(&self.tools.market.budget, &budget::spent(&all), &[spender]);
        for finding in findings {
            if finding.must_stop {
                self.state
                    .set_deployment(deployment.id, DeploymentStatus::Failing, &finding.line)?;
                self.state.tell(Some(deployment.id), None, "budget", &finding.line)?;
                return Ok(true);
            }
            if !self.warned.contains(&finding.line) {
                self.state.tell(Some(deployment.id), None, "budget", &finding.line)?;
                self.warned.insert(finding.line);
            }
        }
        Ok(false)
    }

    /// Gives back machines of the wrong market, and what runs when it is better to wait.
    fn on_right_market(&mut self, deployment: &Deployment, attempts: &[Attempt], now: i64) -> Result<bool, StateError> {
        let before = self.choice;
        let Some(choice) = self.wanted_market(deployment, attempts, now) else {
            return Ok(false);
        };
        if before != Some(choice) {
            let message = format!("until the next tick: {choice:?}");
            self.state.tell(Some(deployment.id), None, "deadline", &message)?;
        }
        let wrong: Vec<&Attempt> = attempts
            .iter()
            .filter(|attempt| attempt.is_live() && attempt.status == AttemptStatus::Working)
            .filter(|attempt| choice_of(attempt.order.market) != choice)
            .collect();
        for attempt in &wrong {
            self.release((*attempt).clone(), EndReason::NotNeeded)?;
        }
        Ok(!wrong.is_empty())
    }
}

impl Controller {
    /// Which market a deployment with a deadline is to use now. It follows from the ticks that are over, so it is found anew only when
    /// there is another one, or something has happened since.
    pub(super) fn wanted_market(&mut self, deployment: &Deployment, attempts: &[Attempt], now: i64) -> Option<Choice> {
        let tick = (now - deployment.created_ms) / TICK_MS;
        let known = (tick, attempts.len(), is_refused(attempts, now - TICK_MS, now));
        if self.choice_for != Some(known) {
            self.choice_for = Some(known);
            self.choice = market(deployment, attempts, &self.tools.market.offers, now);
        }
        self.choice
    }
}

/// Which market a deployment with a deadline is to use now; `None` for one that has none or has no choice.
fn market(deployment: &Deployment, attempts: &[Attempt], offers: &[Offer], now_ms: i64) -> Option<Choice> {
    let wanted = &deployment.spec.requirements;
    if wanted.spot != SpotUse::Auto {
        return None;
    }
    let cheapest = |market: Market| {
        let seen = attempts
            .iter()
            .filter(|attempt| attempt.order.market == market)
            .map(|attempt| attempt.usd_h);
        let all = offers
            .iter()
            .filter(|offer| offer.market == market)
            .map(|offer| offer.usd_h);
        seen.reduce(f64::min).or_else(|| all.reduce(f64::min))
    };
    let job = Job {
        work_hours: wanted.work_hours?,
        deadline_hours: wanted.deadline_hours?,
        overhead_hours: overhead_hours(attempts),
        on_demand_usd: cheapest(Market::OnDemand)?,
        spot_usd: cheapest(Market::Spot)?,
    };
    // A job that cannot meet its deadline any more does best on demand.
    let Ok(job) = job.checked() else {
        return Some(Choice::OnDemand);
    };
    let over = ticks(deployment.created_ms, attempts, now_ms);
    let is_up = !is_refused(attempts, now_ms - TICK_MS, now_ms);
    Some(choose(&job, &[], &over, deployment.created_ms, now_ms, is_up))
}

/// Hours from an order until the workload was started, as seen; before anything was seen, three minutes.
fn overhead_hours(attempts: &[Attempt]) -> f64 {
    let seen: Vec<f64> = attempts
        .iter()
        .filter_map(|attempt| Some((attempt.started_ms? - attempt.intent_ms) as f64 / 3_600_000.0))
        .collect();
    match seen.is_empty() {
        true => 0.05,
        false => seen.iter().sum::<f64>() / seen.len() as f64,
    }
}

fn choice_of(market: Market) -> Choice {
    match market {
        Market::OnDemand => Choice::OnDemand,
        Market::Spot => Choice::Spot,
    }
}

/// What was there and what ran in the ticks since the start that are over.
fn ticks(from_ms: i64, attempts: &[Attempt], now_ms: i64) -> Vec<Tick> {
    let count = (now_ms - from_ms).max(0) / TICK_MS;
    (0..count)
        .map(|tick| {
            let (begin, end) = (from_ms + tick * TICK_MS, from_ms + (tick + 1) * TICK_MS);
            let ran = attempts.iter().find(|attempt| {
                let until = attempt.deleting_ms.or(attempt.notice_ms).unwrap_or(i64::MAX);
                attempt.accepted_ms.is_some_and(|accepted| accepted <= begin) && until >= end
            });
            Tick {
                was_up: !is_refused(attempts, begin, end),
                ran: ran.map_or(Choice::None, |attempt| choice_of(attempt.order.market)),
            }
        })
        .collect()
}

/// Whether a spot machine was refused or taken back in that time.
fn is_refused(attempts: &[Attempt], begin_ms: i64, end_ms: i64) -> bool {
    attempts.iter().any(|attempt| {
        let at = attempt.notice_ms.or(attempt.deleting_ms).or(attempt.ended_ms);
        attempt.order.market == Market::Spot
            && matches!(
                attempt.end,
                Some(EndReason::Refused | EndReason::Interrupted | EndReason::Lost)
            )
            && at.is_some_and(|at| (begin_ms..end_ms).contains(&at))
    })
}
