//! Launching: one call of RunInstances that can be sent again.

use crate::client::Clients;
use crate::image::{Image, Images, default_image};
use crate::machine::machine;
use crate::shared::SharedParts;
use crate::{answer, look, quota, user_data};
use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::types::{
    BlockDeviceMapping, EbsBlockDevice, HttpTokensState, Instance, InstanceInterruptionBehavior,
    InstanceMarketOptionsRequest, InstanceMetadataEndpointState, InstanceMetadataOptionsRequest,
    InstanceNetworkInterfaceSpecification, InstanceType, MarketType, Placement, ResourceType, ShutdownBehavior,
    SpotInstanceType, SpotMarketOptions, Tag, TagSpecification, VolumeType,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nvbind_cloud::catalog::{Catalog, Market};
use nvbind_cloud::provider::{ErrorClass, Machine, MachineRef, Order, ProviderError};
use std::time::{Duration, SystemTime};

/// Tries after the first, where EC2 is busy, has a fault, or cut the connection. A launch that timed out has taken long enough.
const MORE_TRIES: u32 = 2;
/// Longest wait before a try, in milliseconds; the wait is drawn from it.
const WAIT_MS: u128 = 600;

/// Kinds of things that a launch makes, each with the order's tags.
const TAGGED: [ResourceType; 3] = [
    ResourceType::Instance,
    ResourceType::Volume,
    ResourceType::NetworkInterface,
];

/// Launches machines.
pub(crate) struct Launcher<'a> {
    pub(crate) clients: &'a Clients,
    pub(crate) catalog: &'a Catalog,
    pub(crate) images: &'a mut Images,
    pub(crate) shared: &'a mut SharedParts,
}

impl Launcher<'_> {
    /// Orders the machine, or finds the one that this order has made before.
    pub(crate) async fn launch(&mut self, order: &Order) -> Result<Machine, ProviderError> {
        let script = user_data::script(order)?;
        let image = match &order.image {
            Some(image) => image.clone(),
            None => default_image(self.catalog, &order.instance_type),
        };
        let (clients, shared) = (self.clients, &mut *self.shared);
        let (image, _) = tokio::try_join!(
            self.images.find(clients, &order.region, &image),
            shared.ensure(clients, order)
        )?;
        let ec2 = self.clients.ec2(&order.region);
        let launched = self.run_until_clear(&ec2, order, &image, &script).await;
        match launched {
            Ok(instance) => {
                cancel_request(&ec2, &instance).await;
                Ok(machine(&instance, &order.region))
            }
            Err(refusal) if refusal.code.starts_with("Idempotent") => self.made_before(order, refusal).await,
            Err(refusal) => Err(quota::with_need(refusal, order, self.catalog).leaving_something()),
        }
    }

    /// Sends the launch again where that is likely to help. The token makes sure that it is one launch.
    async fn run_until_clear(
        &mut self,
        ec2: &Client,
        order: &Order,
        image: &Image,
        script: &str,
    ) -> Result<Instance, ProviderError> {
        let mut tries = 0;
        loop {
            let group = self.shared.ensure(self.clients, order).await?;
            let refusal = match run(ec2, order, image, &group, script).await {
                Ok(instance) => return Ok(instance),
                Err(refusal) => refusal,
            };
            let is_without_parts =
                ["InvalidGroup.NotFound", "InvalidKeyPair.NotFound"].contains(&refusal.code.as_str());
            if is_without_parts {
                // Removed meanwhile, or too new to be known everywhere.
                self.shared.forget(order);
            }
            if tries == MORE_TRIES || !(is_without_parts || is_passing(&refusal)) {
                return Err(refusal);
            }
            tries += 1;
            tokio::time::sleep(wait()).await;
        }
    }

    /// EC2 knows the token: with other particulars (there is a newer image, say), or its machine has ended.
    async fn made_before(&self, order: &Order, refusal: ProviderError) -> Result<Machine, ProviderError> {
        let wanted = MachineRef {
            region: order.region.clone(),
            zone: order.zone.clone(),
            name: order.name.clone(),
            token: order.token.clone(),
            id: None,
        };
        match look::describe(self.clients, &wanted).await? {
            Some(machine) => Ok(machine),
            // It ended so long ago that EC2 does not show it any more.
            None if refusal.code == "IdempotentInstanceTerminated" => Err(ProviderError {
                class: ErrorClass::NotFound,
                ..refusal
            }),
            None => Err(refusal),
        }
    }
}

