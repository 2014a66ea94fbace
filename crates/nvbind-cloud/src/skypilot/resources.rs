//! The `resources` of a task: the machines that will do, each candidate by itself.

use super::field::Field;
use super::{SkyPilotError, no_gpu};
use crate::catalog::{Catalog, ProviderName, find_gpu};
use serde_json::{Map, Value};

/// A machine that will do, as a task describes it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Candidate {
    /// GPU model, by nvbind's name.
    pub(super) gpu: String,
    /// GPUs of a node.
    pub(super) gpus: f64,
    pub(super) instance_type: Option<String>,
    pub(super) place: Place,
    pub(super) is_spot: bool,
    pub(super) terms: Terms,
}

/// Where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) provider: Option<ProviderName>,
    pub(super) region: Option<String>,
    pub(super) zone: Option<String>,
}

/// What must be alike in all candidates of a task.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Terms {
    pub(super) cpus: Option<f64>,
    pub(super) memory_gib: Option<f64>,
    pub(super) disk_gib: u32,
    pub(super) max_hourly_cost: Option<f64>,
    pub(super) container: Option<String>,
    pub(super) machine_image: Option<String>,
    pub(super) max_restarts: u32,
}

/// SkyPilot's own disk, in GB (`DEFAULT_DISK_SIZE_GB` of `sky/resources.py`).
const DISK_GIB: u32 = 256;

const FIELDS: [&str; 15] = [
    "infra",
    "cloud",
    "region",
    "zone",
    "instance_type",
    "accelerators",
    "gpus",
    "cpus",
    "memory",
    "use_spot",
    "disk_size",
    "max_hourly_cost",
    "image_id",
    "job_recovery",
    "spot_recovery",
];
/// Those that only stand at the top.
const TOP_FIELDS: [&str; 3] = ["any_of", "ordered", "autostop"];

const REFUSED: [(&str, &str); 12] = [
    (
        "ports",
        "are not opened: machines are reached over SSH (nvbind cloud ssh), and open only port 22",
    ),
    (
        "labels",
        "are not set: nvbind tags everything itself, so that it is found and removed",
    ),
    ("disk_tier", "is not chosen: leave it out"),
    ("network_tier", "is not chosen: leave it out"),
    ("local_disk", "is not asked for: name an instance_type that has one"),
    ("ephemeral_storage", "is not asked for: use disk_size"),
    (
        "volumes",
        "are not made: write volumes in an nvbind.toml for paths of the machine",
    ),
    ("accelerator_args", "is about TPUs: nvbind rents GPUs"),
    ("priority", "is about a SkyPilot server: there is none"),
    ("priority_class", "is about a SkyPilot server: there is none"),
    ("gcp_queued_resource", "is about TPUs: nvbind rents GPUs"),
    ("autostop", "can only stand at the top of resources"),
];

/// Names that mean one model to SkyPilot and a family to nvbind.
const MODELS: [(&str, &str); 3] = [("A100", "A100-40GB"), ("V100", "V100-16GB"), ("H100", "H100-80GB")];

/// Every machine that will do.
pub(super) fn candidates(resources: &Field<'_>, notes: &mut Vec<String>) -> Result<Vec<Candidate>, SkyPilotError> {
    let known: Vec<&str> = FIELDS.iter().chain(&TOP_FIELDS).copied().collect();
    resources.fields(&known, &REFUSED)?;
    if let Some(autostop) = resources.get("autostop") {
        note_autostop(&autostop, notes)?;
    }
    let lists = ["any_of", "ordered"].map(|name| resources.get(name));
    let (list, is_ordered) = match lists {
        [Some(_), Some(_)] => {
            return Err(SkyPilotError(
                "resources has both any_of and ordered: keep one".to_owned(),
            ));
        }
        [Some(list), None] => (list, false),
        [None, Some(list)] => (list, true),
        [None, None] => return single(resources, notes),
    };
    let items = list
        .items()
        .filter(|items| !items.is_empty())
        .ok_or_else(|| list.wrong("a list of resources"))?;
    if is_ordered && items.len() > 1 {
        notes.push("resources.ordered: the order is not kept: what will do is ranked by its expected cost".to_owned());
    }
    let mut found = Vec::new();
    for item in items {
        item.fields(&FIELDS, &REFUSED)?;
        let merged = merge(resources, &item);
        found.extend(single(&item.with(&merged), notes)?);
    }
    notes.sort();
    notes.dedup();
    Ok(found)
}

