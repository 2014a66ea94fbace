//! Images from registries (OCI distribution specification), by the crate `oci-client`.
//!
//! The asynchronous runtime that the client needs is there only while something is fetched, in the calling thread.

mod auth;
mod download;
mod error;
mod hosts;

pub use error::Error;

use crate::image::manifest::{Descriptor, Documents, Kind, malformed};
use crate::image::store::Store;
use crate::image::{self, Progress, Reference};
use auth::Login;
use error::{Meaning, meaning, one_line, root_cause};
use futures_util::StreamExt;
use oci_client::client::{BlobResponse, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::manifest as media;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference as ClientReference};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// How long a registry may take to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long it may say nothing at all.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a manifest or a configuration may take as a whole.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(120);
/// How often something is tried before it is given up, and how long the first wait between tries is; each next is twice as long.
const TRIES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// What a manifest may be.
const MANIFESTS: [&str; 4] = [
    media::OCI_IMAGE_INDEX_MEDIA_TYPE,
    media::IMAGE_MANIFEST_LIST_MEDIA_TYPE,
    media::OCI_IMAGE_MEDIA_TYPE,
    media::IMAGE_MANIFEST_MEDIA_TYPE,
];

/// What is to be known of registries beside their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registries {
    /// Registries (`host[:port]`) that may be spoken to without TLS; those of this machine may be anyway.
    pub insecure: Vec<String>,
}

impl Registries {
    /// Those that `insecure` and podman's files on this host name.
    pub fn of_host(insecure: &[String]) -> Self {
        Self {
            insecure: insecure.iter().cloned().chain(hosts::named_insecure()).collect(),
        }
    }
}

/// One image in its registry.
pub(super) struct Session {
    runtime: Runtime,
    client: Client,
    reference: ClientReference,
    registry: String,
    name: String,
    login: Option<Login>,
}

impl Session {
    /// Finds the credentials and sets up the client. Nothing is sent.
    pub(super) fn open(reference: &Reference, registries: &Registries) -> Result<Self, image::Error> {
        let setup = |why: String| Error::Setup { why };
        let runtime = Builder::new_current_thread().enable_all().build();
        let login = auth::find(&reference.registry, &reference.repository)?;
        let mut session = Self {
            runtime: runtime.map_err(|error| setup(error.to_string()))?,
            client: client(ClientProtocol::Https)?,
            reference: client_reference(reference),
            registry: reference.registry.clone(),
            name: reference.to_string(),
            login,
        };
        if hosts::may_be_plain(&reference.registry, &registries.insecure) && !session.speaks_tls() {
            session.client = client(ClientProtocol::Http)?;
        }
        Ok(session)
    }

    /// Whether the registry takes a TLS connection. Asked without credentials, and only where plain HTTP is allowed.
    fn speaks_tls(&self) -> bool {
        let ask = self
            .client
            .pull_manifest_raw(&self.reference, &RegistryAuth::Anonymous, &MANIFESTS);
        let said = self.runtime.block_on(ask);
        // The next client begins anew, so nothing of this is remembered.
        said.err().is_none_or(|error| meaning(&error) != Meaning::Silence)
    }

    fn auth(&self) -> RegistryAuth {
        self.login
            .as_ref()
            .map_or(RegistryAuth::Anonymous, |login| login.auth.clone())
    }

    /// The manifest, or index, that the name stands for: its bytes, which fit to the digest of the name if it has one, and
    /// their digest.
    pub(super) fn manifest(&self) -> Result<(Vec<u8>, String), image::Error> {
        let (bytes, digest) = self
            .runtime
            .block_on(self.retried(|| self.fetch_manifest(&self.reference)))?;
        Ok((bytes, digest))
    }

    /// Fetches the files of layers into the store, which must be entered.
    pub(super) fn download(
        &self,
        store: &Store,
        layers: &[image::manifest::Layer],
        progress: &mut Progress<'_>,
    ) -> Result<(), image::Error> {
        self.runtime.block_on(download::layers(self, store, layers, progress))
    }

    async fn fetch_manifest(&self, reference: &ClientReference) -> Result<(Vec<u8>, String), OciDistributionError> {
        let auth = self.auth();
        let pulled = self.client.pull_manifest_raw(reference, &auth, &MANIFESTS);
        let (bytes, digest) = tokio::time::timeout(DOCUMENT_TIMEOUT, pulled)
            .await
            .map_err(|_| too_slow())??;
        Ok((bytes.to_vec(), digest))
    }

