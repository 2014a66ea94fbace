//! Which machine types a subscription may have in a region, and which quota they count against.

use crate::arm::{Call, Service};
use crate::id::{SKUS, subscription_id};
use nvbind_cloud::provider::ProviderError;
use serde::Deserialize;

/// A machine type in a region.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sku {
    #[serde(default)]
    resource_type: String,
    /// Its name: `Standard_NC4as_T4_v3`.
    pub(crate) name: String,
    /// Its family: the key of its quota.
    #[serde(default)]
    pub(crate) family: String,
    #[serde(default)]
    restrictions: Vec<Restriction>,
}

#[derive(Debug, Clone, Deserialize)]
struct Restriction {
    #[serde(default, rename = "type")]
    kind: String,
}

impl Sku {
    /// Whether the subscription may have it at all in the region. A restriction of a zone leaves the others.
    pub(crate) fn is_offered(&self) -> bool {
        !self
            .restrictions
            .iter()
            .any(|restriction| restriction.kind.eq_ignore_ascii_case("location"))
    }
}

/// The machine types of a region, the restricted ones too.
pub(crate) async fn skus(arm: &Service, subscription: &str, region: &str) -> Result<Vec<Sku>, ProviderError> {
    let path = format!("{}/providers/Microsoft.Compute/skus", subscription_id(subscription));
    let call = Call::get(path, SKUS).query("$filter", format!("location eq '{region}'"));
    let mut all: Vec<Sku> = arm.list(&call).await?;
    all.retain(|sku| sku.resource_type.eq_ignore_ascii_case("virtualMachines"));
    Ok(all)
}
