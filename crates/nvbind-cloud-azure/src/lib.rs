//! How does Azure rent out machines?
//!
//! [`Azure`] is the [`Provider`] of Azure: credentials and pipeline are those of Microsoft's own SDK (`azure_identity`, `azure_core`), the
//! calls are Resource Manager's REST interface, for which there is no maintained crate. The program `nvbind-provider-azure` serves it to
//! `nvbind`, which links none of this.
//!
//! A deployment has one resource group in each region, with a network, a firewall and its machines. Each machine is made by one call,
//! together with its interface, public address and disk, and takes them along when it is deleted. How a machine ends although nobody is there
//! to end it: [`end`].

mod arm;
mod bill;
mod check;
mod config;
mod create;
mod credential;
mod describe;
pub mod end;
mod error;
mod group;
mod id;
mod list;
mod prices;
mod quota_text;
mod quotas;
mod sku;
mod transport;
mod vm;
mod waits;

pub use config::{Config, ConfigError, ENDPOINT, Endpoint, Identity, PRICES_ENDPOINT, SUBSCRIPTION};

use arm::Service;
use azure_core::credentials::TokenCredential;
use config::Public;
use nvbind_cloud::catalog::{Catalog, ProviderName};
use nvbind_cloud::provider::{
    Account, BillLine, ErrorClass, LivePrice, Machine, MachineRef, Order, PriceQuery, Provider, ProviderError, Quota,
    Resource,
};
use sku::Sku;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::runtime::Runtime;

/// Azure, for one subscription.
#[derive(Debug)]
pub struct Azure {
    runtime: Runtime,
    prices: Result<Service, ProviderError>,
    account: Result<SignedIn, ProviderError>,
    made: create::Made,
    skus: BTreeMap<String, Vec<Sku>>,
}

/// Resource Manager, for somebody.
#[derive(Debug, Clone)]
struct SignedIn {
    arm: Arc<Service>,
    credential: Arc<dyn TokenCredential>,
    scope: String,
    subscription: String,
}

impl Azure {
    /// Azure as configured. Nothing is sent yet; what is wrong with the configuration or the account is what each call that needs it
    /// answers.
    pub fn new(config: &Result<Config, ConfigError>) -> std::io::Result<Self> {
        let config = config.as_ref().map_err(misconfigured);
        Ok(Self {
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
            prices: config.clone().and_then(price_list),
            account: config.and_then(SignedIn::new),
            made: create::Made::default(),
            skus: BTreeMap::new(),
        })
    }

    /// Machine types of a region; asked for once, since the list is long and seldom changes.
    fn skus(&mut self, account: &SignedIn, region: &str) -> Result<Vec<Sku>, ProviderError> {
        if let Some(skus) = self.skus.get(region) {
            return Ok(skus.clone());
        }
        let skus = self
            .runtime
            .block_on(sku::skus(&account.arm, &account.subscription, region))?;
        self.skus.insert(region.to_owned(), skus.clone());
        Ok(skus)
    }

    /// Of these machine types those that the subscription may have in the region; all, where nobody is signed in.
    fn offered(&mut self, region: &str, instance_types: &[String]) -> Result<Vec<String>, ProviderError> {
        let Ok(account) = self.account.clone() else {
            return Ok(instance_types.to_vec());
        };
        let skus = self.skus(&account, region)?;
        let is_offered = |name: &&String| skus.iter().any(|sku| sku.name == **name && sku.is_offered());
        Ok(instance_types.iter().filter(is_offered).cloned().collect())
    }
}

impl SignedIn {
    fn new(config: &Config) -> Result<Self, ProviderError> {
        let Some(subscription) = config.subscription.clone() else {
            let why = format!("no subscription: set {SUBSCRIPTION}");
            return Err(ProviderError::new(ErrorClass::Credentials, "NoSubscription", why));
        };
        let options = transport::options(&config.arm).map_err(|error| unusable(&error))?;
        let credential = credential::credential(&config.identity, &options);
        let credential = credential.map_err(|error| ProviderError {
            class: ErrorClass::Credentials,
            ..unusable(&error)
        })?;
        let base = config.arm.nominal(Public::Arm);
        let scope = arm::scope(&base);
        Ok(Self {
            arm: Arc::new(Service::signed_in(base, &scope, credential.clone(), options)),
            credential,
            scope,
            subscription,
        })
    }
}

