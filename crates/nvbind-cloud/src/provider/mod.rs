//! Who rents out machines, behind one small trait.
//!
//! The SDK of a cloud is large, so each cloud is a program of its own, `nvbind-provider-<name>`, that [`serve`]s the trait over
//! its standard input and output; [`Remote`] is the other end. The user's own hosts are served in this process.

mod classify;
mod error;
mod launch;
mod machine;
mod order;
mod quota;
mod wire;

pub use classify::{ANSWERS, Answer, classify};
pub use error::{ErrorClass, ProviderError, QuotaNeed};
pub use launch::launch;
pub use machine::{Machine, MachineState, Resource, ResourceKind};
pub use order::{Order, TAG_ATTEMPT, TAG_DEPLOYMENT, TAG_NODE, TAG_OWNER, TAG_TOKEN};
pub use quota::{Quota, QuotaUnit};
pub use wire::{PROTOCOL, Remote, serve};

use crate::catalog::Market;
use serde::{Deserialize, Serialize};

/// Rents out machines.
///
/// Calls block. None repeats itself on an answer of the class [`ErrorClass::NoCapacity`] or [`ErrorClass::Quota`]: the next offer is the
/// caller's to choose. Answers of the class [`ErrorClass::Throttled`] and [`ErrorClass::Transient`] come back to the caller, too, after at
/// most a few quick tries, with [`ProviderError::is_ambiguous`] telling whether the call may have had its effect.
pub trait Provider: Send {
    /// Looks whether the credentials work and what they may do, without making anything.
    fn check(&mut self) -> Result<Account, ProviderError>;

    /// Prices as they are now, of these machine types in these regions; spot prices by zone where they differ.
    fn prices(&mut self, query: &PriceQuery) -> Result<Vec<LivePrice>, ProviderError>;

    /// What is left of the quotas that GPU machines count against, in a region.
    fn quotas(&mut self, region: &str) -> Result<Vec<Quota>, ProviderError>;

    /// Orders a machine, with the network and the key that it needs; returns when the provider has accepted it, which is before it
    /// runs. The same [`Order`] again returns the same machine and never makes a second one.
    fn create(&mut self, order: &Order) -> Result<Machine, ProviderError>;

    /// A machine as it is now; `None` when the provider knows none (any more).
    fn describe(&mut self, machine: &MachineRef) -> Result<Option<Machine>, ProviderError>;

    /// Everything in these regions that carries the tag [`TAG_OWNER`] with this value: machines, disks, addresses, networks, keys.
    fn list(&mut self, owner: &str, regions: &[String]) -> Result<Vec<Resource>, ProviderError>;

    /// Gives something back; returns when the provider has accepted that. What is not there (any more) is no error. A machine takes
    /// its disk and address along. A network that is still in use is an error of the class [`ErrorClass::Transient`].
    fn delete(&mut self, resource: &Resource) -> Result<(), ProviderError>;

    /// The provider's own bill of what carries our tag, day by day (UTC), where these credentials may see it. Times in seconds since 1970.
    fn bill(&mut self, owner: &str, from: u64, to: u64) -> Result<Vec<BillLine>, ProviderError>;
}

/// Whose credentials these are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The account, project or subscription; no secret.
    pub id: String,
    /// Who is asking, as the provider calls them.
    pub identity: String,
}

/// Which prices are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceQuery {
    /// Regions.
    pub regions: Vec<String>,
    /// Machine types, as the catalog names them.
    pub instance_types: Vec<String>,
}

/// A price as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LivePrice {
    /// The machine type, as the catalog names it.
    pub instance_type: String,
    /// Where.
    pub region: String,
    /// Which zone, where the price is that zone's.
    pub zone: Option<String>,
    /// How it is sold.
    pub market: Market,
    /// USD an hour.
    pub usd_h: f64,
    /// Seconds since 1970 at which the provider said so.
    pub at: u64,
}

/// Names a machine that may be there: by the id that the provider gave it, or by the order that may have made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineRef {
    /// Its region.
    pub region: String,
    /// Its zone, where the order named one.
    pub zone: Option<String>,
    /// The name of the [`Order`].
    pub name: String,
    /// The token of the [`Order`].
    pub token: String,
    /// The provider's id, once known.
    pub id: Option<String>,
}

/// A day of the provider's bill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BillLine {
    /// The deployment that its tag names; empty where there is none.
    pub deployment: String,
    /// The day: seconds since 1970 of its midnight, UTC.
    pub day: u64,
    /// USD.
    pub usd: f64,
}
