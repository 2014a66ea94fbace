//! One call: a limit in time, a few quick tries, errors in nvbind's terms.

use crate::fault::{self, Effect};
use google_cloud_gax::Result as GoogleResult;
use nvbind_cloud::provider::{ErrorClass, ProviderError};
use std::future::Future;
use std::time::{Duration, SystemTime};

/// How long an answer may take. Google's crate has no limit of its own.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a call is made at most. A repeat does no harm: what makes a machine carries its token, the rest is by name.
const TRIES: u32 = 3;
/// Pause before the second try; doubled each time.
const PAUSE: Duration = Duration::from_millis(150);
/// A longer pause than this is the caller's to make, in seconds.
const QUICK_SECONDS: f64 = 1.0;

/// Makes a call of Google's crate.
pub(crate) async fn call<T, F: Future<Output = GoogleResult<T>>>(
    effect: Effect,
    make: impl Fn() -> F,
) -> Result<T, ProviderError> {
    call_mapped(effect, async || {
        make().await.map_err(|error| fault::of_call(&error, effect))
    })
    .await
}

/// Makes a call whose errors are in nvbind's terms already.
pub(crate) async fn call_mapped<T>(
    effect: Effect,
    make: impl AsyncFn() -> Result<T, ProviderError>,
) -> Result<T, ProviderError> {
    let mut tries = 1;
    let mut was_ambiguous = false;
    loop {
        let answer = tokio::time::timeout(PATIENCE, make()).await;
        let error = match answer {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error,
            Err(_) => return Err(fault::late(PATIENCE.as_secs(), effect)),
        };
        was_ambiguous |= error.is_ambiguous;
        if tries == TRIES || !is_worth_a_try(&error) {
            return Err(ProviderError {
                is_ambiguous: was_ambiguous,
                ..error
            });
        }
        tokio::time::sleep(error.retry_after_seconds.map_or(pause(tries), Duration::from_secs_f64)).await;
        tries += 1;
    }
}

/// All pages of a list.
pub(crate) async fn pages<P, F: Future<Output = GoogleResult<P>>>(
    fetch: impl Fn(Option<String>) -> F,
    next: impl Fn(&P) -> Option<String>,
) -> Result<Vec<P>, ProviderError> {
    let (mut pages, mut token) = (Vec::new(), None);
    loop {
        let page = call(Effect::Read, || fetch(token.clone())).await?;
        token = next(&page).filter(|token| !token.is_empty());
        pages.push(page);
        if token.is_none() {
            return Ok(pages);
        }
    }
}

fn is_worth_a_try(error: &ProviderError) -> bool {
    let is_passing = matches!(error.class, ErrorClass::Throttled | ErrorClass::Transient);
    is_passing
        && error
            .retry_after_seconds
            .is_none_or(|seconds| (0.0..=QUICK_SECONDS).contains(&seconds))
}

/// Half of it fixed, half by chance, so that callers that were refused together do not come again together.
fn pause(tries: u32) -> Duration {
    let nanos = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |time| time.subsec_nanos());
    let chance = f64::from(nanos % 1_000_000) / 1e6;
    (PAUSE * (1 << (tries - 1))).mul_f64(0.5 + 0.5 * chance)
}
