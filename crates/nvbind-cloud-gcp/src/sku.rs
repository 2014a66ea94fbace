//! Google's price list: what a core, a GiB, a GPU costs an hour in a region.

use crate::connect::Session;
use nvbind_cloud::catalog::Market;
use nvbind_cloud::provider::ProviderError;
use serde::Deserialize;
use std::collections::HashMap;

/// Compute Engine in the Cloud Billing Catalog.
const SKUS: &str = "v1/services/6F81-5844-456A/skus";
/// What is wanted of each entry: the whole list has some thirty thousand.
const FIELDS: &str = "nextPageToken,skus(description,category(resourceFamily,usageType),serviceRegions,\
                      pricingInfo/pricingExpression/tieredRates/unitPrice)";
/// Hours of a month, as Google counts them; local SSD is priced by the month.
const MONTH_HOURS: f64 = 730.0;
/// Name of local SSD in the list.
pub(crate) const LOCAL_SSD: &str = "SSD backed Local Storage";

/// Words of entries that are not the plain price: other ways to buy, other machines. "DWS" is Dynamic Workload Scheduler, whose prices
/// published catalogs have taken for those on demand.
const OTHER_WAYS: [&str; 10] = [
    "DWS",
    "Calendar Mode",
    "Commitment",
    "Reserved",
    "Sole Tenancy",
    "Custom",
    "Premium",
    "Extended",
    "Capacity Optimized",
    "suspended",
];

/// A page of the list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(default)]
    skus: Vec<Sku>,
    #[serde(default)]
    next_page_token: String,
}

