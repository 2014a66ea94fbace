//! What there is in the project: lists over all zones, and the single thing by its name.

use crate::call::{call, pages};
use crate::connect::Session;
use crate::fault::Effect;
use crate::instance::{last_part, region_of};
use google_cloud_compute_v1::model::{Address, Disk, Firewall, Instance, Operation, Project, Region};
use nvbind_cloud::provider::{ErrorClass, ProviderError, TAG_TOKEN};
use std::time::{Duration, Instant};

/// How long nvbind takes the zones of a machine type for true.
const ZONES_LAST: Duration = Duration::from_secs(3600);

/// What is there, `None` where it is not.
pub(crate) fn if_there<T>(answer: Result<T, ProviderError>) -> Result<Option<T>, ProviderError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.class == ErrorClass::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Session {
    /// An instance by its name; `None` where there is none.
    pub(crate) async fn instance(&self, zone: &str, name: &str) -> Result<Option<Instance>, ProviderError> {
        let get = || {
            let get = self.instances.get().set_project(&self.project);
            get.set_zone(zone).set_instance(name).send()
        };
        if_there(call(Effect::Read, get).await)
    }

    /// Instances of all zones that fit a filter; all without one.
    pub(crate) async fn instances_where(
        &self,
        filter: impl Into<Option<&str>>,
    ) -> Result<Vec<Instance>, ProviderError> {
        let filter = filter.into();
        let fetch = |page| {
            let list = self.instances.aggregated_list().set_project(&self.project);
            list.set_or_clear_filter(filter).set_or_clear_page_token(page).send()
        };
        let pages = pages(fetch, |page| page.next_page_token.clone()).await?;
        let scopes = pages.into_iter().flat_map(|page| page.items.into_values());
        Ok(scopes.flat_map(|scope| scope.instances).collect())
    }

    /// The instance that an order's token is on.
    pub(crate) async fn instance_of(&self, token: &str, region: &str) -> Result<Option<Instance>, ProviderError> {
        let found = self
            .instances_where(format!("labels.{TAG_TOKEN} = \"{token}\"").as_str())
            .await?;
        let is_there = |instance: &Instance| region_of(last_part(instance.zone.as_deref())) == region;
        Ok(found.into_iter().find(is_there))
    }

    /// Disks of all zones that fit a filter.
    pub(crate) async fn disks_where(&self, filter: &str) -> Result<Vec<Disk>, ProviderError> {
        let others = self.others().await?;
        let fetch = |page| {
            let list = others.disks.aggregated_list().set_project(&self.project);
            list.set_filter(filter).set_or_clear_page_token(page).send()
        };
        let pages = pages(fetch, |page| page.next_page_token.clone()).await?;
        let scopes = pages.into_iter().flat_map(|page| page.items.into_values());
        Ok(scopes.flat_map(|scope| scope.disks).collect())
    }

    /// Reserved addresses of all regions that fit a filter.
    pub(crate) async fn addresses_where(&self, filter: &str) -> Result<Vec<Address>, ProviderError> {
        let others = self.others().await?;
        let fetch = |page| {
            let list = others.addresses.aggregated_list().set_project(&self.project);
            list.set_filter(filter).set_or_clear_page_token(page).send()
        };
        let pages = pages(fetch, |page| page.next_page_token.clone()).await?;
        let scopes = pages.into_iter().flat_map(|page| page.items.into_values());
        Ok(scopes.flat_map(|scope| scope.addresses).collect())
    }

    /// Firewall rules that fit a filter.
    pub(crate) async fn firewalls_where(&self, filter: &str) -> Result<Vec<Firewall>, ProviderError> {
        let fetch = |page| {
            let list = self.firewalls.list().set_project(&self.project);
            list.set_filter(filter).set_or_clear_page_token(page).send()
        };
        let pages = pages(fetch, |page| page.next_page_token.clone()).await?;
        Ok(pages.into_iter().flat_map(|page| page.items).collect())
    }

    /// What was done to the machine of that name in that region; Google remembers it for about two weeks.
    pub(crate) async fn operations_on(&self, name: &str, region: &str) -> Result<Vec<Operation>, ProviderError> {
        let others = self.others().await?;
        let filter = format!("targetLink eq \".*/zones/{region}-[a-z0-9]+/instances/{name}\"");
        let fetch = |page| {
            let list = others.global_operations.aggregated_list().set_project(&self.project);
            list.set_filter(filter.as_str()).set_or_clear_page_token(page).send()
        };
        let pages = pages(fetch, |page| page.next_page_token.clone()).await?;
        let scopes = pages.into_iter().flat_map(|page| page.items.into_values());
        Ok(scopes.flat_map(|scope| scope.operations).collect())
    }

    /// Zones of a region that have a machine type, and a GPU to be attached where one is named.
    pub(crate) async fn zones_with(
        &self,
        region: &str,
        machine_type: &str,
        gpu: Option<&str>,
    ) -> Result<Vec<String>, ProviderError> {
        let (have_type, have_gpu) = tokio::try_join!(self.machine_type_zones(machine_type), async {
            match gpu {
                Some(gpu) => self.gpu_zones(gpu).await.map(Some),
                None => Ok(None),
            }
        })?;
        let fits =
            |zone: &String| region_of(zone) == region && have_gpu.as_ref().is_none_or(|zones| zones.contains(zone));
        Ok(have_type.into_iter().filter(fits).collect())
    }

    async fn machine_type_zones(&self, name: &str) -> Result<Vec<String>, ProviderError> {
        if let Some(zones) = self.remembered_zones(name) {
            return Ok(zones);
        }
        let filter = format!("name = \"{name}\"");
        let fetch = |page| {
            let list = self.machine_types.aggregated_list().set_project(&self.project);
            list.set_filter(filter.as_str()).set_or_clear_page_token(page).send()
        };
        let pages = pages(fetch, |page| page.next_page_token.clone()).await?;
        let scopes = pages.into_iter().flat_map(|page| page.items.into_values());
        let types = scopes.flat_map(|scope| scope.machine_types);
        Ok(self.remember_zones(name, types.filter_map(|found| found.zone)))
    }

    async fn gpu_zones(&self, name: &str) -> Result<Vec<String>, ProviderError> {
        if let Some(zones) = self.remembered_zones(name) {
            return Ok(zones);
        }
        let filter = format!("name = \"{name}\"");
        let fetch = |page| {
            let list = self.accelerator_types.aggregated_list().set_project(&self.project);
            list.set_filter(filter.as_str()).set_or_clear_page_token(page).send()
        };
        let pages = pages(fetch, |page| page.next_page_token.clone()).await?;
        let scopes = pages.into_iter().flat_map(|page| page.items.into_values());
        let types = scopes.flat_map(|scope| scope.accelerator_types);
        Ok(self.remember_zones(name, types.filter_map(|found| found.zone)))
    }

    fn remembered_zones(&self, name: &str) -> Option<Vec<String>> {
        let zones = self.zones.borrow();
        let (at, zones) = zones.get(name)?;
        (at.elapsed() < ZONES_LAST).then(|| zones.clone())
    }

    fn remember_zones(&self, name: &str, urls: impl Iterator<Item = String>) -> Vec<String> {
        let mut zones: Vec<String> = urls.map(|url| last_part(Some(&url)).to_owned()).collect();
        zones.sort();
        self.zones
            .borrow_mut()
            .insert(name.to_owned(), (Instant::now(), zones.clone()));
        zones
    }

    /// The project, with the quotas that hold in all regions.
    pub(crate) async fn project(&self) -> Result<Project, ProviderError> {
        let others = self.others().await?;
        call(Effect::Read, || others.projects.get().set_project(&self.project).send()).await
    }

    /// A region with its quotas.
    pub(crate) async fn region(&self, name: &str) -> Result<Region, ProviderError> {
        let others = self.others().await?;
        let get = || others.regions.get().set_project(&self.project).set_region(name).send();
        call(Effect::Read, get).await
    }
}
