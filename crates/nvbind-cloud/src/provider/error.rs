//! What a provider answers when it does not do what it was asked for.

use serde::{Deserialize, Serialize};

/// What kind of refusal it was; decides what is tried next and what is left alone for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorClass {
    /// There is no such machine free now.
    NoCapacity,
    /// The account may not have more of it.
    Quota,
    /// The price cap is below the market.
    SpotPriceTooLow,
    /// The machine type is not sold there, or no longer.
    NotOffered,
    /// Too many calls; the same call later.
    Throttled,
    /// The provider's own fault; the same call again.
    Transient,
    /// The credentials are wrong, missing or expired.
    Credentials,
    /// The credentials do not allow it.
    Permission,
    /// The network cannot be made or has no address left.
    NetworkSetup,
    /// The call itself is wrong: nothing else will do better.
    Invalid,
    /// What it is about is not there.
    NotFound,
    /// Something nobody has classified.
    Unknown,
}

/// A refusal, with the provider's own words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ProviderError {
    /// The kind.
    pub class: ErrorClass,
    /// The provider's code, as it came.
    pub code: String,
    /// The provider's message, as it came, in one line.
    pub message: String,
    /// The provider's id of the call, where it gives one.
    pub request_id: Option<String>,
    /// Seconds to wait before the call is made again, where the provider says so.
    pub retry_after_seconds: Option<f64>,
    /// Which quota, where it is about one.
    pub quota: Option<QuotaNeed>,
    /// Whether the call may have had its effect all the same: a time-out, a cut connection, a fault of the provider.
    pub is_ambiguous: bool,
    /// Whether something was made for the order before it was refused (a network, a key) that has to be given back.
    #[serde(default)]
    pub has_left: bool,
}

/// The quota that stands in the way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuotaNeed {
    /// The provider's name for it.
    pub name: String,
    /// The limit, where it is known.
    pub limit: Option<f64>,
    /// What is needed beside what is used, where it is known.
    pub need: Option<f64>,
}

impl ProviderError {
    /// A refusal of that class, with code and message and nothing else.
    pub fn new(class: ErrorClass, code: impl Into<String>, message: impl AsRef<str>) -> Self {
        Self {
            class,
            code: code.into(),
            message: message.as_ref().split_whitespace().collect::<Vec<_>>().join(" "),
            request_id: None,
            retry_after_seconds: None,
            quota: None,
            is_ambiguous: false,
            has_left: false,
        }
    }

    /// The same, with something that has to be given back.
    #[must_use]
    pub fn leaving_something(self) -> Self {
        Self { has_left: true, ..self }
    }
}
