//! What is left of the quotas that machines with GPUs count against.

use crate::connect::Session;
use crate::fault;
use crate::instance;
use crate::kind::{KINDS, Kind, MachineType};
use google_cloud_compute_v1::model::{Instance, Quota as GoogleQuota};
use nvbind_cloud::catalog::Market;
use nvbind_cloud::provider::{ProviderError, Quota, QuotaUnit};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The quota on all GPUs of the project.
const ALL_GPUS: &str = "GPUS_ALL_REGIONS";
/// Before the name of a quota: the one for spot machines.
const SPOT: &str = "PREEMPTIBLE_";
/// The quota of the newer GPU families in the Cloud Quotas API.
const FAMILIES: &str = "GPUS-PER-GPU-FAMILY-per-project-region";

/// An answer of the Cloud Quotas API, as far as it is wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct QuotaInfo {
    dimensions_infos: Vec<DimensionsInfo>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DimensionsInfo {
    dimensions: BTreeMap<String, String>,
    details: Details,
    applicable_locations: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Details {
    value: String,
}

impl Session {
    /// The quotas of a region and of the whole project. Those of newer GPU families come from an API of their own, which has to be switched
    /// on in the project: without it they are left out.
    pub(crate) async fn quotas(&self, region: &str) -> Result<Vec<Quota>, ProviderError> {
        let (here, project) = tokio::try_join!(self.region(region), self.project())?;
        let mut quotas = self.metric_quotas(region, &here.quotas);
        quotas.extend(find(&project.quotas, ALL_GPUS).map(|(limit, used)| Quota {
            name: ALL_GPUS.to_owned(),
            title: "GPUs (all regions)".to_owned(),
            region: String::new(),
            instance_types: self.catalog().map(|instance| instance.instance_type.clone()).collect(),
            market: None,
            unit: QuotaUnit::Gpus,
            limit,
            used,
        }));
        if let Ok(info) = self.family_info().await {
            let running = self.instances_where(None).await?;
            quotas.extend(self.family_quotas(region, &info, &running));
        }
        Ok(quotas)
    }

    /// Quotas of `regions.get`. Until Google has granted a project spot quota of its own, its spot machines count against the other.
    fn metric_quotas(&self, region: &str, here: &[GoogleQuota]) -> Vec<Quota> {
        let mut quotas = Vec::new();
        for kind in KINDS.iter().filter(|kind| kind.metric.is_some()) {
            let metric = kind.metric.unwrap_or_default();
            let spot = format!("{SPOT}{metric}");
            let spot_limits = find(here, &spot).filter(|(limit, _)| *limit > 0.0);
            let market = spot_limits.map(|_| Market::OnDemand);
            let row = |name: &str, market, (limit, used)| Quota {
                name: name.to_owned(),
                title: title(name),
                region: region.to_owned(),
                instance_types: self.types_of(|other| other.metric == kind.metric),
                market,
                unit: QuotaUnit::Gpus,
                limit,
                used,
            };
            quotas.extend(find(here, metric).map(|limits| row(metric, market, limits)));
            quotas.extend(spot_limits.map(|limits| row(&spot, Some(Market::Spot), limits)));
        }
        quotas
    }

    async fn family_info(&self) -> Result<QuotaInfo, ProviderError> {
        let path = format!(
            "v1/projects/{}/locations/global/services/compute.googleapis.com/quotaInfos/{FAMILIES}",
            self.project
        );
        self.others().await?.rest.get("cloudquotas", &path, &[]).await
    }

    /// Quotas of GPU families. That API tells limits alone; what is used are the GPUs of the project's instances.
    fn family_quotas(&self, region: &str, info: &QuotaInfo, running: &[Instance]) -> Vec<Quota> {
        let mut quotas = Vec::new();
        for row in &info.dimensions_infos {
            let family = row.dimensions.get("gpu_family").map(String::as_str).unwrap_or_default();
            let types = self.types_of(|kind| kind.family == Some(family));
            let limit = row
                .details
                .value
                .parse()
                .ok()
                .filter(|_| row.is_for(region) && !types.is_empty());
            quotas.extend(limit.map(|limit| Quota {
                name: fault::family_quota(family),
                title: title(family),
                region: region.to_owned(),
                used: self.gpus_of(&types, region, running),
                instance_types: types,
                market: None,
                unit: QuotaUnit::Gpus,
                // -1 stands for no limit.
                limit: if limit < 0.0 { f64::from(u32::MAX) } else { limit },
            }));
        }
        quotas
    }

    fn types_of(&self, is_it: impl Fn(&Kind) -> bool) -> Vec<String> {
        let names = self.catalog().map(|instance| &instance.instance_type);
        let fits = |name: &&String| MachineType::parse(name).is_ok_and(|parsed| is_it(parsed.kind));
        names.filter(fits).cloned().collect()
    }

    fn gpus_of(&self, types: &[String], region: &str, running: &[Instance]) -> f64 {
        let here = running
            .iter()
            .map(|instance| (instance::machine(instance), instance::catalog_name(instance)));
        let here = here.filter(|(machine, name)| machine.region == region && types.contains(name));
        let gpus = |name: &str| {
            self.catalog()
                .find(|known| known.instance_type == name)
                .map_or(0.0, |known| known.gpus)
        };
        here.map(|(_, name)| gpus(&name)).sum()
    }
}

impl DimensionsInfo {
    /// Whether it is about that region; a row without one is about all that are named beside it.
    fn is_for(&self, region: &str) -> bool {
        match self.dimensions.get("region") {
            Some(its) => its == region,
            None => self.applicable_locations.iter().any(|place| place == region),
        }
    }
}

fn find(quotas: &[GoogleQuota], metric: &str) -> Option<(f64, f64)> {
    let is_it = |quota: &&GoogleQuota| quota.metric.as_ref().and_then(|found| found.name()) == Some(metric);
    let found = quotas.iter().find(is_it)?;
    Some((found.limit?, found.usage.unwrap_or(0.0)))
}

/// `PREEMPTIBLE_NVIDIA_T4_GPUS` among people: `Preemptible NVIDIA T4 GPUs`.
fn title(name: &str) -> String {
    let word = |word: &str| match word {
        "PREEMPTIBLE" => "Preemptible".to_owned(),
        "GPUS" => "GPUs".to_owned(),
        "80GB" => "80 GB".to_owned(),
        other => other.to_owned(),
    };
    let words: Vec<String> = name.split('_').map(word).collect();
    match words.last() {
        Some(last) if last == "GPUs" => words.join(" "),
        _ => format!("{} GPUs", words.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_quotas_are_readable() {
        assert_eq!(
            title("PREEMPTIBLE_NVIDIA_A100_80GB_GPUS"),
            "Preemptible NVIDIA A100 80 GB GPUs"
        );
        assert_eq!(title("NVIDIA_H100"), "NVIDIA H100 GPUs");
    }
}
