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

/// An order on its way to a machine.
pub(crate) struct Making<'call> {
    pub(crate) arm: &'call Service,
    pub(crate) subscription: &'call str,
    pub(crate) made: &'call mut Made,
    pub(crate) order: &'call Order,
}

impl Making<'_> {
    /// Orders a machine, or finds the one that this order made before.
    pub(crate) async fn create(&mut self) -> Result<Machine, ProviderError> {
        let group = Group::of(self.subscription, self.order);
        let body = vm::body(&group, self.order)?;
        let path = group.machine(&self.order.name);
        let arm = self.arm;
        let (found, prepared) = tokio::join!(find(arm, &path), self.prepare(&group));
        let is_left = prepared.as_ref().map_or_else(|error| error.has_left, |()| true);
        let found = found.map_err(|error| match is_left {
            true => error.leaving_something(),
            false => error,
        });
        if let Some(vm) = found? {
            return self.adopt(vm).await;
        }
        prepared?;
        let call = Call::put(&path, COMPUTE, body).only_if_absent();
        let answer = match arm.send(&call).await {
            // Somebody deleted the group or its network since this process made it.
            Err(error) if matches!(error.class, ErrorClass::NotFound | ErrorClass::NetworkSetup) => {
                self.made.groups.retain(|(known, _)| *known != group);
                self.prepare(&group).await?;
                arm.send(&call).await
            }
            answer => answer,
        };
        match answer {
            Ok(answer) => self.accepted(&path, &answer).await,
            // Two of us sent the same order.
            Err(error) if is_there(&error) => match find(arm, &path).await? {
                Some(vm) => self.adopt(vm).await,
                None => Err(error),
            },
            Err(error) => Err(error.leaving_something()),
        }
    }

    /// Azure has taken the order: watches it for a quick refusal.
    async fn accepted(&mut self, path: &str, answer: &Answer) -> Result<Machine, ProviderError> {
        match self.arm.follow(answer, WATCH).await {
            Ok(Progress::Done | Progress::Running) => self.finish(answer.json()?).await,
            Ok(Progress::Failed(error)) => Err(given_back(self.arm, path, error).await),
            // The machine is on its way; only the look at it failed.
            Err(error) => Err(ProviderError {
                is_ambiguous: true,
                ..error
            }),
        }
    }

    /// Group, network and firewall, and the request for what the machine's end needs, side by side.
    async fn prepare(&mut self, group: &Group) -> Result<(), ProviderError> {
        let key = (group.clone(), self.order.allow_from.clone());
        let shared = async {
            match self.made.groups.contains(&key) {
                true => Ok(()),
                false => group::prepare(self.arm, group, self.order).await,
            }
        };
        let schedule = async {
            match self.order.max_run_seconds.is_none() || self.made.is_schedule_registered {
                true => Ok(self.made.is_schedule_registered),
                false => end::register(self.arm, self.subscription).await,
            }
        };
        let (shared, schedule) = tokio::join!(shared, schedule);
        shared?;
        self.made.groups.insert(key);
        self.made.is_schedule_registered = schedule.map_err(ProviderError::leaving_something)?;
        Ok(())
    }

    /// The machine that is there is this order's, or nobody's to take. One that Azure could not make is given back.
    async fn adopt(&mut self, vm: Vm) -> Result<Machine, ProviderError> {
        if vm.tags.get(TAG_TOKEN) != Some(&self.order.token) {
            return Err(ProviderError::new(
                ErrorClass::Invalid,
                "NameTaken",
                format!("{} is there, and not by this order", vm.id),
            ));
        }
        match vm.failure() {
            Some(failure) => Err(given_back(self.arm, &vm.id, failure).await),
            None => self.finish(vm).await,
        }
    }

    /// Sets the machine's end where the order has one. A machine that cannot be given one is given back: it might run for ever.
    async fn finish(&mut self, vm: Vm) -> Result<Machine, ProviderError> {
        let limited = match vm.ends_at() {
            Some(at) => self.limit(&vm, at).await,
            None => Ok(()),
        };
        match limited {
            Ok(()) => Ok(vm.machine()),
            Err(error) if matches!(error.class, ErrorClass::Transient | ErrorClass::Throttled) => Err(ProviderError {
                is_ambiguous: true,
                ..error
            }),
            Err(error) => Err(given_back(self.arm, &vm.id, error).await),
        }
    }

    /// The order did not wait for the registration, which takes its time once for each subscription; the machine's end has to.
    async fn limit(&mut self, vm: &Vm, at: u64) -> Result<(), ProviderError> {
        if !self.made.is_schedule_registered {
            end::registered(self.arm, self.subscription).await?;
            self.made.is_schedule_registered = true;
        }
        end::set(self.arm, self.subscription, vm, at, &self.order.token).await
    }
}

async fn find(arm: &Service, path: &str) -> Result<Option<Vm>, ProviderError> {
    let call = Call::get(path, COMPUTE).query("$expand", "instanceView");
    let answer = arm.find(&call).await?;
    answer.map(|answer| answer.json()).transpose()
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
