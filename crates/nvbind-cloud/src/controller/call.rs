//! Calls to providers, each in a thread of its own: a slow one holds up nothing else.

use super::Happening;
use crate::attempt::{Attempt, EndReason};
use crate::catalog::ProviderName;
use crate::host::Target;
use crate::provider::{Machine, Provider, ProviderError, Resource, ResourceKind, TAG_DEPLOYMENT};
use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Starts the provider of a name.
pub type Launch = dyn Fn(ProviderName) -> Result<Box<dyn Provider>, ProviderError> + Send + Sync;

/// Providers that are free, by name.
type Free = BTreeMap<ProviderName, Vec<Box<dyn Provider>>>;

/// Providers that were started and are free, since each serves one call at a time.
#[derive(Clone)]
pub struct Providers {
    launch: Arc<Launch>,
    free: Arc<Mutex<Free>>,
}

impl Providers {
    /// No provider yet; each is started by `launch` when it is needed.
    pub fn new(launch: Arc<Launch>) -> Self {
        Self {
            launch,
            free: Arc::default(),
        }
    }

    /// Makes a call. A provider whose answer was lost is started anew the next time.
    pub fn call<T>(
        &self,
        name: ProviderName,
        call: impl FnOnce(&mut dyn Provider) -> Result<T, ProviderError>,
    ) -> Result<T, ProviderError> {
        let free = self.lock().get_mut(&name).and_then(Vec::pop);
        let mut provider = match free {
            Some(provider) => provider,
            None => (self.launch)(name)?,
        };
        let answer = call(provider.as_mut());
        if !answer.as_ref().is_err_and(|error| error.is_ambiguous) {
            self.lock().entry(name).or_default().push(provider);
        }
        answer
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a provider was asked about an attempt, and what it answered.
#[derive(Debug)]
pub enum Answer {
    /// An order was sent.
    Created(Result<Machine, ProviderError>),
    /// It was asked how the machine is.
    Described(Result<Option<Machine>, ProviderError>),
    /// It was told that the machine is given back; `false` when it knew none.
    Deleted(Result<bool, ProviderError>),
    /// It was asked whether anything is left.
    Verified(Result<Option<Machine>, ProviderError>),
}

/// Which call is made about an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Create,
    Describe,
    Delete,
    Verify,
}

/// How a workload is told to stop before its machine is given back.
pub(super) struct Stop {
    pub(super) target: Target,
    pub(super) grace_seconds: u32,
}

/// Makes a call about an attempt; the answer comes over the channel.
pub(super) fn start(call: Call, attempt: &Attempt, providers: &Providers, stop: Option<Stop>, to: &Sender<Happening>) {
    let (attempt, providers, to) = (attempt.clone(), providers.clone(), to.clone());
    thread::spawn(move || {
        let machine = attempt.machine();
        let answer = match call {
            Call::Create => {
                Answer::Created(providers.call(attempt.provider, |provider| provider.create(&attempt.order)))
            }
            Call::Describe => {
                Answer::Described(providers.call(attempt.provider, |provider| provider.describe(&machine)))
            }
            Call::Verify => Answer::Verified(providers.call(attempt.provider, |provider| provider.describe(&machine))),
            Call::Delete => {
                if let Some(stop) = stop.filter(|_| ends_gracefully(&attempt)) {
                    super::worker::stop(stop.target, &super::worker::run_token(&attempt), stop.grace_seconds);
                }
                Answer::Deleted(providers.call(attempt.provider, |provider| delete(provider, &attempt)))
            }
        };
        // Nobody listens any more when the controller was told to go.
        let _ = to.send(Happening::Answered(attempt.id, answer));
    });
}

/// Whether the workload on the machine still deserves to be told to stop.
fn ends_gracefully(attempt: &Attempt) -> bool {
    attempt.exit_code.is_none()
        && attempt.started_ms.is_some()
        && attempt.tries == 0
        && matches!(attempt.end, Some(EndReason::Stopped | EndReason::NotNeeded))
}

/// Gives a machine back, also one whose order was sent and never answered; `false` when there is none.
fn delete(provider: &mut dyn Provider, attempt: &Attempt) -> Result<bool, ProviderError> {
    let id = match &attempt.machine_id {
        Some(id) => id.clone(),
        None => match provider.describe(&attempt.machine())? {
            Some(machine) => machine.id,
            None => return Ok(false),
        },
    };
    provider.delete(&machine_resource(attempt, id))?;
    Ok(true)
}

fn machine_resource(attempt: &Attempt, id: String) -> Resource {
    let order = &attempt.order;
    Resource {
        kind: ResourceKind::Machine,
        id,
        name: order.name.clone(),
        region: order.region.clone(),
        zone: order.zone.clone(),
        tags: order
            .tags()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        instance_type: Some(order.instance_type.clone()),
        market: Some(order.market),
        state: None,
        created_at: None,
    }
}

/// Where a deployment has had machines: by provider, the regions.
pub fn places(attempts: &[Attempt]) -> BTreeMap<ProviderName, Vec<String>> {
    let mut places: BTreeMap<ProviderName, Vec<String>> = BTreeMap::new();
    for attempt in attempts {
        let regions = places.entry(attempt.provider).or_default();
        if !regions.contains(&attempt.order.region) {
            regions.push(attempt.order.region.clone());
        }
    }
    places
}

/// Gives back everything of a deployment in those places. What was there is returned, with why it could not be given back: a provider accepts
/// first and acts later, so only an empty answer means that nothing is left.
pub fn clean_up(
    providers: &Providers,
    owner: &str,
    deployment: &str,
    places: &BTreeMap<ProviderName, Vec<String>>,
) -> Result<Vec<(Resource, Option<ProviderError>)>, ProviderError> {
    let mut left = Vec::new();
    for (name, regions) in places {
        let ours = |resource: &Resource| resource.tags.get(TAG_DEPLOYMENT).is_some_and(|of| of == deployment);
        let mut found = providers.call(*name, |provider| provider.list(owner, regions))?;
        found.retain(ours);
        // Machines first, networks last: what is in use cannot be given back.
        found.sort_by_key(|resource| resource.kind);
        for resource in found {
            let refusal = providers.call(*name, |provider| provider.delete(&resource)).err();
            left.push((resource, refusal));
        }
    }
    Ok(left)
}
