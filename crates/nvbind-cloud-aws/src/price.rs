//! Prices as they are now: on demand from the price list, on spot from EC2; of types that are sold there.

use crate::answer;
use crate::client::Clients;
use crate::list::filter;
use aws_sdk_ec2::types::{InstanceType, LocationType};
use aws_sdk_pricing::types::{Filter, FilterType};
use aws_smithy_types::DateTime;
use futures_util::future::try_join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use nvbind_cloud::catalog::Market;
use nvbind_cloud::provider::{LivePrice, PriceQuery, ProviderError};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

/// Calls to the price list at a time: it throttles early.
const CALLS_AT_A_TIME: usize = 4;

/// What a row of the price list must have to be the price of a plain Linux machine.
const PLAIN_LINUX: [(&str, &str); 4] = [
    ("operatingSystem", "Linux"),
    ("tenancy", "Shared"),
    ("capacitystatus", "Used"),
    ("preInstalledSw", "NA"),
];

/// Machine type and region.
type Place = (String, String);

/// The prices. A price is no proof that a type is sold: only what EC2 offers in the region counts.
pub(crate) async fn prices(clients: &Clients, query: &PriceQuery) -> Result<Vec<LivePrice>, ProviderError> {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let by_region = query.regions.iter().map(|region| spot(clients, region, query));
    let offered = query.regions.iter().map(|region| offered(clients, region, query));
    let (on_demand, spot, offered) = tokio::try_join!(
        on_demand(clients, query),
        try_join_all(by_region),
        try_join_all(offered)
    )?;
    let offered: BTreeSet<Place> = offered.into_iter().flatten().collect();
    let spot = spot
        .into_iter()
        .flatten()
        .filter(|price| has_capacity(price, &on_demand));
    let fixed = on_demand.iter().map(|((instance_type, region), usd_h)| LivePrice {
        instance_type: instance_type.clone(),
        region: region.clone(),
        zone: None,
        market: Market::OnDemand,
        usd_h: *usd_h,
        at: now.as_secs(),
    });
    Ok(fixed
        .chain(spot)
        .filter(|price| offered.contains(&(price.instance_type.clone(), price.region.clone())))
        .collect())
}

/// Where a zone has no spot capacity, AWS shows the price on demand.
fn has_capacity(spot: &LivePrice, on_demand: &BTreeMap<Place, f64>) -> bool {
    let place = (spot.instance_type.clone(), spot.region.clone());
    on_demand.get(&place).is_none_or(|usd_h| spot.usd_h < *usd_h)
}

async fn offered(clients: &Clients, region: &str, query: &PriceQuery) -> Result<Vec<Place>, ProviderError> {
    let wanted: Vec<&str> = query.instance_types.iter().map(String::as_str).collect();
    let call = clients.ec2(region).describe_instance_type_offerings();
    let call = call.location_type(LocationType::Region);
    let call = call.filters(filter("instance-type", &wanted));
    let offers = call.into_paginator().items().send().try_collect().await;
    let offers = offers.map_err(answer::read)?;
    Ok(offers
        .into_iter()
        .filter_map(|offer| Some((offer.instance_type?.to_string(), region.to_owned())))
        .collect())
}

async fn spot(clients: &Clients, region: &str, query: &PriceQuery) -> Result<Vec<LivePrice>, ProviderError> {
    let types = query
        .instance_types
        .iter()
        .map(|name| InstanceType::from(name.as_str()));
    let call = clients.ec2(region).describe_spot_price_history();
    let call = call.set_instance_types(Some(types.collect()));
    let call = call.product_descriptions("Linux/UNIX");
    // From now on: the price that holds now, in each zone.
    let call = call.start_time(DateTime::from(SystemTime::now()));
    let pages = call.into_paginator().items().send();
    let prices = pages.try_collect().await.map_err(answer::read)?;
    Ok(prices.iter().filter_map(|price| spot_price(price, region)).collect())
}

fn spot_price(price: &aws_sdk_ec2::types::SpotPrice, region: &str) -> Option<LivePrice> {
    let usd_h: f64 = price.spot_price()?.parse().ok()?;
    let at = price.timestamp().and_then(|time| u64::try_from(time.secs()).ok());
    let is_price = usd_h.is_finite() && usd_h > 0.0;
    is_price.then_some(LivePrice {
        instance_type: price.instance_type()?.to_string(),
        region: region.to_owned(),
        zone: price.availability_zone().map(str::to_owned),
        market: Market::Spot,
        usd_h,
        at: at?,
    })
}

/// One question for each type, which answers for all regions.
async fn on_demand(clients: &Clients, query: &PriceQuery) -> Result<BTreeMap<Place, f64>, ProviderError> {
    let client = clients.price_list();
    let calls = query.instance_types.iter().map(|name| price_rows(&client, name));
    let rows: Vec<Vec<String>> = stream::iter(calls)
        .buffer_unordered(CALLS_AT_A_TIME)
        .try_collect()
        .await?;
    let rows = rows.iter().flatten().filter_map(|row| on_demand_price(row));
    Ok(rows.filter(|((_, region), _)| query.regions.contains(region)).collect())
}

async fn price_rows(client: &aws_sdk_pricing::Client, instance_type: &str) -> Result<Vec<String>, ProviderError> {
    let fields = PLAIN_LINUX.into_iter().chain([("instanceType", instance_type)]);
    let filters = fields.filter_map(|(field, value)| {
        let filter = Filter::builder()
            .r#type(FilterType::TermMatch)
            .field(field)
            .value(value);
        filter.build().ok()
    });
    let call = client.get_products().service_code("AmazonEC2");
    let call = call.set_filters(Some(filters.collect()));
    let pages = call.into_paginator().items().send();
    pages.try_collect().await.map_err(answer::read)
}

/// What a row of the price list (JSON) says an hour costs, and where.
fn on_demand_price(row: &str) -> Option<(Place, f64)> {
    let row: Value = serde_json::from_str(row).ok()?;
    let attributes = &row["product"]["attributes"];
    let text = |name: &str| attributes[name].as_str();
    let is_plain = PLAIN_LINUX.iter().all(|(name, value)| text(name) == Some(value));
    let is_on_demand = text("marketoption").is_none_or(|market| market == "OnDemand");
    if !is_plain || !is_on_demand {
        return None;
    }
    let terms = row["terms"]["OnDemand"].as_object()?.values();
    let mut prices = terms.filter_map(|term| term["priceDimensions"].as_object());
    let price = prices.find_map(|prices| prices.values().find(|price| price["unit"] == "Hrs"))?;
    let usd_h: f64 = price["pricePerUnit"]["USD"].as_str()?.parse().ok()?;
    // The price list has rows at 0 for what is not sold on demand.
    let place = (text("instanceType")?.to_owned(), text("regionCode")?.to_owned());
    (usd_h.is_finite() && usd_h > 0.0).then_some((place, usd_h))
}
