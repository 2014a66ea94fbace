//! The keys of the `[cloud]` table: the words of the command line.

use super::value::Entry;
use crate::catalog::{find_gpu, is_place};
use crate::{Data, DeploymentSpec, Scale, SpotUse, is_network};

/// A key and what it sets.
pub(super) struct Key {
    /// Its name, then others that mean the same.
    pub(super) names: &'static [&'static str],
    /// Puts the value in its place; the error goes on after the name of the key.
    pub(super) set: fn(&mut DeploymentSpec, &Entry<'_>) -> Result<(), String>,
}

/// `key!(names, place = reader)`: the place below the spec, and how its value is read.
macro_rules! key {
    ([$($name:literal),+], $($place:ident).+ = $read:expr) => {
        Key {
            names: &[$($name),+],
            set: |spec, entry| {
                spec.$($place).+ = read(entry, $read)?;
                Ok(())
            },
        }
    };
}

/// Reads a value by a function of its own or one of [`Entry`].
fn read<'text, T>(entry: &Entry<'text>, with: impl FnOnce(&Entry<'text>) -> Result<T, String>) -> Result<T, String> {
    with(entry)
}

/// The keys; `workload` stands beside them, since it is about the run.
pub(super) const KEYS: &[Key] = &[
    key!(["name"], name = Entry::text),
    key!(["gpus"], requirements.gpus = Entry::positive),
    key!(["gpu-type", "gpu-types"], requirements.gpu_types = gpu_types),
    key!(
        ["gpu-memory"],
        requirements.gpu_memory_gib = |entry| entry.gib().map(Some)
    ),
    key!(
        ["compute-capability"],
        requirements.compute_capability = |entry| entry.capability().map(Some)
    ),
    key!(["nodes"], requirements.nodes = |entry| entry.count(1)),
    key!(["cpus"], requirements.vcpus = |entry| entry.positive().map(Some)),
    key!(["memory"], requirements.memory_gib = |entry| entry.gib().map(Some)),
    key!(
        ["disk"],
        requirements.disk_gib = |entry| entry.gib().map(|gib| gib.ceil() as u32)
    ),
    key!(
        ["instance-type", "instance-types"],
        requirements.instance_types = Entry::texts
    ),
    key!(["spot"], requirements.spot = spot),
    key!(
        ["max-price"],
        requirements.max_price_usd_h = |entry| entry.positive().map(Some)
    ),
    key!(["budget"], requirements.budget_usd = |entry| entry.positive().map(Some)),
    key!(["work"], requirements.work_hours = |entry| entry.hours().map(Some)),
    key!(
        ["deadline"],
        requirements.deadline_hours = |entry| entry.hours().map(Some)
    ),
    key!(["provider", "providers"], requirements.providers = Entry::words),
    key!(["region", "regions"], requirements.regions = Entry::texts),
    key!(["zone", "zones"], requirements.zones = Entry::texts),
    key!(["residency"], requirements.residency = places),
    key!(["max-latency"], requirements.max_latency_ms = latency),
    key!(["data"], requirements.data = |entry| data(entry).map(Some)),
    key!(["strategy"], requirements.strategy = Entry::known),
    Key {
        names: &["weights"],
        set: weights,
    },
    key!(["secret", "secrets"], secrets = secrets),
    key!(["setup"], setup = |entry| entry.text().map(Some)),
    key!(["on-notice"], on_notice = |entry| entry.text().map(Some)),
    key!(["grace"], grace_seconds = grace),
    key!(["max-restarts"], max_restarts = |entry| entry.count(0)),
    key!(
        ["restart-on-replacement"],
        restart_on_replacement = |entry| entry.flag().ok_or_else(|| "must be true or false".to_owned())
    ),
    key!(["max-hours"], max_run_seconds = max_hours),
    key!(["machine-image"], machine_image = |entry| entry.text().map(Some)),
    key!(["user"], user = Entry::text),
    key!(["allow-from"], allow_from = networks),
    key!(["scale"], scale = |entry| scale(entry).map(Some)),
];

/// Longest life of a machine in hours: a year.
const LONGEST_HOURS: f64 = 8760.0;

fn gpu_types(entry: &Entry<'_>) -> Result<Vec<String>, String> {
    let types = entry.texts()?;
    for name in &types {
        find_gpu(name).map_err(|error| format!("is not right: {error}"))?;
    }
    Ok(types)
}

fn spot(entry: &Entry<'_>) -> Result<SpotUse, String> {
    match entry.flag() {
        Some(true) => Ok(SpotUse::Only),
        Some(false) => Ok(SpotUse::Never),
        None => entry.known(),
    }
}

fn places(entry: &Entry<'_>) -> Result<Vec<String>, String> {
    let places = entry.texts()?;
    match places.iter().find(|place| !is_place(place)) {
        Some(place) => Err(format!(
            "names '{place}': write a country's code, as DE, or a bloc, as EU"
        )),
        None => Ok(places),
    }
}

fn latency(entry: &Entry<'_>) -> Result<Option<f64>, String> {
    let text = entry.text().ok();
    let number = text.as_deref().and_then(|text| text.trim().strip_suffix("ms"));
    match number
        .and_then(|number| number.trim().parse().ok())
        .filter(|ms: &f64| ms.is_finite() && *ms > 0.0)
    {
        Some(ms) => Ok(Some(ms)),
        None => entry.positive().map(Some),
    }
}