    async fn fetch_blob(&self, digest: &str, size: u64) -> Result<Vec<u8>, OciDistributionError> {
        self.client
            .store_auth_if_needed(self.reference.resolve_registry(), &self.auth())
            .await;
        let read = async {
            let response = self
                .client
                .pull_blob_stream_partial(&self.reference, digest, 0, None)
                .await?;
            let (BlobResponse::Full(mut stream) | BlobResponse::Partial(mut stream)) = response;
            let mut bytes = Vec::new();
            while let Some(chunk) = stream.next().await {
                bytes.extend_from_slice(&chunk?);
                // What is longer than it should be is found to be wrong without its rest.
                if bytes.len() as u64 > size {
                    break;
                }
            }
            Ok(bytes)
        };
        tokio::time::timeout(DOCUMENT_TIMEOUT, read)
            .await
            .map_err(|_| too_slow())?
    }

    /// Tries again what may go better another time.
    async fn retried<T, F>(&self, attempt: impl Fn() -> F) -> Result<T, image::Error>
    where
        F: Future<Output = Result<T, OciDistributionError>>,
    {
        let mut wait = FIRST_WAIT;
        for _ in 1..TRIES {
            match attempt().await {
                Err(error) if meaning(&error) == Meaning::Passing => tokio::time::sleep(wait).await,
                outcome => return outcome.map_err(|error| self.failure(&error).into()),
            }
            wait *= 2;
        }
        attempt().await.map_err(|error| self.failure(&error).into())
    }

    /// The client's error in our words.
    fn failure(&self, error: &OciDistributionError) -> Error {
        let (registry, name) = (self.registry.clone(), self.name.clone());
        match (meaning(error), &self.login) {
            (Meaning::Absent, _) => Error::NotFound { name },
            (Meaning::Login, None) => Error::LoginWanted { registry, name },
            (Meaning::Login, Some(login)) => Error::LoginRefused {
                registry,
                name,
                user: login.user.clone(),
                file: login.file.clone(),
            },
            (Meaning::Silence, _) => Error::Unreachable {
                registry,
                name,
                why: root_cause(error),
            },
            (Meaning::Passing | Meaning::Refusal, _) => Error::Refused {
                registry,
                name,
                why: one_line(error),
            },
        }
    }
}

impl Documents for Session {
    fn image(&self) -> &str {
        &self.name
    }

    fn fetch(&self, kind: Kind, descriptor: &Descriptor) -> Result<Vec<u8>, image::Error> {
        let fetched = match kind {
            Kind::Manifest => {
                let reference = self.reference.clone_with_digest(descriptor.digest.clone());
                let fetched = self.runtime.block_on(self.retried(|| self.fetch_manifest(&reference)));
                fetched.map(|(bytes, _)| bytes)
            }
            Kind::Configuration => {
                let fetch = || self.fetch_blob(&descriptor.digest, descriptor.size);
                self.runtime.block_on(self.retried(fetch))
            }
        };
        match fetched {
            // The image is there; a part of it is not.
            Err(image::Error::Registry(Error::NotFound { .. })) => Err(malformed(
                &self.name,
                &descriptor.digest,
                "the registry does not have it",
            )),
            fetched => fetched,
        }
    }
}

fn client(protocol: ClientProtocol) -> Result<Client, Error> {
    // A second call finds the first one's provider, which is the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = ClientConfig {
        protocol,
        connect_timeout: Some(CONNECT_TIMEOUT),
        read_timeout: Some(READ_TIMEOUT),
        user_agent: concat!("nvbind/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    };
    Client::try_from(config).map_err(|error| Error::Setup { why: one_line(&error) })
}

fn client_reference(reference: &Reference) -> ClientReference {
    let (registry, repository) = (reference.registry.clone(), reference.repository.clone());
    match (&reference.tag, &reference.digest) {
        (_, Some(digest)) => ClientReference::with_digest(registry, repository, digest.clone()),
        (tag, None) => ClientReference::with_tag(registry, repository, tag.clone().unwrap_or_default()),
    }
}

fn too_slow() -> OciDistributionError {
    OciDistributionError::IoError(std::io::ErrorKind::TimedOut.into())
}
