//! Everything at AWS that carries our tag.

use crate::answer;
use crate::client::Clients;
use crate::machine::state_of;
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, Instance, InstanceLifecycleType, Tag};
use futures_util::{StreamExt, TryStreamExt, stream};
use nvbind_cloud::catalog::Market;
use nvbind_cloud::provider::{MachineState, ProviderError, Resource, ResourceKind, TAG_OWNER};

/// Regions that are asked at a time, seven questions each.
const REGIONS_AT_A_TIME: usize = 8;

type Found = Result<Vec<Resource>, ProviderError>;

/// Everything in these regions; in all regions of the account where none is named.
pub(crate) async fn list(clients: &Clients, owner: &str, regions: &[String]) -> Found {
    let regions = match regions {
        [] => all_regions(clients).await?,
        some => some.to_vec(),
    };
    let calls = regions.iter().map(|region| list_region(clients, owner, region));
    let found: Vec<Vec<Resource>> = stream::iter(calls).buffered(REGIONS_AT_A_TIME).try_collect().await?;
    Ok(found.concat())
}

async fn all_regions(clients: &Clients) -> Result<Vec<String>, ProviderError> {
    let answer = clients.ec2(&clients.home()).describe_regions().send().await;
    let regions = answer.map_err(answer::read)?.regions.unwrap_or_default();
    Ok(regions.into_iter().filter_map(|region| region.region_name).collect())
}

async fn list_region(clients: &Clients, owner: &str, region: &str) -> Found {
    let ec2 = clients.ec2(region);
    let ours = filter(&format!("tag:{TAG_OWNER}"), &[owner]);
    let (machines, disks, groups, keys, addresses, interfaces, requests) = tokio::try_join!(
        machines(&ec2, ours.clone()),
        disks(&ec2, ours.clone()),
        groups(&ec2, ours.clone()),
        keys(&ec2, ours.clone()),
        addresses(&ec2, ours.clone()),
        interfaces(&ec2, ours.clone()),
        requests(&ec2, ours),
    )?;
    let found = [machines, requests, disks, interfaces, addresses, groups, keys].concat();
    let region = region.to_owned();
    Ok(found
        .into_iter()
        .map(|resource| Resource {
            region: region.clone(),
            ..resource
        })
        .collect())
}

async fn machines(ec2: &Client, ours: Filter) -> Found {
    let pages = ec2.describe_instances().filters(ours).into_paginator().items().send();
    let reservations = pages.try_collect().await.map_err(answer::read)?;
    let instances = reservations.iter().flat_map(aws_sdk_ec2::types::Reservation::instances);
    Ok(instances
        .filter(|instance| state_of(instance) != MachineState::Gone)
        .map(|instance| Resource {
            zone: zone_of(instance),
            instance_type: instance.instance_type().map(ToString::to_string),
            market: Some(market_of(instance)),
            state: Some(state_of(instance)),
            created_at: instance.launch_time().and_then(|time| u64::try_from(time.secs()).ok()),
            ..resource(ResourceKind::Machine, instance.instance_id(), instance.tags())
        })
        .collect())
}

/// Disks that are no machine's: those of machines go with them.
async fn disks(ec2: &Client, ours: Filter) -> Found {
    let call = ec2.describe_volumes().filters(ours);
    let call = call.filters(filter("status", &["creating", "available", "error"]));
    let volumes = call.into_paginator().items().send().try_collect().await;
    let volumes = volumes.map_err(answer::read)?;
    Ok(volumes
        .iter()
        .map(|volume| resource(ResourceKind::Disk, volume.volume_id(), volume.tags()))
        .collect())
}

async fn groups(ec2: &Client, ours: Filter) -> Found {
    let call = ec2.describe_security_groups().filters(ours);
    let groups = call.into_paginator().items().send().try_collect().await;
    let groups = groups.map_err(answer::read)?;
    Ok(groups
        .iter()
        .map(|group| Resource {
            name: group.group_name().unwrap_or_default().to_owned(),
            ..resource(ResourceKind::Firewall, group.group_id(), group.tags())
        })
        .collect())
}

async fn keys(ec2: &Client, ours: Filter) -> Found {
    let answer = ec2.describe_key_pairs().filters(ours).send().await;
    let keys = answer.map_err(answer::read)?.key_pairs.unwrap_or_default();
    Ok(keys
        .iter()
        .map(|key| Resource {
            name: key.key_name().unwrap_or_default().to_owned(),
            ..resource(ResourceKind::Key, key.key_pair_id(), key.tags())
        })
        .collect())
}

async fn addresses(ec2: &Client, ours: Filter) -> Found {
    let answer = ec2.describe_addresses().filters(ours).send().await;
    let addresses = answer.map_err(answer::read)?.addresses.unwrap_or_default();
    Ok(addresses
        .iter()
        .map(|address| resource(ResourceKind::Address, address.allocation_id(), address.tags()))
        .collect())
}

async fn interfaces(ec2: &Client, ours: Filter) -> Found {
    let call = ec2.describe_network_interfaces().filters(ours);
    let call = call.filters(filter("status", &["available"]));
    let interfaces = call.into_paginator().items().send().try_collect().await;
    let interfaces = interfaces.map_err(answer::read)?;
    Ok(interfaces
        .iter()
        .map(|interface| {
            resource(
                ResourceKind::NetworkInterface,
                interface.network_interface_id(),
                interface.tag_set(),
            )
        })
        .collect())
}

async fn requests(ec2: &Client, ours: Filter) -> Found {
    let call = ec2.describe_spot_instance_requests().filters(ours);
    let call = call.filters(filter("state", &["open", "active"]));
    let requests = call.into_paginator().items().send().try_collect().await;
    let requests = requests.map_err(answer::read)?;
    Ok(requests
        .iter()
        .map(|request| {
            resource(
                ResourceKind::SpotRequest,
                request.spot_instance_request_id(),
                request.tags(),
            )
        })
        .collect())
}

fn resource(kind: ResourceKind, id: Option<&str>, tags: &[Tag]) -> Resource {
    Resource {
        kind,
        id: id.unwrap_or_default().to_owned(),
        name: tag(tags, "Name").unwrap_or_default().to_owned(),
        region: String::new(),
        zone: None,
        tags: tags
            .iter()
            .filter_map(|tag| Some((tag.key.clone()?, tag.value.clone()?)))
            .collect(),
        instance_type: None,
        market: None,
        state: None,
        created_at: None,
    }
}

fn zone_of(instance: &Instance) -> Option<String> {
    let placement = instance.placement()?;
    placement.availability_zone().map(str::to_owned)
}

/// A filter of EC2's describing calls.
pub(crate) fn filter(name: &str, values: &[&str]) -> Filter {
    let values = values.iter().map(ToString::to_string).collect();
    Filter::builder().name(name).set_values(Some(values)).build()
}

/// The value of a tag.
pub(crate) fn tag<'a>(tags: &'a [Tag], key: &str) -> Option<&'a str> {
    tags.iter().find(|tag| tag.key() == Some(key))?.value()
}

/// How a machine is sold.
pub(crate) fn market_of(instance: &Instance) -> Market {
    match instance.instance_lifecycle() {
        Some(InstanceLifecycleType::Spot) => Market::Spot,
        _ => Market::OnDemand,
    }
}
