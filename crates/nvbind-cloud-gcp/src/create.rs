//! A machine is ordered.

use crate::call::call;
use crate::connect::Session;
use crate::fault::{self, Effect};
use crate::instance;
use crate::kind::MachineType;
use crate::order;
use google_cloud_compute_v1::model::instance::Status;
use google_cloud_compute_v1::model::{Instance, Operation, operation};
use nvbind_cloud::provider::{ErrorClass, Machine, Order, ProviderError, TAG_TOKEN};
use std::time::{Duration, Instant};

/// How long an order is watched at most. Want of machines shows within half a minute (dstack 0.22.5).
const WATCHED: Duration = Duration::from_secs(45);
/// An instance that is being provisioned for so long has most likely got its host; one that is staging has.
const PROVISIONED: Duration = Duration::from_secs(10);
/// First and longest pause between two looks.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Where an order goes.
enum Place {
    /// It is there already.
    There(Box<Instance>),
    /// To this zone.
    Zone(String),
}

impl Session {
    /// Orders a machine; the same order again finds the same one.
    pub(crate) async fn create(&self, order: &Order) -> Result<Machine, ProviderError> {
        let machine_type = MachineType::parse(&order.instance_type)?;
        let (place, ()) = tokio::try_join!(self.place(order, &machine_type), self.open_firewall(order))?;
        match place {
            Place::There(found) => Ok(instance::machine(&found)),
            Place::Zone(zone) => {
                let made = self.insert(order, &machine_type, &zone).await;
                made.map_err(|error| self.explained(error, order, &zone).leaving_something())
            }
        }
    }

    async fn place(&self, order: &Order, machine_type: &MachineType) -> Result<Place, ProviderError> {
        if let Some(zone) = &order.zone {
            return Ok(Place::Zone(zone.clone()));
        }
        let gpu = machine_type.attached.as_ref().map(|(_, gpu)| gpu.as_str());
        let (found, zones) = tokio::try_join!(
            self.instance_of(&order.token, &order.region),
            self.zones_with(&order.region, &machine_type.name, gpu)
        )?;
        if let Some(found) = found {
            return Ok(Place::There(Box::new(found)));
        }
        let chosen = order::choose_zone(&order.token, &zones);
        chosen.map(Place::Zone).ok_or_else(|| {
            let message = format!("no zone of {} has {}", order.region, order.instance_type);
            ProviderError::new(ErrorClass::NotOffered, "NoZone", message)
        })
    }

    async fn insert(&self, order: &Order, machine_type: &MachineType, zone: &str) -> Result<Machine, ProviderError> {
        let body = order::instance(order, machine_type, zone);
        let insert = || {
            let insert = self.instances.insert().set_project(&self.project).set_zone(zone);
            insert
                .set_request_id(order::request_id(&order.token))
                .set_body(body.clone())
                .send()
        };
        match call(Effect::Change, insert).await {
            Ok(operation) => self.watch(operation, zone, &order.name).await,
            Err(error) if fault::is_conflict(&error) => self.there_already(order, zone, error).await,
            Err(error) => Err(error),
        }
    }

    /// Watches an order until its machine is sure, or refused.
    async fn watch(&self, mut operation: Operation, zone: &str, name: &str) -> Result<Machine, ProviderError> {
        let (start, mut pause) = (Instant::now(), PAUSES.0);
        loop {
            if operation.status == Some(operation::Status::Done) {
                return self.outcome(&operation, zone, name).await;
            }
            let id = operation.name.clone().unwrap_or_default();
            let get = || {
                let get = self.instances.get_operation().set_project(&self.project);
                get.set_zone(zone).set_operation(&id).send()
            };
            let looked = tokio::try_join!(call(Effect::Read, get), self.instance(zone, name));
            // The order itself was accepted: whatever keeps us from seeing it, its machine may come.
            let (now, seen) = looked.map_err(|error| ProviderError {
                is_ambiguous: true,
                ..error
            })?;
            operation = now;
            if let Some(seen) = seen.filter(|seen| operation.error.is_none() && is_sure(seen, start.elapsed())) {
                return Ok(instance::machine(&seen));
            }
            if start.elapsed() > WATCHED {
                return Err(fault::late(WATCHED.as_secs(), Effect::Change));
            }
            if operation.status != Some(operation::Status::Done) {
                tokio::time::sleep(pause).await;
                pause = (pause * 3 / 2).min(PAUSES.1);
            }
        }
    }

    /// What an order that is done has come to.
    async fn outcome(&self, operation: &Operation, zone: &str, name: &str) -> Result<Machine, ProviderError> {
        if let Some(error) = fault::of_operation(operation) {
            return Err(error);
        }
        let seen = self.instance(zone, name).await.map_err(|error| ProviderError {
            is_ambiguous: true,
            ..error
        })?;
        let seen = seen.ok_or_else(|| {
            let message = format!("{name} was made in {zone} and is gone again");
            ProviderError::new(ErrorClass::NoCapacity, "RESOURCE_NOT_FOUND", message)
        })?;
        Ok(instance::machine(&seen))
    }

    /// The name is taken: by this very order, or by something that is not ours.
    async fn there_already(&self, order: &Order, zone: &str, error: ProviderError) -> Result<Machine, ProviderError> {
        let seen = self.instance(zone, &order.name).await?;
        let is_ours = |seen: &Instance| seen.labels.get(TAG_TOKEN) == Some(&order.token);
        match seen {
            Some(seen) if is_ours(&seen) => Ok(instance::machine(&seen)),
            Some(_) => Err(ProviderError {
                class: ErrorClass::Invalid,
                ..error
            }),
            None => Err(error),
        }
    }

    /// The error with the zone that it is about, and how much of a quota would have been needed.
    fn explained(&self, mut error: ProviderError, order: &Order, zone: &str) -> ProviderError {
        if !error.message.contains(zone) {
            error.message = format!("{} (zone {zone})", error.message);
        }
        let known = self
            .catalog()
            .find(|instance| instance.instance_type == order.instance_type);
        if let (Some(quota), Some(known)) = (&mut error.quota, known) {
            quota.need = match &quota.name {
                name if name.contains("GPU") => Some(known.gpus),
                name if name.contains("CPU") => Some(known.vcpus),
                _ => None,
            };
        }
        error
    }
}

/// Whether that instance has got its host.
fn is_sure(instance: &Instance, age: Duration) -> bool {
    match instance.status {
        Some(Status::Pending | Status::Provisioning) | None => age > PROVISIONED,
        _ => true,
    }
}
