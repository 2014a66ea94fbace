//! What is left of EC2's quotas, and which of them stood in a launch's way.

use crate::answer;
use crate::client::Clients;
use crate::family::{family_of, parse_title, vcpus};
use crate::list::{filter, market_of};
use aws_sdk_ec2::types::Instance;
use aws_sdk_servicequotas::types::ServiceQuota;
use nvbind_cloud::catalog::{Catalog, Market, ProviderName};
use nvbind_cloud::provider::{ErrorClass, Order, ProviderError, Quota, QuotaNeed, QuotaUnit};

/// The quotas that count machine types of the catalog. AWS tells no usage: what runs is counted.
pub(crate) async fn quotas(clients: &Clients, catalog: &Catalog, region: &str) -> Result<Vec<Quota>, ProviderError> {
    let (listed, running) = tokio::try_join!(listed(clients, region), running(clients, region))?;
    Ok(listed
        .iter()
        .filter_map(|quota| counted(quota, &running, catalog, region))
        .collect())
}

async fn listed(clients: &Clients, region: &str) -> Result<Vec<ServiceQuota>, ProviderError> {
    let call = clients.quotas(region).list_service_quotas().service_code("ec2");
    let pages = call.into_paginator().items().send();
    pages.try_collect().await.map_err(answer::read)
}

async fn running(clients: &Clients, region: &str) -> Result<Vec<Instance>, ProviderError> {
    let call = clients.ec2(region).describe_instances();
    let call = call.filters(filter("instance-state-name", &["pending", "running"]));
    let pages = call.into_paginator().items().send();
    let reservations = pages.try_collect().await.map_err(answer::read)?;
    Ok(reservations
        .into_iter()
        .flat_map(|reservation| reservation.instances.unwrap_or_default())
        .collect())
}

fn counted(quota: &ServiceQuota, running: &[Instance], catalog: &Catalog, region: &str) -> Option<Quota> {
    let title = quota.quota_name()?;
    let (market, prefixes) = parse_title(title)?;
    let counts = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let instance_types: Vec<String> = catalog
        .instances()
        .iter()
        .filter(|instance| instance.provider == ProviderName::Aws && counts(&instance.instance_type))
        .map(|instance| instance.instance_type.clone())
        .collect();
    if instance_types.is_empty() {
        return None;
    }
    let used = running
        .iter()
        .filter(|instance| market_of(instance) == market && counts(type_of(instance)))
        .map(|instance| vcpus_of(instance, catalog));
    Some(Quota {
        name: quota.quota_code()?.to_owned(),
        title: title.to_owned(),
        region: region.to_owned(),
        instance_types,
        market: Some(market),
        unit: QuotaUnit::Vcpus,
        limit: quota.value()?,
        used: used.sum(),
    })
}

fn type_of(instance: &Instance) -> &str {
    instance.instance_type().map_or("", |name| name.as_str())
}

fn vcpus_of(instance: &Instance, catalog: &Catalog) -> f64 {
    let shown = instance.cpu_options().and_then(|cpus| {
        let threads = cpus.core_count()?.checked_mul(cpus.threads_per_core()?)?;
        Some(f64::from(threads))
    });
    vcpus(catalog, type_of(instance)).or(shown).unwrap_or(0.0)
}

/// The refusal with the quota that it is about, as far as the answer and the catalog tell.
pub(crate) fn with_need(refusal: ProviderError, order: &Order, catalog: &Catalog) -> ProviderError {
    if refusal.class != ErrorClass::Quota {
        return refusal;
    }
    let is_of_vcpus = match refusal.code.as_str() {
        "VcpuLimitExceeded" | "InstanceLimitExceeded" => Some(Market::OnDemand),
        "MaxSpotInstanceCountExceeded" => Some(Market::Spot),
        _ => None,
    };
    let family = is_of_vcpus.and_then(|_| family_of(&order.instance_type, order.market));
    let need = QuotaNeed {
        name: family.map_or_else(|| refusal.code.clone(), |family| family.code.to_owned()),
        limit: limit_in(&refusal.message),
        need: is_of_vcpus.and_then(|_| vcpus(catalog, &order.instance_type)),
    };
    ProviderError {
        quota: Some(need),
        ..refusal
    }
}

/// The number after "limit of" in EC2's message.
fn limit_in(message: &str) -> Option<f64> {
    let (_, rest) = message.split_once("limit of ")?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_read_from_the_message() {
        let message =
            "You have requested more vCPU capacity than your current vCPU limit of 64 allows for the instance bucket";
        assert_eq!(limit_in(message), Some(64.0));
        assert_eq!(limit_in("Max spot instance count exceeded"), None);
    }
}
