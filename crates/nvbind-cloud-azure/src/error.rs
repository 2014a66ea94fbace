//! What Azure's refusals mean.

use crate::quota_text;
use azure_core::error::ErrorKind;
use azure_core::http::headers::{HeaderName, Headers};
use azure_core::time::{OffsetDateTime, parse_rfc7231};
use nvbind_cloud::catalog::ProviderName::Azure;
use nvbind_cloud::provider::{ErrorClass, ProviderError, classify};
use serde::Deserialize;

/// An error as Resource Manager puts it
/// (<https://github.com/microsoft/api-guidelines/blob/vNext/azure/Guidelines.md#handling-errors>).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ErrorBody {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) details: Vec<ErrorBody>,
}

/// An answer that is an error: with the wrapper, or (as some services have it) without.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    error: Option<ErrorBody>,
    code: String,
    message: String,
}

/// Headers that tell how long to wait, in seconds. Cost Management has its own
/// (<https://learn.microsoft.com/rest/api/cost-management/query/usage>).
const RETRY_AFTER: [&str; 5] = [
    "retry-after",
    "x-ms-ratelimit-microsoft.costmanagement-qpu-retry-after",
    "x-ms-ratelimit-microsoft.costmanagement-entity-retry-after",
    "x-ms-ratelimit-microsoft.costmanagement-tenant-retry-after",
    "x-ms-ratelimit-microsoft.costmanagement-client-retry-after",
];

const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");

/// A refusal by HTTP status.
pub(crate) fn refused(status: u16, headers: &Headers, body: &[u8], is_mutating: bool) -> ProviderError {
    let refusal: Refusal = serde_json::from_slice(body).unwrap_or_default();
    let body = refusal.error.unwrap_or(ErrorBody {
        code: refusal.code,
        message: refusal.message,
        details: Vec::new(),
    });
    let mut error = of_body(status, &body);
    error.request_id = headers.get_optional_string(&REQUEST_ID);
    error.retry_after_seconds = retry_after(headers);
    error.is_ambiguous = is_mutating && (status == 408 || status >= 500);
    error
}

/// An error inside an operation that was accepted; `status` is 0 there.
pub(crate) fn of_body(status: u16, body: &ErrorBody) -> ProviderError {
    let body = cause(body);
    let code = match body.code.as_str() {
        "" => format!("HTTP {status}"),
        code => code.to_owned(),
    };
    let class = classify(Azure, status, &code, &body.message);
    let mut error = ProviderError::new(class, code, &body.message);
    if class == ErrorClass::Quota {
        error.quota = quota_text::need(&error.code, &error.message);
    }
    error
}

/// The first error that says something: an outer one such as `DeploymentFailed` only says that there is one inside.
fn cause(body: &ErrorBody) -> &ErrorBody {
    match body.details.first() {
        Some(inner)
            if !inner.code.is_empty() && classify(Azure, 0, &body.code, &body.message) == ErrorClass::Unknown =>
        {
            cause(inner)
        }
        _ => body,
    }
}

pub(crate) fn retry_after(headers: &Headers) -> Option<f64> {
    let value = RETRY_AFTER
        .iter()
        .find_map(|name| headers.get_optional_str(&HeaderName::from_static(name)))?;
    let seconds = value.parse::<f64>().ok();
    let until = || {
        let left = parse_rfc7231(value).ok()? - OffsetDateTime::now_utc();
        Some(left.as_seconds_f64())
    };
    seconds.or_else(until).map(|seconds| seconds.max(0.0))
}

/// A call that got no answer.
pub(crate) fn unanswered(error: &azure_core::Error, is_mutating: bool) -> ProviderError {
    match failure(error) {
        Failure::NotSent => ProviderError::new(ErrorClass::Transient, "ConnectionFailed", chain(error)),
        Failure::Cut => ProviderError {
            is_ambiguous: is_mutating,
            ..ProviderError::new(ErrorClass::Transient, "ConnectionLost", chain(error))
        },
        Failure::TokenService => ProviderError::new(ErrorClass::Transient, "TokenServiceFailed", chain(error)),
        Failure::NoToken => {
            let message = error.to_string();
            let code = sign_in_code(&message).unwrap_or("CredentialUnavailable").to_owned();
            ProviderError::new(ErrorClass::Credentials, code, message)
        }
    }
}

/// Why a call got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// No connection: nothing was sent.
    NotSent,
    /// The connection was lost.
    Cut,
    /// The service that gives out tokens is not well.
    TokenService,
    /// No token.
    NoToken,
}

fn failure(error: &azure_core::Error) -> Failure {
    let is_about_token = matches!(error.kind(), ErrorKind::Credential);
    match (is_about_token, root(error).kind()) {
        (true, ErrorKind::Connection | ErrorKind::Io) => Failure::TokenService,
        (true, ErrorKind::HttpResponse { status, .. }) if u16::from(*status) >= 500 => Failure::TokenService,
        (true, _) => Failure::NoToken,
        (false, ErrorKind::Connection) => Failure::NotSent,
        (false, _) => Failure::Cut,
    }
}

/// The innermost error of Azure's own kind.
fn root(error: &azure_core::Error) -> &azure_core::Error {
    let inner = std::error::Error::source(error).and_then(|source| source.downcast_ref::<azure_core::Error>());
    inner.map_or(error, root)
}

/// Codes of the sign-in service (`AADSTS...`) stand in its message.
fn sign_in_code(message: &str) -> Option<&str> {
    let start = message.find("AADSTS")?;
    let code = &message[start..];
    Some(&code[..code.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(code.len())])
}

fn chain(error: &azure_core::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> ProviderError {
        refused(409, &Headers::new(), text.as_bytes(), true)
    }

    #[test]
    fn the_error_inside_counts_where_the_outer_one_says_nothing() {
        let text = r#"{"error": {"code": "DeploymentFailed", "message": "See details.", "details": [
            {"code": "ZonalAllocationFailed", "message": "Zone 1 is full."}]}}"#;
        let error = body(text);
        assert_eq!(
            (error.class, error.code.as_str()),
            (ErrorClass::NoCapacity, "ZonalAllocationFailed")
        );
        let text =
            r#"{"error": {"code": "SkuNotAvailable", "message": "m", "details": [{"code": "Odd", "message": "n"}]}}"#;
        assert_eq!(body(text).code, "SkuNotAvailable");
    }

    #[test]
    fn what_is_no_json_still_has_a_status() {
        let error = refused(503, &Headers::new(), b"<html>", true);
        assert_eq!((error.code.as_str(), error.class), ("HTTP 503", ErrorClass::Transient));
        assert!(error.is_ambiguous && !refused(503, &Headers::new(), b"", false).is_ambiguous);
    }

    #[test]
    fn sign_in_codes_are_found() {
        let message = "ClientSecretCredential authentication failed. AADSTS7000215: Invalid client secret provided.";
        assert_eq!(sign_in_code(message), Some("AADSTS7000215"));
        assert_eq!(sign_in_code("no az"), None);
    }

    #[test]
    fn a_wait_is_a_number_or_a_date() {
        let with = |value: &'static str| {
            let mut headers = Headers::new();
            headers.insert("retry-after", value);
            retry_after(&headers)
        };
        assert_eq!(with("17"), Some(17.0));
        assert_eq!(with("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0.0));
        assert_eq!(with("soon"), None);
    }
}
