//! A machine is ordered.

use crate::arm::{Answer, Call, Progress, Service};
use crate::end;
use crate::group;
use crate::id::{COMPUTE, Group};
use crate::vm::{self, Vm};
use nvbind_cloud::provider::{ErrorClass, Machine, Order, ProviderError, TAG_TOKEN};
use std::collections::HashSet;
use std::time::Duration;

/// How long an accepted order is watched for a refusal. A machine takes many seconds to be made; what Azure says later is in the answer of
/// `describe`.
const WATCH: Duration = Duration::from_millis(500);

/// What this process has seen made, so that it is not made again for each machine of a deployment.
#[derive(Debug, Default)]
pub(crate) struct Made {
    groups: HashSet<(Group, Vec<String>)>,
    is_schedule_registered: bool,
}

impl Made {
    /// Something is deleted: the next order looks again.
    pub(crate) fn forget(&mut self) {
        self.groups.clear();
    }
}

/// Orders a machine, or finds the one that this order made before.
pub(crate) async fn create(
    arm: &Service,
    subscription: &str,
    made: &mut Made,
    order: &Order,
) -> Result<Machine, ProviderError> {
    let group = Group::of(subscription, order);
    let body = vm::body(&group, order)?;
    let path = group.machine(&order.name);
    let (found, prepared) = tokio::join!(find(arm, &path), prepare(arm, subscription, &group, made, order));
    if let Some(vm) = found? {
        return adopt(arm, subscription, made, vm, order).await;
    }
    prepared?;
    let call = Call::put(&path, COMPUTE, body).only_if_absent();
    let answer = match arm.send(&call).await {
        // Somebody deleted the group or its network since this process made it.
        Err(error) if matches!(error.class, ErrorClass::NotFound | ErrorClass::NetworkSetup) => {
            made.groups.retain(|(known, _)| *known != group);
            prepare(arm, subscription, &group, made, order).await?;
            arm.send(&call).await
        }
        answer => answer,
    };
    match answer {
        Ok(answer) => accepted(arm, subscription, made, &path, &answer, order).await,
        // Two of us sent the same order.
        Err(error) if is_there(&error) => match find(arm, &path).await? {
            Some(vm) => adopt(arm, subscription, made, vm, order).await,
            None => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// Azure has taken the order: watches it for a quick refusal.
async fn accepted(
    arm: &Service,
    subscription: &str,
    made: &mut Made,
    path: &str,
    answer: &Answer,
    order: &Order,
) -> Result<Machine, ProviderError> {
    match arm.follow(answer, WATCH).await {
        Ok(Progress::Done | Progress::Running) => finish(arm, subscription, made, answer.json()?, order).await,
        Ok(Progress::Failed(error)) => Err(given_back(arm, path, error).await),
        // The machine is on its way; only the look at it failed.
        Err(error) => Err(ProviderError {
            is_ambiguous: true,
            ..error
        }),
    }
}

/// Group, network and firewall, and the request for what the machine's end needs, side by side.
async fn prepare(
    arm: &Service,
    subscription: &str,
    group: &Group,
    made: &mut Made,
    order: &Order,
) -> Result<(), ProviderError> {
    let key = (group.clone(), order.allow_from.clone());
    let shared = async {
        match made.groups.contains(&key) {
            true => Ok(()),
            false => group::prepare(arm, group, order).await,
        }
    };
    let schedule = async {
        match order.max_run_seconds.is_none() || made.is_schedule_registered {
            true => Ok(made.is_schedule_registered),
            false => end::register(arm, subscription).await,
        }
    };
    let (shared, schedule) = tokio::join!(shared, schedule);
    shared?;
    made.groups.insert(key);
    made.is_schedule_registered = schedule?;
    Ok(())
}

async fn find(arm: &Service, path: &str) -> Result<Option<Vm>, ProviderError> {
    let call = Call::get(path, COMPUTE).query("$expand", "instanceView");
    let answer = arm.find(&call).await?;
    answer.map(|answer| answer.json()).transpose()
}

/// The machine that is there is this order's, or nobody's to take. One that Azure could not make is given back.
async fn adopt(
    arm: &Service,
    subscription: &str,
    made: &mut Made,
    vm: Vm,
    order: &Order,
) -> Result<Machine, ProviderError> {
    if vm.tags.get(TAG_TOKEN) != Some(&order.token) {
        return Err(ProviderError::new(
            ErrorClass::Invalid,
            "NameTaken",
            format!("{} is there, and not by this order", vm.id),
        ));
    }
    match vm.failure() {
        Some(failure) => Err(given_back(arm, &vm.id, failure).await),
        None => finish(arm, subscription, made, vm, order).await,
    }
}

/// Sets the machine's end where the order has one. A machine that cannot be given one is given back: it might run for ever.
async fn finish(
    arm: &Service,
    subscription: &str,
    made: &mut Made,
    vm: Vm,
    order: &Order,
) -> Result<Machine, ProviderError> {
    let limited = match vm.ends_at() {
        Some(at) => limit(arm, subscription, made, &vm, at, order).await,
        None => Ok(()),
    };
    match limited {
        Ok(()) => Ok(vm.machine()),
        Err(error) if matches!(error.class, ErrorClass::Transient | ErrorClass::Throttled) => Err(ProviderError {
            is_ambiguous: true,
            ..error
        }),
        Err(error) => Err(given_back(arm, &vm.id, error).await),
    }
}

/// The order did not wait for the registration, which takes its time once for each subscription; the machine's end has to.
async fn limit(
    arm: &Service,
    subscription: &str,
    made: &mut Made,
    vm: &Vm,
    at: u64,
    order: &Order,
) -> Result<(), ProviderError> {
    if !made.is_schedule_registered {
        end::registered(arm, subscription).await?;
        made.is_schedule_registered = true;
    }
    end::set(arm, subscription, vm, at, &order.token).await
}

/// The error that an order ends with, once what it left is given back; where that fails, something may be there still.
async fn given_back(arm: &Service, path: &str, error: ProviderError) -> ProviderError {
    let deleted = arm
        .find(&Call::delete(path, COMPUTE).query("forceDeletion", "true"))
        .await;
    ProviderError {
        is_ambiguous: deleted.is_err(),
        ..error
    }
}

fn is_there(error: &ProviderError) -> bool {
    ["PreconditionFailed", "HTTP 412"].contains(&error.code.as_str())
}
