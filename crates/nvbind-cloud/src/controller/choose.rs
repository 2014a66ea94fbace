//! Which machine a node gets: what can be rented now, what is known of it, and the budget.

use super::{Controller, Tools};
use crate::attempt::{Attempt, EndReason};
use crate::catalog::{Offer, ProviderName};
use crate::deployment::Deployment;
use crate::place::{Block, Choice as PlaceChoice, Extras, Facts, History, Latency, OfferIndex, Survey};
use crate::provider::{ErrorClass, Order, ProviderError, Quota};
use crate::requirements::{Requirements, SpotUse};
use crate::spot::Choice;
use crate::state::{NewAttempt, State, StateError, now_ms};
use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a quota that was asked for is believed, in milliseconds.
const QUOTA_MS: i64 = 300_000;
/// How long a placement waits for a quota. A slower answer serves the next one.
const QUOTA_PATIENCE: Duration = Duration::from_millis(400);

/// What can be rented, and what is known of it beside the state.
pub struct Market {
    /// The offers of all providers that are used.
    pub offers: Vec<Offer>,
    /// USD an hour of each of the user's own hosts.
    pub host_usd_h: Option<f64>,
    /// A cloud comes before the user's own hosts where it costs less than this share of theirs.
    pub burst_below: f64,
    /// Round trips that were measured.
    pub latencies: Vec<Latency>,
    /// Most USD a day and a month of all deployments together.
    pub budget: crate::money::Budget,
    quotas: Mutex<BTreeMap<(ProviderName, String), Seen>>,
}

/// Quotas with the time at which they were asked for, in milliseconds since 1970.
struct Seen {
    at_ms: i64,
    quotas: Vec<Quota>,
}

/// Why a node gets no machine now.
#[derive(Debug, Clone, PartialEq)]
pub struct NoOffer {
    /// Why, in one line.
    pub message: String,
    /// Whether waiting cannot help.
    pub is_final: bool,
}

impl Market {
    /// A market with these offers.
    pub fn new(offers: Vec<Offer>) -> Self {
        Self {
            offers,
            host_usd_h: None,
            burst_below: 0.0,
            latencies: Vec::new(),
            budget: crate::money::Budget::default(),
            quotas: Mutex::default(),
        }
    }

    /// The offer that an order was made of, where it is still there.
    pub fn offer_of(&self, attempt: &Attempt) -> Option<&Offer> {
        let order = &attempt.order;
        let is_same = |offer: &&Offer| {
            offer.provider == attempt.provider
                && offer.region == order.region
                && offer.instance_type == order.instance_type
                && offer.market == order.market
        };
        let zone = |offer: &&Offer| offer.zone == order.zone;
        let mut same = self.offers.iter().filter(is_same);
        same.clone().find(zone).or_else(|| same.next())
    }

    fn known_quotas(&self) -> Vec<(ProviderName, Quota)> {
        let quotas = self.quotas.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = quotas.iter().filter(|(_, seen)| now_ms() - seen.at_ms < QUOTA_MS);
        fresh
            .flat_map(|((provider, _), seen)| seen.quotas.iter().map(|quota| (*provider, quota.clone())))
            .collect()
    }

    fn remember(&self, provider: ProviderName, region: &str, quotas: Vec<Quota>) {
        let seen = Seen {
            at_ms: now_ms(),
            quotas,
        };
        let mut known = self.quotas.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert((provider, region.to_owned()), seen);
    }

    fn knows(&self, provider: ProviderName, region: &str) -> bool {
        let quotas = self.quotas.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = quotas.get(&(provider, region.to_owned()));
        seen.is_some_and(|seen| now_ms() - seen.at_ms < QUOTA_MS)
    }
}