fn is_passing(refusal: &ProviderError) -> bool {
    matches!(refusal.class, ErrorClass::Throttled | ErrorClass::Transient) && refusal.code != "Timeout"
}

/// Half of the longest wait and up to as much again, by the clock's last digits.
fn wait() -> Duration {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let drawn = u64::try_from(now.as_nanos() % (WAIT_MS / 2)).unwrap_or(0);
    Duration::from_millis(drawn + 300)
}

async fn run(ec2: &Client, order: &Order, image: &Image, group: &str, script: &str) -> Result<Instance, ProviderError> {
    let call = ec2
        .run_instances()
        .client_token(&order.token)
        .min_count(1)
        .max_count(1)
        .image_id(&image.id)
        .instance_type(InstanceType::from(order.instance_type.as_str()))
        .key_name(order.shared_name())
        .set_placement(placement(order))
        .set_instance_market_options(market(order))
        .instance_initiated_shutdown_behavior(ShutdownBehavior::Terminate)
        .block_device_mappings(disk(order, image))
        .network_interfaces(interface(group))
        .metadata_options(metadata())
        .set_tag_specifications(Some(tags(order)))
        .user_data(STANDARD.encode(script));
    // EC2 answers "no capacity" with status 500, which the SDK would take for a fault and send again.
    let once = aws_sdk_ec2::config::Builder::new().retry_config(RetryConfig::disabled());
    let answer = call.customize().config_override(once).send().await;
    let instances = answer.map_err(answer::write)?.instances.unwrap_or_default();
    instances.into_iter().next().ok_or_else(|| ProviderError {
        is_ambiguous: true,
        ..ProviderError::new(
            ErrorClass::Unknown,
            "EmptyAnswer",
            "EC2 accepted the launch and named no machine",
        )
    })
}

/// A request for one machine has done its work; left open it would stay listed as long as the machine. That this fails matters to nobody.
async fn cancel_request(ec2: &Client, instance: &Instance) {
    let Some(request) = instance.spot_instance_request_id() else {
        return;
    };
    let call = ec2.cancel_spot_instance_requests().spot_instance_request_ids(request);
    let _ = call.send().await;
}

fn placement(order: &Order) -> Option<Placement> {
    let zone = order.zone.as_ref()?;
    Some(Placement::builder().availability_zone(zone).build())
}

fn market(order: &Order) -> Option<InstanceMarketOptionsRequest> {
    if order.market == Market::OnDemand {
        return None;
    }
    let spot = SpotMarketOptions::builder()
        .spot_instance_type(SpotInstanceType::OneTime)
        .instance_interruption_behavior(InstanceInterruptionBehavior::Terminate);
    let options = InstanceMarketOptionsRequest::builder().market_type(MarketType::Spot);
    Some(options.spot_options(spot.build()).build())
}

fn disk(order: &Order, image: &Image) -> BlockDeviceMapping {
    let gib = i32::try_from(order.disk_gib).unwrap_or(i32::MAX).max(image.disk_gib);
    let disk = EbsBlockDevice::builder()
        .volume_size(gib)
        .volume_type(VolumeType::Gp3)
        .delete_on_termination(true);
    BlockDeviceMapping::builder()
        .device_name(&image.root_device)
        .ebs(disk.build())
        .build()
}

/// An interface in the zone's default subnet, with an address whatever that subnet's setting is.
fn interface(group: &str) -> InstanceNetworkInterfaceSpecification {
    InstanceNetworkInterfaceSpecification::builder()
        .device_index(0)
        .associate_public_ip_address(true)
        .delete_on_termination(true)
        .groups(group)
        .build()
}

/// The metadata service answers those who show a token; containers, two hops away, do not reach it.
fn metadata() -> InstanceMetadataOptionsRequest {
    InstanceMetadataOptionsRequest::builder()
        .http_endpoint(InstanceMetadataEndpointState::Enabled)
        .http_tokens(HttpTokensState::Required)
        .http_put_response_hop_limit(1)
        .build()
}

fn tags(order: &Order) -> Vec<TagSpecification> {
    let name = [("Name", order.name.clone())];
    let tags: Vec<Tag> = name
        .into_iter()
        .chain(order.tags())
        .map(|(key, value)| Tag::builder().key(key).value(value).build())
        .collect();
    let spot = (order.market == Market::Spot).then_some(ResourceType::SpotInstancesRequest);
    TAGGED
        .into_iter()
        .chain(spot)
        .map(|kind| {
            TagSpecification::builder()
                .resource_type(kind)
                .set_tags(Some(tags.clone()))
                .build()
        })
        .collect()
}