/// A candidate over what all have in common: it wins field by field; places are one field, however they are written.
fn merge(base: &Field<'_>, item: &Field<'_>) -> Value {
    let object = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let own = object(item.value());
    let places = ["infra", "cloud", "region", "zone"];
    let gpus = ["accelerators", "gpus"];
    let sets = |group: &[&str]| group.iter().any(|name| own.contains_key(*name));
    let is_replaced = |name: &str| places.contains(&name) && sets(&places) || gpus.contains(&name) && sets(&gpus);
    let mut merged: Map<String, Value> = object(base.value())
        .into_iter()
        .filter(|(name, _)| !TOP_FIELDS.contains(&name.as_str()) && !is_replaced(name))
        .collect();
    merged.extend(own);
    Value::Object(merged)
}

/// The candidates that resources without `any_of` are: one for each accelerator that will do.
fn single(resources: &Field<'_>, notes: &mut Vec<String>) -> Result<Vec<Candidate>, SkyPilotError> {
    let place = place(resources)?;
    let terms = terms(resources, notes)?;
    let is_spot = resources
        .get("use_spot")
        .map(|field| field.flag())
        .transpose()?
        .unwrap_or(false);
    let instance_type = resources.get("instance_type").map(|field| field.text()).transpose()?;
    let gpus = match (
        resources.get("accelerators").or_else(|| resources.get("gpus")),
        instance_type,
    ) {
        (Some(field), _) => accelerators(&field)?,
        (None, Some(instance_type)) => vec![gpus_of(instance_type)?],
        (None, None) => return Err(no_gpu()),
    };
    let candidate = |(gpu, gpus): (String, f64)| Candidate {
        gpu,
        gpus,
        instance_type: instance_type.map(str::to_owned),
        place: place.clone(),
        is_spot,
        terms: terms.clone(),
    };
    Ok(gpus.into_iter().map(candidate).collect())
}

/// The GPUs of a machine type.
fn gpus_of(instance_type: &str) -> Result<(String, f64), SkyPilotError> {
    let catalog = Catalog::embedded().map_err(|error| SkyPilotError(error.to_string()))?;
    let known = catalog
        .instance(instance_type)
        .map_err(|error| SkyPilotError(format!("resources.instance_type: {error}")))?;
    Ok((known.instance.gpu.name().to_owned(), known.instance.gpus))
}

/// `A100:8`, `A100`, `{A100: 8}`, `{A100:8, V100:8}`, `[A100:8, H100:8]`.
fn accelerators(field: &Field<'_>) -> Result<Vec<(String, f64)>, SkyPilotError> {
    if let Some(items) = field.items() {
        return items.iter().map(accelerator).collect();
    }
    if field.scalar().is_some() {
        return Ok(vec![accelerator(field)?]);
    }
    let entry = |entry: Field<'_>| match entry.is_null() {
        true => accelerator(&entry.with(&Value::String(entry.name().to_owned()))),
        false => Ok((model(&entry, entry.name())?, entry.positive()?)),
    };
    field.children()?.into_iter().map(entry).collect()
}

fn accelerator(field: &Field<'_>) -> Result<(String, f64), SkyPilotError> {
    let text = field.text()?;
    let (name, count) = text.rsplit_once(':').unwrap_or((text, "1"));
    let count = count
        .trim()
        .parse()
        .ok()
        .filter(|count: &f64| count.is_finite() && *count > 0.0);
    let count = count.ok_or_else(|| field.wrong("a GPU model with a count, as A100:8"))?;
    Ok((model(field, name.trim())?, count))
}

/// nvbind's name for what SkyPilot calls a model.
fn model(field: &Field<'_>, name: &str) -> Result<String, SkyPilotError> {
    if let Some((_, means)) = MODELS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
        return Ok((*means).to_owned());
    }
    match find_gpu(name) {
        Ok(_) => Ok(name.to_owned()),
        Err(error) => Err(SkyPilotError(format!("{}: {error}", field.path()))),
    }
}

