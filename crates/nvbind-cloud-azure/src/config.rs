//! Where Azure is, and whose account it is: from the environment.

use azure_core::http::Url;
use std::net::IpAddr;

/// Resource Manager of Azure's public cloud.
const PUBLIC_ENDPOINT: &str = "https://management.azure.com";

/// The Retail Prices API, which asks nobody who they are
/// (<https://learn.microsoft.com/rest/api/cost-management/retail-prices/azure-retail-prices>).
const PUBLIC_PRICES: &str = "https://prices.azure.com";

/// Variable with the subscription, as in all of Azure's SDKs.
pub const SUBSCRIPTION: &str = "AZURE_SUBSCRIPTION_ID";
/// Variable with another endpoint of Resource Manager: one of a sovereign cloud, a private endpoint, or an emulator on loopback.
pub const ENDPOINT: &str = "NVBIND_AZURE_ENDPOINT";
/// Variable with another endpoint of the Retail Prices API.
pub const PRICES_ENDPOINT: &str = "NVBIND_AZURE_PRICES_ENDPOINT";

/// Where Azure is, and whose account it is.
#[derive(Debug, Clone)]
pub struct Config {
    /// The subscription; without one only prices can be asked for.
    pub subscription: Option<String>,
    /// Resource Manager.
    pub arm: Endpoint,
    /// The Retail Prices API.
    pub prices: Endpoint,
    /// What the credentials are made of.
    pub identity: Identity,
}

/// What the credentials are made of; no secret, beside that of an application.
#[derive(Clone, Default)]
pub struct Identity {
    /// `AZURE_TENANT_ID`.
    pub tenant: Option<String>,
    /// `AZURE_CLIENT_ID`: of an application, or of a managed identity.
    pub client: Option<String>,
    /// `AZURE_CLIENT_SECRET`.
    pub secret: Option<String>,
    /// Whether `AZURE_FEDERATED_TOKEN_FILE` names a token of a workload.
    pub is_federated: bool,
}

/// Tells nothing of the secret.
impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// An address that requests go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// By TLS.
    Tls(Url),
    /// Plain HTTP to this machine itself: a private endpoint's tunnel or an emulator. The bearer token crosses it in the clear, so
    /// no other address is taken.
    Loopback(Url),
}

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No URL of the web.
    #[error("{variable}: '{value}' is no https:// URL")]
    NoUrl {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
    },
    /// Plain HTTP to somewhere else.
    #[error("{variable}: '{value}' would send the access token in the clear: use https://, or http:// on loopback")]
    InTheClear {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
    },
}

impl Config {
    /// From this process's environment.
    pub fn from_environment() -> Result<Self, ConfigError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// From variables.
    pub fn from_variables(get: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let get = |name: &str| get(name).filter(|value| !value.is_empty());
        let endpoint = |variable: &'static str, default: &str| {
            Endpoint::parse(variable, &get(variable).unwrap_or_else(|| default.to_owned()))
        };
        Ok(Self {
            subscription: get(SUBSCRIPTION),
            arm: endpoint(ENDPOINT, PUBLIC_ENDPOINT)?,
            prices: endpoint(PRICES_ENDPOINT, PUBLIC_PRICES)?,
            identity: Identity {
                tenant: get("AZURE_TENANT_ID"),
                client: get("AZURE_CLIENT_ID"),
                secret: get("AZURE_CLIENT_SECRET"),
                is_federated: get("AZURE_FEDERATED_TOKEN_FILE").is_some(),
            },
        })
    }
}

impl Endpoint {
    fn parse(variable: &'static str, value: &str) -> Result<Self, ConfigError> {
        let no_url = || ConfigError::NoUrl {
            variable,
            value: value.to_owned(),
        };
        let url = Url::parse(value).map_err(|_| no_url())?;
        match url.scheme() {
            "https" => Ok(Self::Tls(url)),
            "http" if is_loopback(&url) => Ok(Self::Loopback(url)),
            "http" => Err(ConfigError::InTheClear {
                variable,
                value: value.to_owned(),
            }),
            _ => Err(no_url()),
        }
    }

    /// The URL that requests are written for. The pipeline sends no token by plain HTTP, so requests to loopback are written for the
    /// public endpoint and turned round by the transport.
    pub(crate) fn nominal(&self, public: Public) -> Url {
        match self {
            Self::Tls(url) => url.clone(),
            Self::Loopback(_) => public.url(),
        }
    }
}

/// The public endpoints.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Public {
    Arm,
    Prices,
}

impl Public {
    #[expect(clippy::expect_used, reason = "two constants, parsed by a test")]
    fn url(self) -> Url {
        let text = match self {
            Self::Arm => PUBLIC_ENDPOINT,
            Self::Prices => PUBLIC_PRICES,
        };
        Url::parse(text).expect("a URL")
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_endpoint(value: &str) -> Result<Config, ConfigError> {
        Config::from_variables(|name| (name == ENDPOINT).then(|| value.to_owned()))
    }

    #[test]
    fn plain_http_is_for_loopback_alone() {
        for loopback in ["http://127.0.0.1:4700", "http://localhost:1", "http://[::1]:9/"] {
            assert!(
                with_endpoint(loopback).is_ok_and(|config| matches!(config.arm, Endpoint::Loopback(_))),
                "{loopback}"
            );
        }
        for elsewhere in [
            "http://management.azure.com",
            "http://10.0.0.1",
            "http://localhost.example.com",
        ] {
            let error = with_endpoint(elsewhere).unwrap_err();
            assert!(matches!(error, ConfigError::InTheClear { .. }), "{error}");
        }
        assert!(with_endpoint("management.azure.com").is_err());
        assert!(with_endpoint("https://management.usgovcloudapi.net").is_ok());
    }

    #[test]
    fn nothing_set_means_the_public_cloud() {
        let config = Config::from_variables(|_| None).unwrap();
        assert_eq!(config.subscription, None);
        assert_eq!(config.arm, Endpoint::Tls(Public::Arm.url()));
        assert_eq!(config.prices, Endpoint::Tls(Public::Prices.url()));
    }

    #[test]
    fn the_secret_is_not_shown() {
        let identity = Identity {
            secret: Some("hunter2".to_owned()),
            ..Identity::default()
        };
        assert!(!format!("{identity:?}").contains("hunter2"));
    }
}
