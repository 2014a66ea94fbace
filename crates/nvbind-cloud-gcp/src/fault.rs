//! What Google answers when it does not do what it was asked for, in nvbind's terms.

use google_cloud_compute_v1::model::operation::error::Errors;
use google_cloud_compute_v1::model::{Operation, QuotaExceededInfo};
use google_cloud_gax::error::Error;
use google_cloud_gax::error::rpc::{Code, Status, StatusDetails};
use http::HeaderMap;
use nvbind_cloud::catalog::ProviderName::Gcp;
use nvbind_cloud::provider::{ErrorClass, ProviderError, QuotaNeed, classify};

/// Whether a call changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It only looks.
    Read,
    /// It changes something.
    Change,
}

/// Code of a wrapper that stands before the true reasons.
const WRAPPER: &str = "VM_MIN_COUNT_NOT_REACHED";
/// Codes of what is there already.
const CONFLICTS: [&str; 3] = ["alreadyExists", "RESOURCE_ALREADY_EXISTS", "ALREADY_EXISTS"];

/// A call of Google's crate that failed.
pub(crate) fn of_call(error: &Error, effect: Effect) -> ProviderError {
    if error.is_authentication() {
        return ProviderError::new(ErrorClass::Credentials, "NoToken", chain(error));
    }
    if let Some(status) = error.status() {
        return of_status(
            error.http_status_code().unwrap_or(0),
            error.http_headers(),
            status,
            effect,
        );
    }
    if let Some(status) = error.http_status_code() {
        let text = String::from_utf8_lossy(error.http_payload().map_or(&[][..], |payload| payload));
        return of_text(status, error.http_headers(), &text, effect);
    }
    let is_before = error.is_connect() || error.is_serialization() || error.is_binding();
    let (class, code) = match error {
        _ if error.is_serialization() || error.is_binding() => (ErrorClass::Invalid, "BadRequest"),
        _ if error.is_timeout() => (ErrorClass::Transient, "Timeout"),
        _ if error.is_deserialization() => (ErrorClass::Unknown, "BadAnswer"),
        _ => (ErrorClass::Transient, "Connection"),
    };
    ProviderError {
        is_ambiguous: effect == Effect::Change && !is_before,
        ..ProviderError::new(class, code, chain(error))
    }
}

/// An answer of an API that was asked without Google's crate.
pub(crate) fn of_answer(status: u16, headers: &HeaderMap, body: &bytes::Bytes) -> ProviderError {
    match Status::try_from(body) {
        Ok(parsed) => of_status(status, Some(headers), &parsed, Effect::Read),
        Err(_) => of_text(status, Some(headers), &String::from_utf8_lossy(body), Effect::Read),
    }
}

/// A call that has had no answer for so long.
pub(crate) fn late(seconds: u64, effect: Effect) -> ProviderError {
    ProviderError {
        is_ambiguous: effect == Effect::Change,
        ..ProviderError::new(ErrorClass::Transient, "Timeout", format!("no answer for {seconds} s"))
    }
}

/// What made an operation fail; `None` where it has not. Google answers the call with success and tells it here.
pub(crate) fn of_operation(operation: &Operation) -> Option<ProviderError> {
    let error = operation.error.as_ref()?;
    let status = operation
        .http_error_status_code
        .and_then(|status| u16::try_from(status).ok())
        .unwrap_or(0);
    let is_reason = |error: &&Errors| error.code.as_deref() != Some(WRAPPER);
    let chosen = error.errors.iter().find(is_reason).or_else(|| error.errors.first());
    let code = chosen.and_then(|error| error.code.as_deref()).unwrap_or("HTTP_ERROR");
    let message = chosen.and_then(|error| error.message.as_deref()).unwrap_or_default();
    let class = classify(Gcp, status, code, message);
    let details = chosen.map_or(&[][..], |error| &error.error_details);
    let info = details.iter().find_map(|detail| detail.quota_info.as_ref());
    Some(ProviderError {
        request_id: operation.name.clone(),
        quota: quota_need(class, info, message),
        // Google's own fault in the middle: some of it may be there.
        is_ambiguous: class == ErrorClass::Transient && status >= 500,
        ..ProviderError::new(class, code, message)
    })
}

/// Whether something of that name is there already.
pub(crate) fn is_conflict(error: &ProviderError) -> bool {
    CONFLICTS.contains(&error.code.as_str())
}

/// The name of a quota of a GPU family.
pub(crate) fn family_quota(family: &str) -> String {
    format!("GPUS_PER_GPU_FAMILY {family}")
}