/// `infra: aws/us-east-1/us-east-1a`, or `cloud`, `region` and `zone` by themselves; `*` is any.
fn place(resources: &Field<'_>) -> Result<Place, SkyPilotError> {
    let text = |name| resources.get(name).map(|field| field.text()).transpose();
    let any = |word: Option<&str>| word.map(str::trim).filter(|word| *word != "*").map(str::to_owned);
    let parts = [text("cloud")?, text("region")?, text("zone")?];
    let Some(infra) = resources.get("infra") else {
        let [cloud, region, zone] = parts.map(any);
        let field = resources.get("cloud").unwrap_or_else(|| resources.clone());
        return Ok(Place {
            provider: cloud.map(|cloud| provider(&field, &cloud)).transpose()?,
            region,
            zone,
        });
    };
    if parts.iter().any(Option::is_some) {
        return Err(SkyPilotError(format!(
            "{} stands beside cloud, region or zone: keep one way",
            infra.path()
        )));
    }
    let written: Vec<&str> = infra.text()?.trim_matches('/').split('/').collect();
    if written.len() > 3 || written.iter().any(|part| part.trim().is_empty()) {
        return Err(infra.wrong("cloud, cloud/region or cloud/region/zone"));
    }
    let part = |index: usize| any(written.get(index).copied());
    Ok(Place {
        provider: part(0).map(|cloud| provider(&infra, &cloud)).transpose()?,
        region: part(1),
        zone: part(2),
    })
}

fn provider(field: &Field<'_>, cloud: &str) -> Result<ProviderName, SkyPilotError> {
    match cloud.to_ascii_lowercase().as_str() {
        "aws" => Ok(ProviderName::Aws),
        "gcp" => Ok(ProviderName::Gcp),
        "azure" => Ok(ProviderName::Azure),
        "ssh" => Ok(ProviderName::Hosts),
        _ => Err(SkyPilotError(format!(
            "{} names '{cloud}': nvbind rents from aws, gcp and azure, and uses hosts over ssh",
            field.path()
        ))),
    }
}

fn terms(resources: &Field<'_>, notes: &mut Vec<String>) -> Result<Terms, SkyPilotError> {
    let mut terms = Terms {
        disk_gib: DISK_GIB,
        ..Terms::default()
    };
    let mut exact = |field: &Field<'_>, (number, has_plus): (f64, bool)| {
        if !has_plus {
            notes.push(format!("resources.{}: more will do here, too", field.name()));
        }
        Some(number)
    };
    if let Some(field) = resources.get("cpus") {
        terms.cpus = exact(&field, field.at_least()?);
    }
    if let Some(field) = resources.get("memory") {
        terms.memory_gib = exact(&field, field.gib_at_least()?);
    }
    if let Some(field) = resources.get("disk_size") {
        terms.disk_gib = field.gib_at_least()?.0.ceil() as u32;
    }
    if let Some(field) = resources.get("max_hourly_cost") {
        terms.max_hourly_cost = Some(field.positive()?);
    }
    if let Some(field) = resources.get("image_id") {
        match field.text()?.split_once(':') {
            Some(("docker", image)) if !image.is_empty() => terms.container = Some(image.to_owned()),
            Some(("skypilot" | "docker", _)) => {
                return Err(field.wrong("docker:IMAGE or the cloud's name of a machine image"));
            }
            _ => terms.machine_image = Some(field.text()?.to_owned()),
        }
    }
    let recovery = resources.get("job_recovery").or_else(|| resources.get("spot_recovery"));
    if let Some(field) = recovery {
        terms.max_restarts = restarts(&field, notes)?;
    }
    Ok(terms)
}

/// A strategy, or a map with it. nvbind has one of its own.
fn restarts(field: &Field<'_>, notes: &mut Vec<String>) -> Result<u32, SkyPilotError> {
    let strategy = match field.scalar() {
        Some(strategy) => Some(strategy),
        None => {
            let refused = [(
                "recover_on_exit_codes",
                "are not told apart: use max_restarts_on_errors",
            )];
            field.fields(&["strategy", "max_restarts_on_errors"], &refused)?;
            field.get("strategy").and_then(|field| field.scalar())
        }
    };
    if let Some(strategy) = strategy {
        notes.push(format!(
            "resources.{}: strategy {strategy} is not followed: what is taken back is replaced by the best offer that is left",
            field.name()
        ));
    }
    field
        .get("max_restarts_on_errors")
        .map_or(Ok(0), |field| field.count(0))
}

fn note_autostop(field: &Field<'_>, notes: &mut Vec<String>) -> Result<(), SkyPilotError> {
    if field.value().is_object() {
        let refused = [
            (
                "hook",
                "is not run: see --on-notice for what runs before a machine is taken back",
            ),
            ("hook_timeout", "belongs to hook, which is not run"),
        ];
        field.fields(&["idle_minutes", "down", "wait_for"], &refused)?;
    }
    notes.push("resources.autostop: machines are given back as soon as the work is done".to_owned());
    Ok(())
}
