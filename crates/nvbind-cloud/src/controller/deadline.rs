//! Which market a deployment with a deadline is on, and how it moves to the other one.

use super::Controller;
use crate::attempt::{Attempt, AttemptStatus, EndReason};
use crate::catalog::{Market, Offer};
use crate::deadline::{Tick, choose, tick_ms};
use crate::deployment::Deployment;
use crate::place::{Facts, OfferIndex, Survey};
use crate::requirements::{Requirements, SpotUse};
use crate::spot::{Choice, Job};
use crate::state::{StateError, now_ms};

/// Hours that a start takes where nothing was seen of any.
const START_HOURS: f64 = 0.05;
/// Starts of other deployments that are looked at for how long one takes.
const STARTS: usize = 20;

/// What the deadline asks for, and what that was found for.
#[derive(Debug, Default)]
pub(super) struct Wish {
    choice: Option<Choice>,
    /// The tick, the attempts, and whether spot capacity was away.
    found_for: Option<(i64, usize, bool)>,
    /// When no spot offer was to be had, in milliseconds since 1970.
    away_ms: Option<i64>,
    /// What was told last.
    told: Option<Choice>,
}

impl Controller {
    /// Brings the deployment to the market that its deadline asks for. A node on the other one keeps its machine until the new one is up;
    /// what runs while it is better to wait is given back.
    pub(super) fn on_right_market(
        &mut self,
        deployment: &Deployment,
        attempts: &[Attempt],
        now: i64,
    ) -> Result<bool, StateError> {
        let Some(choice) = self.wanted_market(deployment, attempts, now)? else {
            return Ok(false);
        };
        if self.wish.told != Some(choice) {
            self.wish.told = Some(choice);
            self.state
                .tell(Some(deployment.id), None, "deadline", &told(deployment, choice, now))?;
        }
        let is_live_on = |attempt: &&Attempt, node: u32| attempt.is_live() && attempt.order.node == node;
        let mut has_written = false;
        let working = attempts
            .iter()
            .filter(|attempt| attempt.is_live() && attempt.status == AttemptStatus::Working);
        for attempt in working.filter(|attempt| choice_of(attempt.order.market) != choice) {
            let node = attempt.order.node;
            let has_successor = attempts
                .iter()
                .any(|other| is_live_on(&other, node) && other.id > attempt.id);
            if choice == Choice::None {
                self.release(attempt.clone(), EndReason::NotNeeded)?;
                has_written = true;
            } else if !has_successor {
                has_written |= self.place(deployment, attempts, node)?;
            }
        }
        Ok(has_written)
    }

    /// Which market a deployment with a deadline is to use now. It follows from the ticks that are over, so it is found anew only when
    /// there is another one, or something has happened since.
    pub(super) fn wanted_market(
        &mut self,
        deployment: &Deployment,
        attempts: &[Attempt],
        now: i64,
    ) -> Result<Option<Choice>, StateError> {
        let needs = &deployment.spec.requirements;
        let (SpotUse::Auto, Some(work_hours), Some(deadline_hours)) =
            (needs.spot, needs.work_hours, needs.deadline_hours)
        else {
            return Ok(None);
        };
        let length = tick_ms(deadline_hours);
        let tick = (now - deployment.created_ms) / length;
        let is_away = is_refused(attempts, now - length, now) || self.wish.away_ms.is_some_and(|at| now - at < length);
        let known = (tick, attempts.len(), is_away);
        if self.wish.found_for == Some(known) {
            return Ok(self.wish.choice);
        }
        let offers = &self.tools.market.offers;
        let facts = Facts {
            latencies: &self.tools.market.latencies,
            ..Facts::default()
        };
        let prices = [Market::OnDemand, Market::Spot].map(|market| price(needs, attempts, offers, &facts, market));
        let [Some(on_demand_usd), Some(spot_usd)] = prices else {
            return Ok(None);
        };
        let job = Job {
            work_hours,
            deadline_hours,
            overhead_hours: self.overhead_hours(attempts)?,
            on_demand_usd,
            spot_usd,
        };
        let choice = match job.checked() {
            Ok(job) => {
                let over = ticks(deployment.created_ms, length, attempts, now);
                choose(&job, &[], &over, deployment.created_ms, now, !is_away)
            }
            // A job that cannot meet its deadline any more does best on demand.
            Err(_) => Choice::OnDemand,
        };
        self.wish.found_for = Some(known);
        self.wish.choice = Some(choice);
        Ok(self.wish.choice)
    }

    /// No spot offer was to be had just now.
    pub(super) fn no_spot_now(&mut self) {
        self.wish.away_ms = Some(now_ms());
    }