fn grace(entry: &Entry<'_>) -> Result<u32, String> {
    let seconds = entry.seconds()?;
    u32::try_from(seconds).map_err(|_| format!("is {seconds} s: that is too long"))
}

/// A number is a number of hours here, as on the command line.
fn max_hours(entry: &Entry<'_>) -> Result<u64, String> {
    let hours = entry.hours().or_else(|_| entry.positive())?;
    match hours <= LONGEST_HOURS {
        true => Ok((hours * 3600.0).ceil() as u64),
        false => Err(format!("is {hours} h: at most {LONGEST_HOURS} h")),
    }
}

/// Names of variables: a value has no place in a file.
fn secrets(entry: &Entry<'_>) -> Result<Vec<String>, String> {
    let names = entry.texts()?;
    let ordinary = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_variable = |name: &str| name.chars().all(ordinary) && !name.starts_with(|c: char| c.is_ascii_digit());
    match names.iter().find(|name| !is_variable(name)) {
        // What is no name may be a value: it is not repeated.
        Some(_) => {
            Err("must be names of environment variables: values are taken from where nvbind is called".to_owned())
        }
        None => Ok(names),
    }
}

fn networks(entry: &Entry<'_>) -> Result<Vec<String>, String> {
    let networks = entry.texts()?;
    match networks.iter().find(|network| !is_network(network)) {
        Some(network) => Err(format!("names '{network}': write a network, as 203.0.113.0/24")),
        None => Ok(networks),
    }
}

fn data(entry: &Entry<'_>) -> Result<Data, String> {
    let (mut gib, mut provider, mut region) = (None, None, None);
    entry.table(&["size", "provider", "region"], |name, entry| {
        match name {
            "size" => gib = Some(entry.gib()?),
            "provider" => provider = entry.words()?.pop(),
            _ => region = Some(entry.text()?),
        }
        Ok(())
    })?;
    match (gib, provider, region) {
        (Some(gib), Some(provider), Some(region)) => Ok(Data { gib, provider, region }),
        _ => Err("must tell size, provider and region: how much lies where".to_owned()),
    }
}

fn weights(spec: &mut DeploymentSpec, entry: &Entry<'_>) -> Result<(), String> {
    let weights = &mut spec.requirements.weights;
    let known = ["cost", "performance", "latency", "availability", "compliance"];
    entry.table(&known, |name, entry| {
        let weight = match name {
            "cost" => &mut weights.cost,
            "performance" => &mut weights.performance,
            "latency" => &mut weights.latency,
            "availability" => &mut weights.availability,
            _ => &mut weights.compliance,
        };
        *weight = entry.number()?;
        Ok(())
    })?;
    let sum = weights.cost + weights.performance + weights.latency + weights.availability + weights.compliance;
    match sum > 0.0 {
        true => Ok(()),
        false => Err("are all 0: one must count".to_owned()),
    }
}

fn scale(entry: &Entry<'_>) -> Result<Scale, String> {
    let mut scale = Scale {
        min: 1,
        max: 0,
        gpu_utilization: None,
        queue_command: None,
        queue_per_node: None,
        cooldown_seconds: 300,
    };
    let known = [
        "min",
        "max",
        "gpu-utilization",
        "queue-command",
        "queue-per-node",
        "cooldown",
    ];
    entry.table(&known, |name, entry| {
        match name {
            "min" => scale.min = entry.count(0)?,
            "max" => scale.max = entry.count(1)?,
            "gpu-utilization" => scale.gpu_utilization = Some(entry.positive()?),
            "queue-command" => scale.queue_command = Some(entry.text()?),
            "queue-per-node" => scale.queue_per_node = Some(entry.positive()?),
            _ => scale.cooldown_seconds = entry.seconds()?,
        }
        Ok(())
    })?;
    check_scale(&scale).map_or(Ok(scale.clone()), |wrong| Err(wrong.to_owned()))
}

/// What is wrong with how nodes follow the load.
fn check_scale(scale: &Scale) -> Option<&'static str> {
    let has_queue = scale.queue_command.is_some();
    match scale {
        Scale { max: 0, .. } => Some("must tell max: the most nodes"),
        Scale { min, max, .. } if min > max => Some("has a min above its max"),
        _ if has_queue != scale.queue_per_node.is_some() => Some(
            "must tell queue-command and queue-per-node together: how much waits, and how much of it one node copes with",
        ),
        _ if scale.gpu_utilization.is_some_and(|percent| percent > 100.0) => {
            Some("has a gpu-utilization above 100 percent")
        }
        _ if !has_queue && scale.gpu_utilization.is_none() => {
            Some("must tell what nodes follow: gpu-utilization, or queue-command with queue-per-node")
        }
        _ => None,
    }
}

/// Brings what one key says in line with what another says: a deployment that scales begins within its bounds.
pub(super) fn settle(spec: &mut DeploymentSpec) {
    if let Some(scale) = &spec.scale {
        spec.requirements.nodes = spec.requirements.nodes.clamp(scale.min, scale.max);
    }
}
