//! How requests leave this machine: by reqwest with rustls and ring.

use crate::config::Endpoint;
use async_trait::async_trait;
use azure_core::http::{AsyncRawResponse, ClientOptions, HttpClient, Request, RetryOptions, Transport, Url};
use std::sync::Arc;
use std::time::Duration;

/// How long a connection may take to stand.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a server may say nothing. Resource Manager answers at once and works on; its own limit is 60 s.
const READ: Duration = Duration::from_secs(60);

/// What Azure's pipelines are set up with. They repeat nothing: [`crate::arm`] knows which answers are worth it.
pub(crate) fn options(endpoint: &Endpoint) -> azure_core::Result<ClientOptions> {
    let transport: Arc<dyn HttpClient> = match endpoint {
        Endpoint::Tls(_) => Arc::new(client(false)?),
        Endpoint::Loopback(target) => Arc::new(ToLoopback {
            client: client(true)?,
            target: target.clone(),
        }),
    };
    Ok(ClientOptions {
        transport: Some(Transport::new(transport)),
        retry: RetryOptions::none(),
        ..ClientOptions::default()
    })
}

fn client(is_direct: bool) -> azure_core::Result<reqwest::Client> {
    // A second call finds the first one's provider, which is the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder();
    if is_direct {
        builder = builder.no_proxy();
    }
    let builder = builder
        .connect_timeout(CONNECT)
        .read_timeout(READ)
        .redirect(reqwest::redirect::Policy::none());
    builder.build().map_err(|error| {
        let kind = azure_core::error::ErrorKind::Other;
        azure_core::Error::with_error(kind, error, "cannot set up the HTTP client")
    })
}

/// Sends every request to one address on loopback, whatever host it is for: those of Resource Manager and those for tokens.
#[derive(Debug)]
struct ToLoopback {
    client: reqwest::Client,
    target: Url,
}

#[async_trait]
impl HttpClient for ToLoopback {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let mut request = request.clone();
        let url = request.url_mut();
        // Cannot fail: both are web URLs with a host.
        let _ = url.set_scheme(self.target.scheme());
        let _ = url.set_host(self.target.host_str());
        let _ = url.set_port(self.target.port());
        self.client.execute_request(&request).await
    }
}