/// The machine that a node is to get, as an order that is not written down yet.
pub(super) fn choose(
    state: &State,
    tools: &Tools,
    deployment: &Deployment,
    attempts: &[Attempt],
    node: u32,
    owner: &str,
    wanted: Option<Choice>,
) -> Result<Result<(NewAttempt, Option<String>), NoOffer>, StateError> {
    let market = &tools.market;
    let mut requirements = remaining(deployment, attempts);
    match wanted {
        Some(Choice::Spot) => requirements.spot = SpotUse::Only,
        Some(Choice::OnDemand) => requirements.spot = SpotUse::Never,
        Some(Choice::None) | None => {}
    }
    let blocks: Vec<Block> = state.blocks()?;
    let all = state.attempts_since(0)?;
    let history = history(&all);
    let index = OfferIndex::new(&market.offers[..]);
    let mut best: Option<PlaceChoice> = None;
    // The second look knows the quotas of the place that the first one chose.
    for look in 0..3 {
        let quotas = market.known_quotas();
        let facts = Facts {
            now: now_ms().unsigned_abs() / 1000,
            blocks: &blocks,
            quotas: &quotas,
            history: &history,
            latencies: &market.latencies,
            host_usd_h: market.host_usd_h,
            burst_below: market.burst_below,
            turn: all.len() as u64,
            ..Facts::default()
        };
        let survey = Survey::new(&index, &facts);
        let placement = match survey.place(&requirements, 1) {
            Ok(placement) => placement,
            Err(error) => return Ok(Err(final_word(error.to_string()))),
        };
        let Some(choice) = placement.choices.into_iter().next() else {
            return Ok(Err(NoOffer {
                message: why_not(&survey, &requirements),
                is_final: false,
            }));
        };
        let offer = &market.offers[choice.offer];
        let is_settled = look == 2 || market.knows(offer.provider, &offer.region);
        let (provider, region) = (offer.provider, offer.region.clone());
        best = Some(choice);
        if is_settled || !ask_quotas(tools, provider, &region) {
            break;
        }
    }
    let Some(choice) = best else {
        return Ok(Err(final_word("nothing was looked at".to_owned())));
    };
    let offer = &market.offers[choice.offer];
    let new = order(deployment, offer, &choice, node, owner, state);
    Ok(super::budget::allowed(tools, deployment, attempts, &all, &new).map(|warning| (new, warning)))
}

/// Why nothing will do: the reasons of the refused offers, what would do but for one thing first.
pub fn why_not(survey: &Survey<'_>, requirements: &Requirements) -> String {
    let Ok((_, refused)) = survey.explain(requirements) else {
        return "no offer will do".to_owned();
    };
    let mut reasons: BTreeMap<&'static str, (usize, String)> = BTreeMap::new();
    for refused in &refused {
        let entry = reasons.entry(refused.refusal.word()).or_default();
        entry.0 += 1;
        if entry.1.is_empty() {
            entry.1 = refused.refusal.to_string();
        }
    }
    let mut reasons: Vec<(usize, String)> = reasons.into_values().collect();
    // The fewer offers a reason is about, the nearer they were.
    reasons.sort();
    let told: Vec<String> = reasons
        .into_iter()
        .take(3)
        .map(|(count, why)| format!("{count} x {why}"))
        .collect();
    match told.is_empty() {
        true => "no provider is used that offers anything: see nvbind cloud check".to_owned(),
        false => format!(
            "no offer will do now: {} (nvbind cloud explain lists all)",
            told.join("; ")
        ),
    }
}

fn final_word(message: String) -> NoOffer {
    NoOffer {
        message,
        is_final: true,
    }
}

/// What is still required: one node, for its share of what the budget leaves.
fn remaining(deployment: &Deployment, attempts: &[Attempt]) -> Requirements {
    let spent: f64 = attempts.iter().map(|attempt| attempt.cost_usd(now_ms())).sum();
    let wanted = &deployment.spec.requirements;
    Requirements {
        nodes: 1,
        budget_usd: wanted
            .budget_usd
            .map(|budget| (budget - spent).max(0.0) / f64::from(deployment.nodes.max(1))),
        ..wanted.clone()
    }
}