/// An entry of the list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sku {
    description: String,
    category: Category,
    #[serde(default)]
    service_regions: Vec<String>,
    #[serde(default)]
    pricing_info: Vec<Pricing>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Category {
    resource_family: String,
    usage_type: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pricing {
    pricing_expression: Expression,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Expression {
    tiered_rates: Vec<Rate>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rate {
    unit_price: Money,
}

/// Whole units (a string, as all of Google's 64-bit numbers) and billionths.
#[derive(Debug, Deserialize)]
struct Money {
    #[serde(default)]
    units: String,
    #[serde(default)]
    nanos: i64,
}

impl Sku {
    /// What it is a price of, how it is sold, and the price of an hour; `None` where it is no plain price.
    fn part(&self) -> Option<(&str, Market, f64)> {
        let text = self.description.as_str();
        let is_plain = matches!(self.category.usage_type.as_str(), "OnDemand" | "Preemptible")
            && matches!(self.category.resource_family.as_str(), "Compute" | "Storage")
            && !OTHER_WAYS.iter().any(|word| text.contains(word));
        if !is_plain {
            return None;
        }
        // Some prices on spot are marked as those on demand; the description is right.
        let is_spot = self.category.usage_type == "Preemptible" || text.contains("Preemptible");
        let market = if is_spot { Market::Spot } else { Market::OnDemand };
        let price = &self
            .pricing_info
            .first()?
            .pricing_expression
            .tiered_rates
            .first()?
            .unit_price;
        let price = price.units.parse::<f64>().unwrap_or(0.0) + price.nanos as f64 / 1e9;
        let name = plain_name(text);
        let hour = if name == LOCAL_SSD { price / MONTH_HOURS } else { price };
        (hour > 0.0).then_some((name, market, hour))
    }
}

/// `Spot Preemptible A2 Instance Core running in Americas` is a price of `A2 Instance Core`.
fn plain_name(description: &str) -> &str {
    let mut name = description;
    for before in ["Spot ", "Preemptible "] {
        name = name.strip_prefix(before).unwrap_or(name);
    }
    for after in [" attached to ", " running in ", " in "] {
        name = name.split(after).next().unwrap_or(name);
    }
    name.trim()
}

/// Prices of an hour, by what, where and how it is sold.
#[derive(Debug, Default)]
pub(crate) struct PriceList {
    by_name: HashMap<(String, Market), HashMap<String, f64>>,
}

impl PriceList {
    /// Takes an entry in, for the regions that are wanted. Of two the lower one counts as long as both are plain prices of the same thing.
    fn add(&mut self, sku: &Sku, regions: &[String]) {
        let Some((name, market, hour)) = sku.part() else {
            return;
        };
        for region in sku.service_regions.iter().filter(|region| regions.contains(region)) {
            let prices = self.by_name.entry((name.to_owned(), market)).or_default();
            let price = prices.entry(region.clone()).or_insert(hour);
            *price = price.min(hour);
        }
    }

    /// The price of the first of these names that there is.
    pub(crate) fn first(&self, names: &[String], region: &str, market: Market) -> Option<f64> {
        names
            .iter()
            .find_map(|name| self.by_name.get(&(name.clone(), market))?.get(region).copied())
    }
}

impl Session {
    /// The price list, as far as it is about these regions.
    pub(crate) async fn price_list(&self, regions: &[String]) -> Result<PriceList, ProviderError> {
        let (mut list, mut token) = (PriceList::default(), String::new());
        loop {
            let query = [
                ("currencyCode", "USD"),
                ("pageSize", "5000"),
                ("fields", FIELDS),
                ("pageToken", &token),
            ];
            let query = if token.is_empty() { &query[..3] } else { &query[..] };
            let page: Page = self.others().await?.rest.get("cloudbilling", SKUS, query).await?;
            page.skus.iter().for_each(|sku| list.add(sku, regions));
            token = page.next_page_token;
            if token.is_empty() {
                return Ok(list);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sku(description: &str, family: &str, usage: &str, price: f64) -> Sku {
        let text = format!(
            r#"{{"description": "{description}", "category": {{"resourceFamily": "{family}", "usageType": "{usage}"}},
                "serviceRegions": ["us-central1"], "pricingInfo": [{{"pricingExpression": {{"tieredRates":
                [{{"unitPrice": {{"units": "{}", "nanos": {}}}}}]}}}}]}}"#,
            price.trunc(),
            (price.fract() * 1e9).round()
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn an_entry_says_what_it_is_a_price_of() {
        for (description, family, usage, expected) in [
            (
                "A2 Instance Core running in Americas",
                "Compute",
                "OnDemand",
                Some(("A2 Instance Core", Market::OnDemand)),
            ),
            (
                "Spot Preemptible A2 Instance Ram running in Americas",
                "Compute",
                "Preemptible",
                Some(("A2 Instance Ram", Market::Spot)),
            ),
            (
                "Preemptible N1 Predefined Instance Core running in Iowa",
                "Compute",
                "Preemptible",
                Some(("N1 Predefined Instance Core", Market::Spot)),
            ),
            (
                "Nvidia Tesla A100 80GB GPU attached to Spot Preemptible VMs running in Iowa",
                "Compute",
                "Preemptible",
                Some(("Nvidia Tesla A100 80GB GPU", Market::Spot)),
            ),
            (
                "Nvidia B200 (1 gpu slice) attached to Spot Preemptible VMs running in Iowa",
                "Compute",
                "OnDemand",
                Some(("Nvidia B200 (1 gpu slice)", Market::Spot)),
            ),
            (
                "SSD backed Local Storage in Belgium",
                "Storage",
                "OnDemand",
                Some((LOCAL_SSD, Market::OnDemand)),
            ),
            (
                "SSD backed Local Storage attached to Spot Preemptible VMs in Belgium",
                "Storage",
                "Preemptible",
                Some((LOCAL_SSD, Market::Spot)),
            ),
            (
                "Nvidia Tesla A100 80GB GPU attached to DWS Defined Duration VMs running in Americas",
                "Compute",
                "OnDemand",
                None,
            ),
            (
                "Reserved Nvidia Tesla A100 80GB GPU in Virginia",
                "Compute",
                "OnDemand",
                None,
            ),
            (
                "N1 Predefined Instance Core running in Americas",
                "Compute",
                "Commit1Yr",
                None,
            ),
            (
                "Network Egress via Carrier Peering Network",
                "Network",
                "OnDemand",
                None,
            ),
        ] {
            let sku = sku(description, family, usage, 1.5);
            let part = sku.part().map(|(name, market, _)| (name, market));
            assert_eq!(part, expected, "{description}");
        }
        assert!(
            sku("A2 Instance Core running in Iowa", "Compute", "OnDemand", 0.0)
                .part()
                .is_none()
        );
    }
}