fn of_status(http: u16, headers: Option<&HeaderMap>, status: &Status, effect: Effect) -> ProviderError {
    let reason = status.details.iter().find_map(|detail| match detail {
        StatusDetails::ErrorInfo(info) if !info.reason.is_empty() => Some(info.reason.as_str()),
        _ => None,
    });
    let fallback = match status.code {
        Code::Unknown => format!("HTTP {http}"),
        known => known.name().to_owned(),
    };
    let code = reason.map_or(fallback, str::to_owned);
    let class = classify(Gcp, http, &code, &status.message);
    ProviderError {
        retry_after_seconds: retry_after(headers),
        quota: quota_need(class, None, &status.message),
        is_ambiguous: effect == Effect::Change && http >= 500 && class != ErrorClass::NoCapacity,
        ..ProviderError::new(class, code, &status.message)
    }
}

/// An answer that is not in Google's form: from something in between, mostly.
fn of_text(http: u16, headers: Option<&HeaderMap>, text: &str, effect: Effect) -> ProviderError {
    let text: String = text.chars().take(300).collect();
    let code = format!("HTTP {http}");
    ProviderError {
        retry_after_seconds: retry_after(headers),
        is_ambiguous: effect == Effect::Change && http >= 500,
        ..ProviderError::new(classify(Gcp, http, &code, &text), code, text)
    }
}

fn retry_after(headers: Option<&HeaderMap>) -> Option<f64> {
    let value = headers?.get(http::header::RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok()
}

/// Which quota it is about: from the details where Google gives them, else from the message, which reads
/// `Quota 'NVIDIA_T4_GPUS' exceeded. Limit: 0.0 in region us-central1.`
fn quota_need(class: ErrorClass, info: Option<&QuotaExceededInfo>, message: &str) -> Option<QuotaNeed> {
    if class != ErrorClass::Quota {
        return None;
    }
    let named = match info {
        Some(info) => name_of(info),
        None => message.split('\'').nth(1).map(str::to_owned),
    };
    let told = || {
        message
            .split_once("imit:")?
            .1
            .split_whitespace()
            .next()?
            .trim_end_matches('.')
            .parse()
            .ok()
    };
    Some(QuotaNeed {
        name: named?,
        limit: info.and_then(|info| info.limit).or_else(told),
        need: None,
    })
}

/// `compute.googleapis.com/nvidia_t4_gpus` is called `NVIDIA_T4_GPUS` elsewhere; GPU families are told apart by a dimension.
fn name_of(info: &QuotaExceededInfo) -> Option<String> {
    if let Some(family) = info.dimensions.get("gpu_family") {
        return Some(family_quota(family));
    }
    let metric = info.metric_name.as_ref().or(info.limit_name.as_ref())?;
    Some(metric.rsplit('/').next().unwrap_or(metric).to_ascii_uppercase())
}

/// An error with what is behind it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use google_cloud_compute_v1::model::operation;

    fn operation(errors: &[(&str, &str)]) -> Operation {
        let errors = errors
            .iter()
            .map(|(code, message)| Errors::new().set_code(*code).set_message(*message));
        Operation::new()
            .set_name("operation-1")
            .set_error(operation::Error::new().set_errors(errors))
    }

    #[test]
    fn a_wrapper_hides_the_reason_beside_it() {
        let error = of_operation(&operation(&[
            (
                "VM_MIN_COUNT_NOT_REACHED",
                "Requested minimum count of 1 VMs could not be created.",
            ),
            (
                "QUOTA_EXCEEDED",
                "Quota 'GPUS_ALL_REGIONS' exceeded.  Limit: 0.0 globally.",
            ),
        ]));
        let error = error.unwrap();
        assert_eq!(
            (error.class, error.code.as_str()),
            (ErrorClass::Quota, "QUOTA_EXCEEDED")
        );
        let quota = error.quota.unwrap();
        assert_eq!((quota.name.as_str(), quota.limit), ("GPUS_ALL_REGIONS", Some(0.0)));
        let alone = of_operation(&operation(&[("VM_MIN_COUNT_NOT_REACHED", "none")])).unwrap();
        assert_eq!(alone.class, ErrorClass::NoCapacity);
    }

    #[test]
    fn an_operation_without_error_has_not_failed() {
        assert_eq!(of_operation(&Operation::new()), None);
    }

    #[test]
    fn what_is_no_answer_of_google_is_told_in_short() {
        let page = format!("<html>{}</html>", "x".repeat(5000));
        let error = of_answer(502, &HeaderMap::new(), &bytes::Bytes::from(page));
        assert_eq!((error.class, error.code.as_str()), (ErrorClass::Transient, "HTTP 502"));
        assert!(error.message.len() <= 300);
    }
}
