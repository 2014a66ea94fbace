//! The provider itself.

use crate::connect::Session;
use nvbind_cloud::provider::{
    Account, BillLine, ErrorClass, LivePrice, Machine, MachineRef, Order, PriceQuery, Provider, ProviderError, Quota,
    Resource,
};
use std::io;
use tokio::runtime::{Builder, Runtime};

/// Google Cloud.
pub struct Gcp {
    runtime: Runtime,
    session: Option<Session>,
}

impl Gcp {
    /// With the settings of the environment, which are read at the first call.
    pub fn from_environment() -> io::Result<Self> {
        Ok(Self {
            runtime: Builder::new_current_thread().enable_all().build()?,
            session: None,
        })
    }

    /// Makes a call; connects before the first one. What keeps it from connecting may be gone at the next call.
    fn with<T>(&mut self, call: impl AsyncFnOnce(&Session) -> Result<T, ProviderError>) -> Result<T, ProviderError> {
        let session = match &mut self.session {
            Some(session) => session,
            none => none.insert(self.runtime.block_on(Session::connect())?),
        };
        self.runtime.block_on(call(session))
    }
}

impl Provider for Gcp {
    fn check(&mut self) -> Result<Account, ProviderError> {
        self.with(async |session| session.check().await)
    }

    fn prices(&mut self, query: &PriceQuery) -> Result<Vec<LivePrice>, ProviderError> {
        self.with(async |session| session.prices(query).await)
    }

    fn quotas(&mut self, region: &str) -> Result<Vec<Quota>, ProviderError> {
        self.with(async |session| session.quotas(region).await)
    }

    fn create(&mut self, order: &Order) -> Result<Machine, ProviderError> {
        self.with(async |session| session.create(order).await)
    }

    fn describe(&mut self, machine: &MachineRef) -> Result<Option<Machine>, ProviderError> {
        self.with(async |session| session.describe(machine).await)
    }

    fn list(&mut self, owner: &str, regions: &[String]) -> Result<Vec<Resource>, ProviderError> {
        self.with(async |session| session.list(owner, regions).await)
    }

    fn delete(&mut self, resource: &Resource) -> Result<(), ProviderError> {
        self.with(async |session| session.delete(resource).await)
    }

    fn bill(&mut self, _owner: &str, _from: u64, _to: u64) -> Result<Vec<BillLine>, ProviderError> {
        Err(ProviderError::new(
            ErrorClass::NotOffered,
            "NoBillingApi",
            "Google Cloud has no API that tells costs: they are in the billing export to BigQuery, which the project's owner has to set up; \
             until then nvbind's own ledger is all there is",
        ))
    }
}
