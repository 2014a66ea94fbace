//! What the SDK's errors mean to nvbind.

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ec2::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use nvbind_cloud::catalog::ProviderName;
use nvbind_cloud::provider::{ErrorClass, ProviderError, classify};
use std::error::Error;

/// What to do where nothing signs the calls.
const SIGN_IN: &str =
    "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run `aws sso login` or `aws configure`";

/// The refusal of a call that makes or ends nothing.
pub(crate) fn read<E>(error: SdkError<E, HttpResponse>) -> ProviderError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    ProviderError {
        is_ambiguous: false,
        ..write(error)
    }
}

/// The refusal of a call that changes something: where it is not known whether it had its effect, it says so.
#[allow(clippy::needless_pass_by_value)] // As `map_err` wants it.
pub(crate) fn write<E>(error: SdkError<E, HttpResponse>) -> ProviderError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let status = error.raw_response().map_or(0, |answer| answer.status().as_u16());
    let retry_after = error
        .raw_response()
        .and_then(|answer| answer.headers().get("retry-after"))
        .and_then(|text| text.parse().ok());
    ProviderError {
        request_id: error.request_id().map(str::to_owned),
        retry_after_seconds: retry_after,
        ..meaning(&error, status)
    }
}

fn meaning<E>(error: &SdkError<E, HttpResponse>, status: u16) -> ProviderError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    if let Some(code) = error.code() {
        return coded(status, code, error.message().unwrap_or_default());
    }
    if has_no_credentials(error) {
        let why = format!("AWS has no credentials to sign with ({}): {SIGN_IN}", innermost(error));
        return ProviderError::new(ErrorClass::Credentials, "NoCredentials", why);
    }
    match error {
        SdkError::TimeoutError(_) => lost("Timeout", "AWS did not answer in time"),
        SdkError::ConstructionFailure(_) => ProviderError::new(ErrorClass::Invalid, "BadCall", chain(error)),
        SdkError::DispatchFailure(_) if was_refused(error) => {
            ProviderError::new(ErrorClass::Transient, "ConnectionRefused", chain(error))
        }
        SdkError::DispatchFailure(_) => lost("ConnectionFailed", &chain(error)),
        // An answer without a code: a proxy's page, or half of one.
        _ => coded(status, &format!("HTTP{status}"), &chain(error)),
    }
}

fn coded(status: u16, code: &str, message: &str) -> ProviderError {
    let class = classify(ProviderName::Aws, status, code, message);
    let is_unclear = matches!(class, ErrorClass::Transient | ErrorClass::Unknown);
    ProviderError {
        is_ambiguous: is_unclear && (status >= 500 || status == 200),
        ..ProviderError::new(class, code, message)
    }
}

/// No answer: it may have had its effect.
fn lost(code: &str, why: &str) -> ProviderError {
    ProviderError {
        is_ambiguous: true,
        ..ProviderError::new(ErrorClass::Transient, code, why)
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

fn has_no_credentials(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(<dyn Error + 'static>::is::<CredentialsError>)
}

fn was_refused(error: &(dyn Error + 'static)) -> bool {
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::ConnectionRefused)
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

/// What went wrong and why, without what a cause says again.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = causes(error).map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}
