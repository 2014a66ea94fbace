//! What the environment says: whose project, which endpoint, whose credentials.

use google_cloud_auth::credentials::{self, Credentials};
use nvbind_cloud::provider::{ErrorClass, ProviderError};
use reqwest::Url;

/// The project that machines are made in.
const PROJECT: &str = "GOOGLE_CLOUD_PROJECT";
/// Another place that speaks Google's APIs.
const ENDPOINT: &str = "NVBIND_GCP_ENDPOINT";

/// What the environment says.
pub(crate) struct Settings {
    /// The project.
    pub(crate) project: String,
    /// Where all of Google's services are; `None` for each at its own address.
    pub(crate) endpoint: Option<String>,
    /// Who asks.
    pub(crate) credentials: Credentials,
    /// The same in words.
    pub(crate) identity: String,
}

impl Settings {
    /// Reads them. To be called within an asynchronous runtime, since Google's credentials fetch their tokens in one.
    pub(crate) fn from_environment() -> Result<Self, ProviderError> {
        let project = variable(PROJECT).ok_or_else(|| {
            let message = format!("{PROJECT} is not set: name the project that machines are to be made in");
            ProviderError::new(ErrorClass::Credentials, "NoProject", message)
        })?;
        let endpoint = variable(ENDPOINT);
        let is_anonymous = match &endpoint {
            Some(endpoint) => is_loopback(endpoint)?,
            None => false,
        };
        let (credentials, identity) = match is_anonymous {
            true => (credentials::anonymous::Builder::new().build(), "anonymous".to_owned()),
            false => default_credentials()?,
        };
        Ok(Self {
            project,
            endpoint,
            credentials,
            identity,
        })
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether that endpoint is plain HTTP on loopback, which gets no credentials; plain HTTP anywhere else is refused.
fn is_loopback(endpoint: &str) -> Result<bool, ProviderError> {
    let refuse = |why: &str| {
        let message = format!("{ENDPOINT} is '{endpoint}': {why}");
        ProviderError::new(ErrorClass::Invalid, "BadEndpoint", message)
    };
    let url = Url::parse(endpoint).map_err(|error| refuse(&error.to_string()))?;
    let is_here = matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
    match (url.scheme(), is_here) {
        ("https", _) => Ok(false),
        ("http", true) => Ok(true),
        _ => Err(refuse("credentials go over HTTPS; plain HTTP is for loopback alone")),
    }
}

fn default_credentials() -> Result<(Credentials, String), ProviderError> {
    let credentials = credentials::Builder::default().build().map_err(|error| {
        let message =
            format!("{error}: run 'gcloud auth application-default login' or set GOOGLE_APPLICATION_CREDENTIALS");
        ProviderError::new(ErrorClass::Credentials, "NoCredentials", message)
    })?;
    Ok((credentials, identity()))
}

/// Who the application default credentials are, as far as their file says; no secret.
fn identity() -> String {
    let file = variable("GOOGLE_APPLICATION_CREDENTIALS").map(Into::into).or_else(|| {
        let home = std::env::home_dir()?;
        Some(home.join(".config/gcloud/application_default_credentials.json"))
    });
    let text = file.and_then(|file| std::fs::read_to_string(file).ok());
    let Some(json) = text.and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok()) else {
        return "service account of this machine".to_owned();
    };
    let known = ["client_email", "account", "service_account_impersonation_url", "type"];
    let found = known
        .iter()
        .find_map(|key| json[key].as_str().filter(|value| !value.is_empty()));
    found.unwrap_or("application default credentials").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_never_go_over_plain_http_to_another_machine() {
        for (endpoint, expected) in [
            ("http://127.0.0.1:4600", Some(true)),
            ("http://[::1]:4600", Some(true)),
            ("http://localhost:4600", Some(true)),
            ("https://compute.example.com", Some(false)),
            ("http://compute.example.com", None),
            ("http://127.0.0.1.example.com", None),
            ("ftp://127.0.0.1", None),
            ("not a URL", None),
        ] {
            assert_eq!(is_loopback(endpoint).ok(), expected, "{endpoint}");
        }
    }
}
