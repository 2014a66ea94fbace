//! Looking: who are we, what is that machine doing?

use crate::answer;
use crate::client::Clients;
use crate::image::Images;
use crate::list::filter;
use crate::machine::machine;
use aws_sdk_ec2::types::{Instance, InstanceType};
use nvbind_cloud::provider::{Account, ErrorClass, Machine, MachineRef, ProviderError};
use std::time::{Duration, Instant};

/// How long EC2 may not show what it has just made: mostly less than a second
/// (docs.aws.amazon.com/AWSEC2/latest/APIReference/query-api-troubleshooting.html, "Eventual consistency").
pub(crate) const SETTLE: Duration = Duration::from_secs(3);
/// Between two looks.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// A machine type that every region with GPUs has, for a launch that is none.
const PROBE_TYPE: InstanceType = InstanceType::G4dnXlarge;
const PROBE_IMAGE: &str =
    "resolve:ssm:/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id";

/// Who asks, and whether they may launch: EC2 says so to a call that makes nothing.
pub(crate) async fn check(clients: &Clients, images: &mut Images) -> Result<Account, ProviderError> {
    let identity = clients.identity().get_caller_identity().send().await;
    let identity = identity.map_err(answer::read)?;
    let region = clients.home();
    let image = images.find(clients, &region, PROBE_IMAGE).await?;
    let ec2 = clients.ec2(&region);
    let probe = ec2.run_instances().dry_run(true).min_count(1).max_count(1);
    let probe = probe.image_id(image.id).instance_type(PROBE_TYPE).send().await;
    match probe.map_err(answer::read) {
        Err(refusal) if refusal.code != "DryRunOperation" => Err(refusal),
        _ => Ok(Account {
            id: identity.account.unwrap_or_default(),
            identity: identity.arn.unwrap_or_default(),
        }),
    }
}

/// A machine as it is now. What is not shown is looked for again until it would be.
pub(crate) async fn describe(clients: &Clients, wanted: &MachineRef) -> Result<Option<Machine>, ProviderError> {
    let ec2 = clients.ec2(&wanted.region);
    let start = Instant::now();
    loop {
        let found = match &wanted.id {
            Some(id) => by_id(&ec2, id).await?,
            None => by_token(&ec2, &wanted.token).await?,
        };
        if found.is_some() || start.elapsed() > SETTLE {
            return Ok(found.map(|instance| machine(&instance, &wanted.region)));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn by_id(ec2: &aws_sdk_ec2::Client, id: &str) -> Result<Option<Instance>, ProviderError> {
    let answer = ec2.describe_instances().instance_ids(id).send().await;
    match answer.map_err(answer::read) {
        Ok(answer) => Ok(first(answer.reservations)),
        Err(refusal) if refusal.class == ErrorClass::NotFound => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

async fn by_token(ec2: &aws_sdk_ec2::Client, token: &str) -> Result<Option<Instance>, ProviderError> {
    let call = ec2.describe_instances().filters(filter("client-token", &[token]));
    let answer = call.send().await.map_err(answer::read)?;
    Ok(first(answer.reservations))
}

fn first(reservations: Option<Vec<aws_sdk_ec2::types::Reservation>>) -> Option<Instance> {
    let mut reservations = reservations.unwrap_or_default().into_iter();
    reservations.find_map(|reservation| reservation.instances.unwrap_or_default().into_iter().next())
}
