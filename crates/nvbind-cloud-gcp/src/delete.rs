//! Something is given back.

use crate::call::call;
use crate::connect::Session;
use crate::fault::Effect;
use crate::find::if_there;
use crate::instance::{self, last_part};
use nvbind_cloud::provider::{ErrorClass, ProviderError, Resource, ResourceKind};

impl Session {
    /// Gives something back; what is not there is no error.
    pub(crate) async fn delete(&self, resource: &Resource) -> Result<(), ProviderError> {
        match resource.kind {
            ResourceKind::Machine => self.delete_machine(resource).await,
            ResourceKind::Disk => self.delete_disk(resource).await,
            ResourceKind::Address => self.delete_address(resource).await,
            ResourceKind::Firewall => self.delete_firewall(&resource.id).await,
            other => Err(ProviderError::new(
                ErrorClass::Invalid,
                "UnknownKind",
                format!("nvbind makes nothing of the kind {other:?} at Google Cloud"),
            )),
        }
    }

    async fn delete_machine(&self, resource: &Resource) -> Result<(), ProviderError> {
        let name = resource.id.as_str();
        let zone = match &resource.zone {
            Some(zone) => Some(zone.clone()),
            None => self.zone_of(name, &resource.region).await?,
        };
        let deleted = match zone {
            Some(zone) => if_there(self.delete_instance(&zone, name).await)?,
            None => None,
        };
        match deleted {
            Some(()) => Ok(()),
            None => self.is_not_coming(name, &resource.region).await,
        }
    }

    async fn delete_instance(&self, zone: &str, name: &str) -> Result<(), ProviderError> {
        let delete = || {
            let delete = self.instances.delete().set_project(&self.project);
            delete.set_zone(zone).set_instance(name).send()
        };
        call(Effect::Change, delete).await.map(|_| ())
    }

    async fn zone_of(&self, name: &str, region: &str) -> Result<Option<String>, ProviderError> {
        let found = self.instances_where(format!("name = \"{name}\"").as_str()).await?;
        let mut zones = found.iter().map(|instance| last_part(instance.zone.as_deref()));
        let here = zones.find(|zone| instance::region_of(zone) == region);
        if let Some(zone) = here {
            return Ok(Some(zone.to_owned()));
        }
        // Lists over all zones lag behind.
        let operations = self.operations_on(name, region).await?;
        Ok(instance::zone_of(&operations).map(str::to_owned))
    }

    /// A machine that is not there may still come, where its order is on the way: then it is too early to say that it is given back.
    async fn is_not_coming(&self, name: &str, region: &str) -> Result<(), ProviderError> {
        let operations = self.operations_on(name, region).await?;
        match instance::is_being_made(&operations) {
            false => Ok(()),
            true => Err(ProviderError::new(
                ErrorClass::Transient,
                "resourceNotReady",
                format!("{name} is being made and cannot be deleted yet"),
            )),
        }
    }

    async fn delete_disk(&self, resource: &Resource) -> Result<(), ProviderError> {
        let others = self.others().await?;
        let zone = resource.zone.as_deref().unwrap_or_default();
        let delete = || {
            let delete = others.disks.delete().set_project(&self.project);
            delete.set_zone(zone).set_disk(&resource.id).send()
        };
        if_there(call(Effect::Change, delete).await).map(|_| ())
    }

    async fn delete_address(&self, resource: &Resource) -> Result<(), ProviderError> {
        let others = self.others().await?;
        let delete = || {
            let delete = others.addresses.delete().set_project(&self.project);
            delete.set_region(&resource.region).set_address(&resource.id).send()
        };
        if_there(call(Effect::Change, delete).await).map(|_| ())
    }
}
