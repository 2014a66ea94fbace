//! The clients of Google's APIs, made once.

use crate::fault;
use crate::rest::Rest;
use crate::settings::Settings;
use google_cloud_compute_v1::client::{
    AcceleratorTypes, Addresses, Disks, Firewalls, GlobalOperations, Instances, MachineTypes, Projects, Regions,
};
use google_cloud_gax::retry_policy::NeverRetry;
use nvbind_cloud::catalog::{Catalog, ProviderName};
use nvbind_cloud::provider::{Account, ErrorClass, ProviderError};
use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Instant;
use tokio::sync::OnceCell;

/// Google Cloud with somebody's credentials.
pub(crate) struct Session {
    pub(crate) project: String,
    pub(crate) identity: String,
    pub(crate) catalog: Catalog,
    pub(crate) accelerator_types: AcceleratorTypes,
    pub(crate) firewalls: Firewalls,
    pub(crate) instances: Instances,
    pub(crate) machine_types: MachineTypes,
    /// Made when one is wanted for the first time.
    others: OnceCell<Others>,
    settings: Settings,
    /// Zones that have a machine type, and when that was asked: it changes a few times a year.
    pub(crate) zones: RefCell<HashMap<String, (Instant, Vec<String>)>>,
}

/// Clients that an order can do without. Each reads the certificates of this machine anew, so one that is not made is time won.
pub(crate) struct Others {
    pub(crate) addresses: Addresses,
    pub(crate) disks: Disks,
    pub(crate) global_operations: GlobalOperations,
    pub(crate) projects: Projects,
    pub(crate) regions: Regions,
    pub(crate) rest: Rest,
}

/// A client of one part of the API. It makes no tries of its own: only this crate knows that an answer 503 for want of machines is final.
macro_rules! client {
    ($part:ident, $settings:expr) => {{
        let builder = $part::builder()
            .with_credentials($settings.credentials.clone())
            .with_retry_policy(NeverRetry);
        let builder = match &$settings.endpoint {
            Some(endpoint) => builder.with_endpoint(endpoint.clone()),
            None => builder,
        };
        builder.build().await.map_err(|error| cannot_connect(&error))?
    }};
}

impl Session {
    /// Makes the clients; asks nothing of Google yet.
    pub(crate) async fn connect() -> Result<Self, ProviderError> {
        // A second call finds it set, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let settings = Settings::from_environment()?;
        let catalog = Catalog::embedded()
            .map_err(|error| ProviderError::new(ErrorClass::Unknown, "Catalog", error.to_string()))?;
        Ok(Self {
            catalog,
            accelerator_types: client!(AcceleratorTypes, settings),
            firewalls: client!(Firewalls, settings),
            instances: client!(Instances, settings),
            machine_types: client!(MachineTypes, settings),
            zones: RefCell::default(),
            others: OnceCell::new(),
            project: settings.project.clone(),
            identity: settings.identity.clone(),
            settings,
        })
    }

    /// The clients that an order can do without.
    pub(crate) async fn others(&self) -> Result<&Others, ProviderError> {
        self.others.get_or_try_init(|| Others::connect(&self.settings)).await
    }

    /// Looks whether the project is there and its machines may be seen.
    pub(crate) async fn check(&self) -> Result<Account, ProviderError> {
        self.project().await?;
        self.instances_where("labels.nvbind-owner = \"none\"").await?;
        Ok(Account {
            id: self.project.clone(),
            identity: self.identity.clone(),
        })
    }

    /// The machines of the catalog that are Google's.
    pub(crate) fn catalog(&self) -> impl Iterator<Item = &nvbind_cloud::catalog::Instance> {
        let is_ours = |instance: &&nvbind_cloud::catalog::Instance| instance.provider == ProviderName::Gcp;
        self.catalog.instances().iter().filter(is_ours)
    }
}

impl Others {
    async fn connect(settings: &Settings) -> Result<Self, ProviderError> {
        Ok(Self {
            addresses: client!(Addresses, settings),
            disks: client!(Disks, settings),
            global_operations: client!(GlobalOperations, settings),
            projects: client!(Projects, settings),
            regions: client!(Regions, settings),
            rest: Rest::new(settings)?,
        })
    }
}

fn cannot_connect(error: &google_cloud_gax::client_builder::Error) -> ProviderError {
    ProviderError::new(ErrorClass::Credentials, "NoClient", fault::chain(error))
}
