//! Giving back.

use crate::answer;
use crate::client::Clients;
use crate::look::{LOOK_AGAIN, SETTLE};
use aws_sdk_ec2::Client;
use nvbind_cloud::provider::{ErrorClass, ProviderError, Resource, ResourceKind};
use std::time::Instant;

/// Gives it back. What is not there (any more) is no error; a machine may be there and not be shown yet.
pub(crate) async fn delete(clients: &Clients, resource: &Resource) -> Result<(), ProviderError> {
    let ec2 = clients.ec2(&resource.region);
    let start = Instant::now();
    loop {
        match delete_once(&ec2, resource).await {
            Err(refusal) if refusal.class == ErrorClass::NotFound => {}
            done => return done,
        }
        if resource.kind != ResourceKind::Machine || start.elapsed() > SETTLE {
            return Ok(());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn delete_once(ec2: &Client, resource: &Resource) -> Result<(), ProviderError> {
    let id = resource.id.as_str();
    match resource.kind {
        // A request for a spot machine that was for one time ends with its machine; disk, interface and address go with it.
        ResourceKind::Machine => done(ec2.terminate_instances().instance_ids(id).send().await),
        ResourceKind::Disk => done(ec2.delete_volume().volume_id(id).send().await),
        ResourceKind::Address => done(ec2.release_address().allocation_id(id).send().await),
        ResourceKind::NetworkInterface => done(ec2.delete_network_interface().network_interface_id(id).send().await),
        ResourceKind::Firewall => done(ec2.delete_security_group().group_id(id).send().await),
        ResourceKind::Key => done(ec2.delete_key_pair().key_pair_id(id).send().await),
        ResourceKind::SpotRequest => {
            let call = ec2.cancel_spot_instance_requests().spot_instance_request_ids(id);
            done(call.send().await)
        }
        ResourceKind::Network | ResourceKind::Group => Err(ProviderError::new(
            ErrorClass::Invalid,
            "NotOurs",
            format!("nvbind makes nothing of that kind at AWS: {id}"),
        )),
    }
}

fn done<T, E>(
    answer: Result<
        T,
        aws_smithy_runtime_api::client::result::SdkError<E, aws_smithy_runtime_api::client::orchestrator::HttpResponse>,
    >,
) -> Result<(), ProviderError>
where
    E: aws_smithy_types::error::metadata::ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    answer.map(|_| ()).map_err(answer::write)
}
