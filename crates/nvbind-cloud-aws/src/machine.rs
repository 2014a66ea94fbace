//! An EC2 instance as nvbind sees it.

use crate::list::{market_of, tag};
use aws_sdk_ec2::types::{Instance, InstanceStateName};
use nvbind_cloud::catalog::Market;
use nvbind_cloud::provider::{Machine, MachineState};

/// Reasons by which EC2 takes spot machines back (docs.aws.amazon.com/AWSEC2/latest/APIReference/API_StateReason.html).
const TAKEN_BACK: [&str; 3] = [
    "Server.SpotInstanceTermination",
    "Server.SpotInstanceShutdown",
    "Server.InsufficientInstanceCapacity",
];

/// A machine as it is now.
pub(crate) fn machine(instance: &Instance, region: &str) -> Machine {
    let state = state_of(instance);
    let reason = instance.state_reason();
    let code = reason.and_then(|reason| reason.code()).unwrap_or_default();
    let message = reason.and_then(|reason| reason.message()).unwrap_or_default();
    let has_ended = !matches!(state, MachineState::Pending | MachineState::Running);
    let text = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    Machine {
        id: instance.instance_id().unwrap_or_default().to_owned(),
        name: tag(instance.tags(), "Name").unwrap_or_default().to_owned(),
        region: region.to_owned(),
        zone: text(instance.placement().and_then(|placement| placement.availability_zone())),
        instance_type: instance.instance_type().map_or("", |name| name.as_str()).to_owned(),
        market: Some(market_of(instance)),
        state,
        address: text(instance.public_ip_address()),
        private_address: text(instance.private_ip_address()),
        created_at: instance.launch_time().and_then(|time| u64::try_from(time.secs()).ok()),
        ended_because: text(Some(message)).filter(|_| has_ended),
        is_interrupted: has_ended && market_of(instance) == Market::Spot && TAKEN_BACK.contains(&code),
    }
}

/// What it is doing. On its way down it is not paid for any more, but what it uses cannot be removed yet.
pub(crate) fn state_of(instance: &Instance) -> MachineState {
    let name = instance.state().and_then(|state| state.name());
    match name {
        Some(InstanceStateName::Running) => MachineState::Running,
        Some(InstanceStateName::Stopped) => MachineState::Stopped,
        Some(InstanceStateName::Stopping | InstanceStateName::ShuttingDown) => MachineState::Stopping,
        Some(InstanceStateName::Terminated) => MachineState::Gone,
        _ => MachineState::Pending,
    }
}
