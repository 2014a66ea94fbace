//! Google's APIs that nvbind needs one list of each, asked without a crate of their own: Cloud Billing, Cloud Quotas.

use crate::call::call_mapped;
use crate::fault::{self, Effect};
use crate::settings::Settings;
use google_cloud_auth::credentials::{CacheableResource, Credentials};
use http::Extensions;
use nvbind_cloud::provider::{ErrorClass, ProviderError};
use serde::de::DeserializeOwned;

/// Asks with the same credentials as all else.
pub(crate) struct Rest {
    client: reqwest::Client,
    credentials: Credentials,
    endpoint: Option<String>,
}

impl Rest {
    /// Makes the client; asks nothing yet.
    pub(crate) fn new(settings: &Settings) -> Result<Self, ProviderError> {
        let client = reqwest::Client::builder().build();
        Ok(Self {
            client: client
                .map_err(|error| ProviderError::new(ErrorClass::Unknown, "NoClient", fault::chain(&error)))?,
            credentials: settings.credentials.clone(),
            endpoint: settings.endpoint.clone(),
        })
    }

    /// Gets `https://<service>.googleapis.com/<path>?<query>`.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        service: &str,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, ProviderError> {
        let base = self
            .endpoint
            .clone()
            .unwrap_or_else(|| format!("https://{service}.googleapis.com"));
        let url = format!("{}/{path}", base.trim_end_matches('/'));
        let body = call_mapped(Effect::Read, async || self.fetch(&url, query).await).await?;
        serde_json::from_slice(&body)
            .map_err(|error| ProviderError::new(ErrorClass::Unknown, "BadAnswer", format!("{url}: {error}")))
    }

    async fn fetch(&self, url: &str, query: &[(&str, &str)]) -> Result<bytes::Bytes, ProviderError> {
        let mut request = self.client.get(url).query(query);
        let headers = self.credentials.headers(Extensions::new()).await;
        let headers =
            headers.map_err(|error| ProviderError::new(ErrorClass::Credentials, "NoToken", fault::chain(&error)))?;
        if let CacheableResource::New { data, .. } = headers {
            request = request.headers(data);
        }
        let lost =
            |error: reqwest::Error| ProviderError::new(ErrorClass::Transient, "Connection", fault::chain(&error));
        let answer = request.send().await.map_err(lost)?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = answer.bytes().await.map_err(lost)?;
        match status.is_success() {
            true => Ok(body),
            false => Err(fault::of_answer(status.as_u16(), &headers, &body)),
        }
    }
}
