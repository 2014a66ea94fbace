//! Prices as they are now, by the Retail Prices API: it asks nobody who they are.

use crate::arm::{Call, Service};
use crate::vm::now;
use nvbind_cloud::catalog::Market;
use nvbind_cloud::provider::{LivePrice, ProviderError};
use serde::Deserialize;
use std::collections::BTreeMap;

const VERSION: &str = "2023-01-01-preview";

/// How many machine types are asked for in one call: the filter is part of the URL.
const AT_ONCE: usize = 10;

/// What is asked for, beside region and machine types: Linux, by the hour, on no dedicated host. The old "Low Priority" is not spot.
const FILTER: &str = "serviceName eq 'Virtual Machines' and priceType eq 'Consumption' and contains(productName, 'Windows') eq false and \
                      contains(productName, 'Dedicated') eq false and contains(meterName, 'Low Priority') eq false";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    items: Vec<Item>,
    #[serde(default)]
    next_page_link: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    arm_sku_name: String,
    arm_region_name: String,
    sku_name: String,
    retail_price: f64,
    currency_code: String,
    unit_of_measure: String,
    #[serde(default)]
    effective_start_date: String,
}

impl Item {
    /// A price of 0 is a placeholder.
    fn is_price(&self) -> bool {
        self.retail_price > 0.0 && self.currency_code == "USD" && self.unit_of_measure == "1 Hour"
    }

    fn market(&self) -> Market {
        match self.sku_name.ends_with(" Spot") {
            true => Market::Spot,
            false => Market::OnDemand,
        }
    }
}

/// Prices of machine types in a region; of several for one thing the newest that is in force.
pub(crate) async fn prices(
    service: &Service,
    region: &str,
    instance_types: &[String],
) -> Result<Vec<LivePrice>, ProviderError> {
    let mut newest: BTreeMap<(String, bool), Item> = BTreeMap::new();
    for types in instance_types.chunks(AT_ONCE) {
        for item in items(service, region, types).await? {
            if !item.is_price() || item.arm_region_name != region {
                continue;
            }
            let key = (item.arm_sku_name.clone(), item.market() == Market::Spot);
            let known = newest.get(&key).map(|known| known.effective_start_date.as_str());
            if known.is_none_or(|known| known < item.effective_start_date.as_str()) {
                newest.insert(key, item);
            }
        }
    }
    let at = now();
    Ok(newest.into_values().map(|item| price(item, at)).collect())
}

fn price(item: Item, at: u64) -> LivePrice {
    LivePrice {
        market: item.market(),
        instance_type: item.arm_sku_name,
        region: item.arm_region_name,
        zone: None,
        usd_h: item.retail_price,
        at,
    }
}

async fn items(service: &Service, region: &str, types: &[String]) -> Result<Vec<Item>, ProviderError> {
    let types: Vec<String> = types.iter().map(|name| format!("armSkuName eq '{name}'")).collect();
    let filter = format!("{FILTER} and armRegionName eq '{region}' and ({})", types.join(" or "));
    let call = Call::get("/api/retail/prices", VERSION).query("$filter", filter);
    let mut all: Vec<Item> = Vec::new();
    loop {
        let page: Page = service
            .send(&call.clone().query("$skip", all.len().to_string()))
            .await?
            .json()?;
        let is_last = page.items.is_empty() || page.next_page_link.is_none();
        all.extend(page.items);
        if is_last {
            return Ok(all);
        }
    }
}