fn unusable(error: &azure_core::Error) -> ProviderError {
    ProviderError::new(ErrorClass::Invalid, "CannotStart", error.to_string())
}

fn misconfigured(error: &ConfigError) -> ProviderError {
    ProviderError::new(ErrorClass::Invalid, "InvalidConfiguration", error.to_string())
}

fn price_list(config: &Config) -> Result<Service, ProviderError> {
    let options = transport::options(&config.prices).map_err(|error| unusable(&error))?;
    Ok(Service::open(config.prices.nominal(Public::Prices), options))
}

impl Provider for Azure {
    fn check(&mut self) -> Result<Account, ProviderError> {
        let account = self.account.clone()?;
        let call = check::check(&account.arm, &account.credential, &account.scope, &account.subscription);
        self.runtime.block_on(call)
    }

    /// Where a subscription is set, only of what it may have there: the price list holds what is no longer rented out.
    fn prices(&mut self, query: &PriceQuery) -> Result<Vec<LivePrice>, ProviderError> {
        let mut all = Vec::new();
        for region in &query.regions {
            let types = self.offered(region, &query.instance_types)?;
            let service = self.prices.as_ref().map_err(Clone::clone)?;
            all.append(&mut self.runtime.block_on(prices::prices(service, region, &types))?);
        }
        Ok(all)
    }

    fn quotas(&mut self, region: &str) -> Result<Vec<Quota>, ProviderError> {
        let account = self.account.clone()?;
        let (skus, known) = (self.skus(&account, region)?, known_types()?);
        let call = quotas::quotas(&account.arm, &account.subscription, region, &skus, &known);
        self.runtime.block_on(call)
    }

    fn create(&mut self, order: &Order) -> Result<Machine, ProviderError> {
        let account = self.account.clone()?;
        let mut making = create::Making {
            arm: &account.arm,
            subscription: &account.subscription,
            made: &mut self.made,
            order,
        };
        self.runtime.block_on(making.create())
    }

    fn describe(&mut self, machine: &MachineRef) -> Result<Option<Machine>, ProviderError> {
        let account = self.account.clone()?;
        let call = describe::describe(&account.arm, &account.subscription, machine);
        self.runtime.block_on(call)
    }

    /// No region named means all of them: Azure tells all in one call.
    fn list(&mut self, owner: &str, regions: &[String]) -> Result<Vec<Resource>, ProviderError> {
        let account = self.account.clone()?;
        let call = list::list(&account.arm, &account.subscription, owner, regions);
        self.runtime.block_on(call)
    }

    fn delete(&mut self, resource: &Resource) -> Result<(), ProviderError> {
        let account = self.account.clone()?;
        self.made.forget();
        self.runtime.block_on(list::delete(&account.arm, resource))
    }

    fn bill(&mut self, owner: &str, from: u64, to: u64) -> Result<Vec<BillLine>, ProviderError> {
        let account = self.account.clone()?;
        let call = bill::bill(&account.arm, &account.subscription, owner, from, to);
        self.runtime.block_on(call)
    }
}

/// Machine types with a GPU that nvbind knows.
fn known_types() -> Result<Vec<String>, ProviderError> {
    let catalog = Catalog::embedded();
    let catalog = catalog.map_err(|error| ProviderError::new(ErrorClass::Invalid, "NoCatalog", error.to_string()))?;
    let ours = catalog
        .instances()
        .iter()
        .filter(|instance| instance.provider == ProviderName::Azure);
    Ok(ours.map(|instance| instance.instance_type.clone()).collect())
}