/// Asks for the quotas of a region; whether they came in time.
fn ask_quotas(tools: &Tools, provider: ProviderName, region: &str) -> bool {
    if provider == ProviderName::Hosts {
        return false;
    }
    let (to, from) = channel();
    let (providers, market, region) = (tools.providers.clone(), tools.market.clone(), region.to_owned());
    std::thread::spawn(move || {
        let answer = providers.call(provider, |provider| provider.quotas(&region));
        // Who may not see quotas finds them by being refused.
        market.remember(provider, &region, answer.unwrap_or_default());
        let _ = to.send(());
    });
    from.recv_timeout(QUOTA_PATIENCE).is_ok()
}

fn order(
    deployment: &Deployment,
    offer: &Offer,
    choice: &PlaceChoice,
    node: u32,
    owner: &str,
    state: &State,
) -> NewAttempt {
    let spec = &deployment.spec;
    let extras = Extras::of(offer.provider);
    NewAttempt {
        deployment: deployment.id,
        provider: offer.provider,
        order: Order {
            owner: owner.to_owned(),
            deployment: spec.name.clone(),
            node,
            attempt: 0,
            token: String::new(),
            name: String::new(),
            region: offer.region.clone(),
            zone: choice.zone.clone().or_else(|| offer.zone.clone()),
            instance_type: offer.instance_type.clone(),
            market: offer.market,
            disk_gib: spec.requirements.disk_gib,
            image: spec.machine_image.clone(),
            user: spec.user.clone(),
            public_key: super::key::public_key(state, deployment.id),
            allow_from: spec.allow_from.clone(),
            max_run_seconds: Some(spec.max_run_seconds),
        },
        gpu: offer.gpu.name().to_owned(),
        gpus: offer.gpus,
        usd_h: offer.usd_h,
        extras_usd_h: extras.disk_usd_h(spec.requirements.disk_gib) + extras.address_usd_h(offer.market),
        reason: choice.reason.clone(),
    }
}

/// What was seen of machine types at their places.
pub(super) fn history(attempts: &[Attempt]) -> Vec<History> {
    let mut seen: BTreeMap<_, History> = BTreeMap::new();
    for attempt in attempts {
        let order = &attempt.order;
        let key = (
            attempt.provider,
            order.region.clone(),
            order.zone.clone(),
            order.instance_type.clone(),
            order.market,
        );
        let history = seen.entry(key).or_insert_with(|| History {
            provider: attempt.provider,
            region: order.region.clone(),
            zone: order.zone.clone(),
            instance_type: order.instance_type.clone(),
            market: order.market,
            orders: 0,
            refused: 0,
            hours: 0.0,
            lost: 0,
            setup_seconds: None,
        });
        history.orders += 1;
        history.refused += u32::from(attempt.end == Some(EndReason::Refused));
        history.hours += attempt.paid_hours(now_ms());
        history.lost += u32::from(matches!(attempt.end, Some(EndReason::Interrupted | EndReason::Lost)));
        if let (Some(from), Some(to)) = (attempt.accepted_ms, attempt.started_ms) {
            history.setup_seconds = Some((to - from).max(0) as f64 / 1000.0);
        }
    }
    seen.into_values().collect()
}

impl Controller {
    /// Leaves alone for a while what a refusal says is not to be had.
    pub(super) fn block(&self, attempt: &Attempt, error: &ProviderError) -> Result<(), StateError> {
        let Some(offer) = self.tools.market.offer_of(attempt) else {
            return Ok(());
        };
        let now = now_ms().unsigned_abs() / 1000;
        let Some(block) = Block::of(error, offer, attempt.order.zone.as_deref(), now) else {
            return Ok(());
        };
        let until_ms = block
            .until
            .map_or(i64::MAX, |until| i64::try_from(until).unwrap_or(i64::MAX / 1000) * 1000);
        let json = |value: Result<String, serde_json::Error>| value.unwrap_or_default();
        self.state.set_block(
            &json(serde_json::to_string(&block.scope)),
            &json(serde_json::to_string(&block)),
            until_ms,
        )
    }

    /// Leaves the place of a machine that was taken back or died alone for a while, as if there were no capacity.
    pub(super) fn block_after_loss(&self, attempt: &Attempt) -> Result<(), StateError> {
        let why = "a machine was taken back or died there";
        self.block(attempt, &ProviderError::new(ErrorClass::NoCapacity, "Interrupted", why))
    }
}
