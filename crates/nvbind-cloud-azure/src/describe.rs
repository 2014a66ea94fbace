//! A machine as it is now.

use crate::arm::{Call, Service};
use crate::id::{COMPUTE, NETWORK, subscription_id};
use crate::vm::{Interface, Vm};
use nvbind_cloud::provider::{Machine, MachineRef, ProviderError, TAG_TOKEN};

/// A machine, by its id, or by name and token among all of the region.
pub(crate) async fn describe(
    arm: &Service,
    subscription: &str,
    wanted: &MachineRef,
) -> Result<Option<Machine>, ProviderError> {
    let id = match &wanted.id {
        Some(id) => Some(id.clone()),
        None => find_id(arm, subscription, wanted).await?,
    };
    let Some(id) = id else { return Ok(None) };
    let call = Call::get(id, COMPUTE).query("$expand", "instanceView");
    let Some(answer) = arm.find(&call).await? else {
        return Ok(None);
    };
    let vm: Vm = answer.json()?;
    let (address, private_address) = addresses(arm, &vm).await?;
    Ok(Some(Machine {
        address,
        private_address,
        ..vm.machine()
    }))
}

/// Microsoft.Compute's own list: Resource Manager's look-up by tag lags behind.
async fn find_id(arm: &Service, subscription: &str, wanted: &MachineRef) -> Result<Option<String>, ProviderError> {
    let path = format!(
        "{}/providers/Microsoft.Compute/locations/{}/virtualMachines",
        subscription_id(subscription),
        wanted.region
    );
    let machines: Vec<Vm> = arm.list(&Call::get(path, COMPUTE)).await?;
    let is_wanted =
        |vm: &Vm| vm.name.eq_ignore_ascii_case(&wanted.name) && vm.tags.get(TAG_TOKEN) == Some(&wanted.token);
    Ok(machines.into_iter().find(is_wanted).map(|vm| vm.id))
}

/// The address from outside, and that in its network; none while the interface is being made or is gone.
async fn addresses(arm: &Service, vm: &Vm) -> Result<(Option<String>, Option<String>), ProviderError> {
    let Some(interface) = vm.interface() else {
        return Ok((None, None));
    };
    let call = Call::get(interface, NETWORK).query("$expand", "ipConfigurations/publicIPAddress");
    match arm.find(&call).await? {
        Some(answer) => Ok(answer.json::<Interface>()?.addresses()),
        None => Ok((None, None)),
    }
}
