//! What is left of the quotas that GPU machines count against.

use crate::arm::{Call, Service};
use crate::id::{COMPUTE, subscription_id};
use crate::sku::Sku;
use nvbind_cloud::catalog::Market;
use nvbind_cloud::provider::{ProviderError, Quota, QuotaUnit};
use serde::Deserialize;

/// A quota as Azure shows it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Usage {
    name: UsageName,
    current_value: f64,
    limit: f64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UsageName {
    value: String,
    #[serde(default)]
    localized_value: Option<String>,
}

/// Quotas of a region that count all machines of a market: spot machines count against the first alone.
const OF_MARKET: [(&str, Market); 2] = [("lowPriorityCores", Market::Spot), ("cores", Market::OnDemand)];

/// The quotas of a region that these machine types count against: that of their family on demand, and those of the region.
pub(crate) async fn quotas(
    arm: &Service,
    subscription: &str,
    region: &str,
    skus: &[Sku],
    instance_types: &[String],
) -> Result<Vec<Quota>, ProviderError> {
    let path = format!(
        "{}/providers/Microsoft.Compute/locations/{region}/usages",
        subscription_id(subscription)
    );
    let usages: Vec<Usage> = arm.list(&Call::get(path, COMPUTE)).await?;
    let offered: Vec<&Sku> = skus.iter().filter(|sku| instance_types.contains(&sku.name)).collect();
    let quotas = usages.into_iter().filter_map(|usage| quota(usage, region, &offered));
    Ok(quotas.collect())
}

fn quota(usage: Usage, region: &str, offered: &[&Sku]) -> Option<Quota> {
    let of_market = OF_MARKET
        .iter()
        .find(|(name, _)| usage.name.value.eq_ignore_ascii_case(name));
    let market = of_market.map_or(Market::OnDemand, |(_, market)| *market);
    let counts = |sku: &&&Sku| of_market.is_some() || is_same_family(&sku.family, &usage.name.value);
    let instance_types: Vec<String> = offered.iter().filter(counts).map(|sku| sku.name.clone()).collect();
    (!instance_types.is_empty()).then(|| Quota {
        title: usage.name.localized_value.unwrap_or_else(|| usage.name.value.clone()),
        name: usage.name.value,
        region: region.to_owned(),
        instance_types,
        market: Some(market),
        unit: QuotaUnit::Vcpus,
        limit: usage.limit,
        used: usage.current_value,
    })
}

/// Azure writes `standardNCADSA100v4Family` and `Standard NCASv3_T4 Family`, and not always the same in both lists.
fn is_same_family(one: &str, other: &str) -> bool {
    let plain = |text: &str| -> String {
        let letters = text.chars().filter(char::is_ascii_alphanumeric);
        letters.map(|letter| letter.to_ascii_lowercase()).collect()
    };
    plain(one) == plain(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_the_same_whatever_their_spaces() {
        assert!(is_same_family("Standard NCASv3_T4 Family", "StandardNCASv3_T4Family"));
        assert!(!is_same_family(
            "standardNCADSA100v4Family",
            "standardNCadsH100v5Family"
        ));
    }
}
