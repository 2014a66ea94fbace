//! A machine as it is, or what became of it; everything that is ours.

use crate::connect::Session;
use crate::firewall;
use crate::instance::{self, last_part, region_of};
use google_cloud_compute_v1::model::{Address, Disk, Firewall, Instance, Operation};
use nvbind_cloud::catalog::Market;
use nvbind_cloud::provider::{Machine, MachineRef, MachineState, ProviderError, Resource, ResourceKind, TAG_OWNER};
use std::collections::BTreeMap;

impl Session {
    /// A machine as it is. One that Google took back or never made is told as gone, with the reason; one that is ordered and
    /// cannot be seen yet as pending; `None` for one that Google knows nothing of.
    pub(crate) async fn describe(&self, wanted: &MachineRef) -> Result<Option<Machine>, ProviderError> {
        let name = wanted.id.as_deref().unwrap_or(&wanted.name);
        let found = match &wanted.zone {
            Some(zone) => self.instance(zone, name).await?,
            None => self.instance_of(&wanted.token, &wanted.region).await?,
        };
        if let Some(found) = found {
            return self.described(&found).await.map(Some);
        }
        let operations = self.operations_on(name, &wanted.region).await?;
        // Lists over all zones lag behind; the zone itself does not.
        match instance::zone_of(&operations).filter(|_| wanted.zone.is_none()) {
            Some(zone) => match self.instance(zone, name).await? {
                Some(found) => self.described(&found).await.map(Some),
                None => Ok(gone(&operations, name)),
            },
            None => Ok(gone(&operations, name)),
        }
    }

    async fn described(&self, found: &Instance) -> Result<Machine, ProviderError> {
        let mut machine = instance::machine(found);
        let is_ending = matches!(machine.state, MachineState::Stopping | MachineState::Stopped);
        if is_ending {
            let operations = self.operations_on(&machine.name, &machine.region).await?;
            if let Some((is_interrupted, because)) = instance::end(&operations) {
                machine.is_interrupted = is_interrupted && machine.market == Some(Market::Spot);
                machine.ended_because = Some(because);
            }
        }
        Ok(machine)
    }

    /// Everything of an owner in these regions, in all where none is named.
    pub(crate) async fn list(&self, owner: &str, regions: &[String]) -> Result<Vec<Resource>, ProviderError> {
        let labelled = format!("labels.{TAG_OWNER} = \"{owner}\"");
        let named = firewall::filter(owner);
        let (instances, disks, addresses, rules) = tokio::try_join!(
            self.instances_where(labelled.as_str()),
            self.disks_where(&labelled),
            self.addresses_where(&labelled),
            self.firewalls_where(&named),
        )?;
        let apart = |disk: &&Disk| disk.users.is_empty();
        let places = instances.iter().map(of_instance);
        let places = places.chain(disks.iter().filter(apart).map(of_disk));
        let places = places.chain(addresses.iter().map(of_address));
        let is_wanted = |found: &Resource| regions.is_empty() || regions.contains(&found.region);
        let rules = rules.iter().filter_map(of_firewall);
        let rules = rules.filter(|rule| rule.tags.get(TAG_OWNER).is_some_and(|of| of == owner));
        Ok(places.filter(is_wanted).chain(rules).collect())
    }
}

/// What the operations on a machine that cannot be seen tell of it.
fn gone(operations: &[Operation], name: &str) -> Option<Machine> {
    let zone = instance::zone_of(operations)?.to_owned();
    let machine = Machine {
        id: name.to_owned(),
        name: name.to_owned(),
        region: region_of(&zone).to_owned(),
        zone: Some(zone),
        instance_type: String::new(),
        market: None,
        state: MachineState::Pending,
        address: None,
        private_address: None,
        created_at: None,
        ended_because: None,
        is_interrupted: false,
    };
    if instance::is_being_made(operations) {
        return Some(machine);
    }
    let (is_interrupted, because) = instance::end(operations)?;
    Some(Machine {
        state: MachineState::Gone,
        is_interrupted,
        ended_because: Some(because),
        ..machine
    })
}

fn of_instance(instance: &Instance) -> Resource {
    let machine = instance::machine(instance);
    Resource {
        kind: ResourceKind::Machine,
        id: machine.id,
        name: machine.name,
        region: machine.region,
        zone: machine.zone,
        tags: instance.labels.clone().into_iter().collect(),
        instance_type: Some(machine.instance_type),
        market: machine.market,
        state: Some(machine.state),
        created_at: machine.created_at,
    }
}

fn of_disk(disk: &Disk) -> Resource {
    let zone = last_part(disk.zone.as_deref());
    let place = (region_of(zone), Some(zone));
    let tags = disk.labels.clone().into_iter().collect();
    plain(
        ResourceKind::Disk,
        disk.name.as_deref(),
        place,
        tags,
        disk.creation_timestamp.as_deref(),
    )
}

fn of_address(address: &Address) -> Resource {
    let place = (last_part(address.region.as_deref()), None);
    let tags = address.labels.clone().into_iter().collect();
    plain(
        ResourceKind::Address,
        address.name.as_deref(),
        place,
        tags,
        address.creation_timestamp.as_deref(),
    )
}

fn of_firewall(rule: &Firewall) -> Option<Resource> {
    let tags = firewall::tags(rule.description.as_deref()?);
    let made = rule.creation_timestamp.as_deref();
    Some(plain(
        ResourceKind::Firewall,
        rule.name.as_deref(),
        ("", None),
        tags,
        made,
    ))
}

fn plain(
    kind: ResourceKind,
    name: Option<&str>,
    (region, zone): (&str, Option<&str>),
    tags: BTreeMap<String, String>,
    made: Option<&str>,
) -> Resource {
    let name = name.unwrap_or_default().to_owned();
    Resource {
        kind,
        id: name.clone(),
        name,
        region: region.to_owned(),
        zone: zone.map(str::to_owned),
        tags,
        instance_type: None,
        market: None,
        state: None,
        created_at: instance::seconds(made),
    }
}