    /// Hours from an order until the workload was started, as seen: of this deployment, else of the last ones of others.
    fn overhead_hours(&self, attempts: &[Attempt]) -> Result<f64, StateError> {
        let own = mean_start_hours(attempts);
        let all = match own {
            Some(_) => None,
            None => mean_start_hours(&self.state.attempts_since(0)?),
        };
        Ok(own.or(all).unwrap_or(START_HOURS))
    }

    /// Whether a node that moves to another machine is to wait with the start of its workload there, since it still runs on the old one.
    /// That one is given back then, which ends it.
    pub(super) fn hands_over(&mut self, attempts: &[Attempt], attempt: &Attempt) -> Result<bool, StateError> {
        let predecessor = attempts.iter().find(|other| {
            other.order.node == attempt.order.node
                && other.id < attempt.id
                && other.notice_ms.is_none()
                && other.started_ms.is_some()
                && (other.status == AttemptStatus::Working || is_being_stopped(other))
        });
        if let Some(other) = predecessor.filter(|other| other.status == AttemptStatus::Working) {
            self.release(other.clone(), EndReason::NotNeeded)?;
        }
        Ok(predecessor.is_some())
    }
}

/// Whether the workload there may still be about to end: it is told to before the provider is told anything.
fn is_being_stopped(attempt: &Attempt) -> bool {
    attempt.status == AttemptStatus::Deleting && attempt.end == Some(EndReason::NotNeeded) && attempt.tries == 0
}

/// What was decided, with the time that is left.
fn told(deployment: &Deployment, choice: Choice, now_ms: i64) -> String {
    let hours = (now_ms - deployment.created_ms) as f64 / 3_600_000.0;
    let left = deployment.spec.requirements.deadline_hours.unwrap_or_default() - hours;
    let what = match choice {
        Choice::None => "spot capacity is away, and there is time to wait for it",
        Choice::Spot => "spot",
        Choice::OnDemand => "on demand",
    };
    format!("{what}; {:.0} min until the deadline", left * 60.0)
}

/// USD an hour on that market: as this deployment was asked for last, else of the best offer that will do.
fn price(
    needs: &Requirements,
    attempts: &[Attempt],
    offers: &[Offer],
    facts: &Facts<'_>,
    market: Market,
) -> Option<f64> {
    let seen = attempts.iter().rfind(|attempt| attempt.order.market == market);
    if let Some(attempt) = seen {
        return Some(attempt.usd_h);
    }
    let needs = Requirements {
        nodes: 1,
        spot: match market {
            Market::OnDemand => SpotUse::Never,
            Market::Spot => SpotUse::Only,
        },
        ..needs.clone()
    };
    let index = OfferIndex::new(offers);
    let placement = Survey::new(&index, facts).place(&needs, 1).ok()?;
    placement.choices.first().map(|choice| offers[choice.offer].usd_h)
}

fn mean_start_hours(attempts: &[Attempt]) -> Option<f64> {
    let hours = |attempt: &Attempt| Some((attempt.started_ms? - attempt.intent_ms) as f64 / 3_600_000.0);
    let seen: Vec<f64> = attempts
        .iter()
        .rev()
        .filter(|attempt| attempt.starts == 0)
        .filter_map(hours)
        .take(STARTS)
        .collect();
    (!seen.is_empty()).then(|| seen.iter().sum::<f64>() / seen.len() as f64)
}

fn choice_of(market: Market) -> Choice {
    match market {
        Market::OnDemand => Choice::OnDemand,
        Market::Spot => Choice::Spot,
    }
}

/// What was there and what ran in the ticks of that length since the start that are over.
fn ticks(from_ms: i64, length_ms: i64, attempts: &[Attempt], now_ms: i64) -> Vec<Tick> {
    let count = (now_ms - from_ms).max(0) / length_ms;
    (0..count)
        .map(|tick| {
            let (begin, end) = (from_ms + tick * length_ms, from_ms + (tick + 1) * length_ms);
            let ran = attempts.iter().find(|attempt| {
                // A workload is told to end at the notice, not when its machine goes.
                let until = attempt.notice_ms.or(attempt.deleting_ms).unwrap_or(i64::MAX);
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
        let is_taken = attempt.notice_ms.is_some()
            || matches!(
                attempt.end,
                Some(EndReason::Refused | EndReason::Interrupted | EndReason::Lost)
            );
        attempt.order.market == Market::Spot && is_taken && at.is_some_and(|at| (begin_ms..end_ms).contains(&at))
    })
}
