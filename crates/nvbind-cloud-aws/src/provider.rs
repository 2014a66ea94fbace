//! The trait, on a runtime of its own.

use crate::client::Clients;
use crate::image::Images;
use crate::launch::Launcher;
use crate::shared::SharedParts;
use crate::{bill, delete, list, look, price, quota};
use nvbind_cloud::catalog::Catalog;
use nvbind_cloud::provider::{
    Account, BillLine, LivePrice, Machine, MachineRef, Order, PriceQuery, Provider, ProviderError, Quota, Resource,
};
use std::io;
use tokio::runtime::Runtime;

/// AWS, with the credentials and the region of the environment.
#[derive(Debug)]
pub struct Aws {
    runtime: Runtime,
    clients: Clients,
    catalog: Catalog,
    images: Images,
    shared: SharedParts,
}

impl Aws {
    /// Takes up what the environment says, as every program on AWS's SDK does. Asks nobody yet.
    pub fn from_environment() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let clients = runtime.block_on(Clients::load());
        Ok(Self {
            runtime,
            clients,
            catalog: Catalog::embedded().map_err(io::Error::other)?,
            images: Images::default(),
            shared: SharedParts::default(),
        })
    }
}

impl Provider for Aws {
    fn check(&mut self) -> Result<Account, ProviderError> {
        self.runtime.block_on(look::check(&self.clients, &mut self.images))
    }

    fn prices(&mut self, query: &PriceQuery) -> Result<Vec<LivePrice>, ProviderError> {
        self.runtime.block_on(price::prices(&self.clients, query))
    }

    fn quotas(&mut self, region: &str) -> Result<Vec<Quota>, ProviderError> {
        self.runtime
            .block_on(quota::quotas(&self.clients, &self.catalog, region))
    }

    fn create(&mut self, order: &Order) -> Result<Machine, ProviderError> {
        let mut launcher = Launcher {
            clients: &self.clients,
            catalog: &self.catalog,
            images: &mut self.images,
            shared: &mut self.shared,
        };
        self.runtime.block_on(launcher.launch(order))
    }

    fn describe(&mut self, machine: &MachineRef) -> Result<Option<Machine>, ProviderError> {
        self.runtime.block_on(look::describe(&self.clients, machine))
    }

    fn list(&mut self, owner: &str, regions: &[String]) -> Result<Vec<Resource>, ProviderError> {
        self.runtime.block_on(list::list(&self.clients, owner, regions))
    }

    fn delete(&mut self, resource: &Resource) -> Result<(), ProviderError> {
        self.runtime.block_on(delete::delete(&self.clients, resource))
    }

    fn bill(&mut self, owner: &str, from: u64, to: u64) -> Result<Vec<BillLine>, ProviderError> {
        self.runtime.block_on(bill::bill(&self.clients, owner, from, to))
    }
}
