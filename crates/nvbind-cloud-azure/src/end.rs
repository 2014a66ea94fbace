//! A machine ends although nobody asks for it any more.
//!
//! Azure has no machine that deletes itself after a time. What there is, and why this was chosen:
//!
//! * *Chosen*: Microsoft.ComputeSchedule **deallocates** the machine at a given second, once, whether or not nvbind lives
//!   (`virtualMachinesSubmitDeallocate`). The machine, its GPU and its licence cost nothing from then on. Its **boot disk and its public
//!   address stay and are billed** (a few USD a month) until `nvbind cloud gc`, or nvbind's next start, deletes them. Azure may refuse a
//!   time that is far ahead; then the order is refused and the machine given back at once.
//! * `Microsoft.DevTestLab/schedules` deallocates as well, but each day at a time of day: a limit of 30 hours would end after 6.
//! * `shutdown` by a timer inside: Azure bills a machine that is `stopped` and not deallocated as if it ran.
//! * The machine deletes itself, by an identity of its own: whoever gives it the role must own the subscription, and the workload could delete
//!   its neighbours.
//!
//! A spot machine that Azure takes back is deleted with disk and address (`evictionPolicy: Delete`).

use crate::arm::{Call, Service};
use crate::id::{RESOURCES, SCHEDULES, subscription_id};
use crate::vm::Vm;
use crate::waits::Waits;
use azure_core::time::{OffsetDateTime, to_rfc3339};
use nvbind_cloud::catalog::ProviderName::Azure;
use nvbind_cloud::provider::{ErrorClass, ProviderError, classify};
use serde::Deserialize;
use serde_json::json;
use std::time::{Duration, Instant};

const PROVIDER: &str = "Microsoft.ComputeSchedule";

/// How long the registration of a resource provider may take (once for each subscription).
const REGISTRATION: Duration = Duration::from_secs(90);

/// How long the service may not know of a machine whose order was just accepted.
const INVISIBLE: Duration = Duration::from_secs(5);

/// How often Azure tries to deallocate, and for how many minutes.
const RETRIES: u32 = 5;
const RETRY_MINUTES: u32 = 120;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceProvider {
    registration_state: String,
}

#[derive(Debug, Deserialize)]
struct Submitted {
    #[serde(default)]
    results: Vec<SubmittedMachine>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SubmittedMachine {
    #[serde(default)]
    error_code: Option<String>,
    #[serde(default)]
    error_details: Option<String>,
}

/// Has the service registered with the subscription; whether it is already. A refusal comes here, before there is a machine to be ended.
pub(crate) async fn register(arm: &Service, subscription: &str) -> Result<bool, ProviderError> {
    if is_registered(arm, subscription).await? {
        return Ok(true);
    }
    let path = format!("{}/register", path(subscription));
    arm.send(&Call::post(path, RESOURCES, None)).await?;
    Ok(false)
}

/// Waits until the service is registered.
pub(crate) async fn registered(arm: &Service, subscription: &str) -> Result<(), ProviderError> {
    let start = Instant::now();
    let mut waits = Waits::default();
    while !is_registered(arm, subscription).await? {
        match waits.next(None, REGISTRATION.saturating_sub(start.elapsed())) {
            Some(wait) => tokio::time::sleep(wait).await,
            None => {
                let why = format!("{PROVIDER} is still being registered with the subscription");
                return Err(ProviderError::new(ErrorClass::Transient, "RegistrationPending", why));
            }
        }
    }
    Ok(())
}

fn path(subscription: &str) -> String {
    format!("{}/providers/{PROVIDER}", subscription_id(subscription))
}

async fn is_registered(arm: &Service, subscription: &str) -> Result<bool, ProviderError> {
    let call = Call::get(path(subscription), RESOURCES);
    let provider: ResourceProvider = arm.send(&call).await?.json()?;
    Ok(provider.registration_state.eq_ignore_ascii_case("registered"))
}

/// Has the machine deallocated at that second since 1970. The same again is harmless. A machine that was just ordered may not be known to the
/// service yet.
pub(crate) async fn set(arm: &Service, subscription: &str, vm: &Vm, at: u64, token: &str) -> Result<(), ProviderError> {
    let start = Instant::now();
    let mut waits = Waits::default();
    loop {
        let error = match submit(arm, subscription, vm, at, token).await {
            Err(error) if error.class == ErrorClass::NotFound => error,
            answer => return answer,
        };
        match waits.next(None, INVISIBLE.saturating_sub(start.elapsed())) {
            Some(wait) => tokio::time::sleep(wait).await,
            None => return Err(error),
        }
    }
}

async fn submit(arm: &Service, subscription: &str, vm: &Vm, at: u64, token: &str) -> Result<(), ProviderError> {
    let path = format!(
        "{}/locations/{}/virtualMachinesSubmitDeallocate",
        path(subscription),
        vm.location
    );
    let body = json!({
        "schedule": { "deadline": time(at), "deadlineType": "InitiateAt", "timezone": "UTC" },
        "executionParameters": { "retryPolicy": { "retryCount": RETRIES, "retryWindowInMinutes": RETRY_MINUTES } },
        "resources": { "ids": [vm.id] },
        "correlationid": as_uuid(token),
    });
    let submitted: Submitted = arm.send(&Call::post(path, SCHEDULES, Some(body))).await?.json()?;
    let refusal = submitted
        .results
        .into_iter()
        .find_map(|machine| Some((machine.error_code?, machine.error_details)));
    match refusal {
        Some((code, details)) if !code.is_empty() => {
            let message = details.unwrap_or_default();
            Err(ProviderError::new(classify(Azure, 0, &code, &message), code, message))
        }
        _ => Ok(()),
    }
}

fn time(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    to_rfc3339(&OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH))
}

/// 32 hexadecimal digits in the form of a UUID.
fn as_uuid(token: &str) -> String {
    let part = |from: usize, to: usize| token.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_times_have_azures_form() {
        assert_eq!(
            as_uuid("0123456789abcdef0123456789abcdef"),
            "01234567-89ab-cdef-0123-456789abcdef"
        );
        assert_eq!(time(1_796_000_000), "2026-11-30T00:53:20Z");
    }
}
