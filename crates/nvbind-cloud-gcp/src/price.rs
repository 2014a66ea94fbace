//! What a machine costs an hour, put together from the price list.

use crate::connect::Session;
use crate::kind::{Kind, MachineType};
use crate::sku::{LOCAL_SSD, PriceList};
use nvbind_cloud::catalog::{Instance, Market, Status};
use nvbind_cloud::provider::{LivePrice, PriceQuery, ProviderError};
use std::time::SystemTime;

impl Session {
    /// Prices of these machine types in these regions. They are list prices: the same in all zones, on spot too.
    pub(crate) async fn prices(&self, query: &PriceQuery) -> Result<Vec<LivePrice>, ProviderError> {
        let list = self.price_list(&query.regions).await?;
        let at = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |time| time.as_secs());
        let wanted = self
            .catalog()
            .filter(|instance| query.instance_types.contains(&instance.instance_type));
        let mut prices = Vec::new();
        for instance in wanted {
            let Ok(machine_type) = MachineType::parse(&instance.instance_type) else {
                continue;
            };
            for (region, market) in places(&query.regions, instance) {
                let hour = hour(&list, instance, machine_type.kind, region, market);
                prices.extend(hour.map(|usd_h| LivePrice {
                    instance_type: instance.instance_type.clone(),
                    region: region.clone(),
                    zone: None,
                    market,
                    usd_h,
                    at,
                }));
            }
        }
        Ok(prices)
    }
}

/// Where and how it can be bought: machines that are not sold on demand have a price all the same.
fn places<'a>(regions: &'a [String], instance: &'a Instance) -> impl Iterator<Item = (&'a String, Market)> {
    let markets: &[Market] = match instance.status {
        Status::Current => &[Market::OnDemand, Market::Spot],
        Status::Restricted => &[Market::Spot],
        Status::Retired => &[],
    };
    regions
        .iter()
        .flat_map(move |region| markets.iter().map(move |market| (region, *market)))
}

/// Cores, memory, GPUs and the local SSD that comes along; `None` where a part has no price there.
fn hour(list: &PriceList, instance: &Instance, kind: &Kind, region: &str, market: Market) -> Option<f64> {
    let price = |names: Vec<String>| list.first(&names, region, market);
    let named = |part: &str| kind.machine_names.iter().map(|name| format!("{name} {part}")).collect();
    let mut sum = instance.gpus * price(kind.gpu_names.iter().map(ToString::to_string).collect())?;
    if !kind.machine_names.is_empty() {
        sum += instance.vcpus * price(named("Core"))? + instance.memory_gib * price(named("Ram"))?;
    }
    if kind.ssd_gib_per_gpu > 0.0 {
        sum += instance.gpus * kind.ssd_gib_per_gpu * price(vec![LOCAL_SSD.to_owned()])?;
    }
    Some((sum * 1e6).round() / 1e6)
}
