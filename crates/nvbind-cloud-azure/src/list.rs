//! Everything of ours, and giving it back.

use crate::arm::{Call, Service};
use crate::id::{COMPUTE, Group, RESOURCES, kind_of, subscription_id, version_for};
use crate::vm::Vm;
use azure_core::time::parse_rfc3339;
use nvbind_cloud::provider::{ErrorClass, ProviderError, Resource, ResourceKind, TAG_OWNER};
use serde::Deserialize;
use std::collections::BTreeMap;

/// A resource group, or anything in one, as Resource Manager lists it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    id: String,
    name: String,
    #[serde(default, rename = "type")]
    resource_type: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    tags: Option<BTreeMap<String, String>>,
    #[serde(default)]
    zones: Vec<String>,
    #[serde(default)]
    created_time: Option<String>,
}

/// All of an owner: the resource groups that carry the tag, with what is in them. No region named means all regions.
pub(crate) async fn list(
    arm: &Service,
    subscription: &str,
    owner: &str,
    regions: &[String],
) -> Result<Vec<Resource>, ProviderError> {
    let filter = format!("tagName eq '{TAG_OWNER}' and tagValue eq '{owner}'");
    let call =
        Call::get(format!("{}/resourceGroups", subscription_id(subscription)), RESOURCES).query("$filter", filter);
    let groups: Vec<Listed> = arm.list(&call).await?;
    let mut all = Vec::new();
    for group in groups {
        if regions.is_empty() || regions.contains(&group.location) {
            all.append(&mut contents(arm, &group).await?);
            all.push(group.into_resource(ResourceKind::Group, &BTreeMap::new()));
        }
    }
    Ok(all)
}

/// What is in a group. Machines are asked of Microsoft.Compute, which knows their state and is never behind.
async fn contents(arm: &Service, listed: &Listed) -> Result<Vec<Resource>, ProviderError> {
    let group = Group { id: listed.id.clone() };
    let rest = Call::get(format!("{}/resources", group.id), RESOURCES).query("$expand", "createdTime");
    let (machines, rest) = (machines(arm, &group).await, arm.list::<Listed>(&rest).await);
    // A group that went in the meantime has nothing.
    let (machines, rest) = (or_empty(machines)?, or_empty(rest)?);
    let none = BTreeMap::new();
    let shared = listed.tags.as_ref().unwrap_or(&none);
    let mut all: Vec<Resource> = machines.into_iter().map(|vm| of_machine(vm, shared)).collect();
    for listed in rest {
        match kind_of(&listed.resource_type) {
            None | Some(ResourceKind::Machine) => {}
            Some(kind) => all.push(listed.into_resource(kind, shared)),
        }
    }
    Ok(all)
}

async fn machines(arm: &Service, group: &Group) -> Result<Vec<Vm>, ProviderError> {
    let call = Call::get(group.machines(), COMPUTE).query("$expand", "instanceView");
    arm.list(&call).await
}

fn or_empty<T>(list: Result<Vec<T>, ProviderError>) -> Result<Vec<T>, ProviderError> {
    match list {
        Err(error) if error.class == ErrorClass::NotFound => Ok(Vec::new()),
        list => list,
    }
}

fn of_machine(vm: Vm, shared: &BTreeMap<String, String>) -> Resource {
    Resource {
        kind: ResourceKind::Machine,
        id: vm.id.clone(),
        name: vm.name.clone(),
        region: vm.location.clone(),
        zone: vm.zone(),
        instance_type: Some(vm.instance_type().to_owned()),
        market: Some(vm.market()),
        state: Some(vm.state()),
        created_at: vm.created_at(),
        tags: with_shared(Some(vm.tags), shared),
    }
}

impl Listed {
    fn into_resource(self, kind: ResourceKind, shared: &BTreeMap<String, String>) -> Resource {
        Resource {
            kind,
            id: self.id,
            name: self.name,
            region: self.location,
            zone: self.zones.into_iter().next(),
            tags: with_shared(self.tags, shared),
            instance_type: None,
            market: None,
            state: None,
            created_at: self.created_time.as_deref().and_then(seconds),
        }
    }
}

/// Its own tags, and those of its group: a boot disk has none of its own.
fn with_shared(own: Option<BTreeMap<String, String>>, shared: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut tags = shared.clone();
    tags.extend(own.unwrap_or_default());
    tags
}

fn seconds(time: &str) -> Option<u64> {
    u64::try_from(parse_rfc3339(time).ok()?.unix_timestamp()).ok()
}

/// Gives something back. A group takes all that is in it along, so one that has a machine which nobody deletes stays.
pub(crate) async fn delete(arm: &Service, resource: &Resource) -> Result<(), ProviderError> {
    let Some(version) = version_for(resource.kind) else {
        return Err(ProviderError::new(
            ErrorClass::Invalid,
            "UnknownKind",
            format!("Azure has no {:?}: {}", resource.kind, resource.id),
        ));
    };
    if resource.kind == ResourceKind::Group {
        refuse_in_use(arm, &resource.id).await?;
    }
    let mut call = Call::delete(&resource.id, version);
    if resource.kind == ResourceKind::Machine {
        // No orderly shutdown: nothing on it is kept.
        call = call.query("forceDeletion", "true");
    }
    arm.find(&call).await.map(|_| ())
}

async fn refuse_in_use(arm: &Service, id: &str) -> Result<(), ProviderError> {
    let group = Group { id: id.to_owned() };
    let machines = or_empty(machines(arm, &group).await)?;
    match machines.iter().find(|vm| !vm.is_being_deleted()) {
        None => Ok(()),
        Some(vm) => Err(ProviderError::new(
            ErrorClass::Transient,
            "GroupInUse",
            format!("{id} still has the machine {}", vm.name),
        )),
    }
}
