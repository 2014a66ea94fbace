//! Candidates as one set of requirements, where their union is one.
//!
//! Requirements are a product: these GPUs, in these places, on spot or not. Candidates that are not all combinations of what they
//! name (A100 in one region, H100 in another) would let in what nobody asked for, so they are an error.

use super::SkyPilotError;
use super::resources::{Candidate, Place, Terms};
use crate::catalog::ProviderName;
use crate::{Requirements, SpotUse};

/// Candidates as requirements, and what goes beside them.
pub(super) struct Joined {
    pub(super) requirements: Requirements,
    pub(super) gpus: f64,
    pub(super) container: Option<String>,
    pub(super) machine_image: Option<String>,
    pub(super) max_restarts: u32,
}

/// The requirements that exactly these candidates meet.
pub(super) fn union(candidates: &[Candidate]) -> Result<Joined, SkyPilotError> {
    let Some(first) = candidates.first() else {
        return Err(super::no_gpu());
    };
    for other in candidates {
        if let Some(what) = difference(first, other) {
            return Err(SkyPilotError(format!(
                "resources: candidates with a different {what} cannot be one deployment: make it alike in all, or deploy two tasks"
            )));
        }
    }
    let machines = distinct(candidates, |candidate| (&candidate.gpu, &candidate.instance_type));
    let places = distinct(candidates, |candidate| &candidate.place);
    let markets = distinct(candidates, |candidate| candidate.is_spot);
    let whole = distinct(candidates, |candidate| {
        (
            &candidate.gpu,
            &candidate.instance_type,
            &candidate.place,
            candidate.is_spot,
        )
    });
    if machines.len() * places.len() * markets.len() != whole.len() {
        return Err(SkyPilotError(
            "resources: these candidates cannot be one deployment: they are not all combinations of the GPUs, places and markets \
             that they name: deploy one task for each"
                .to_owned(),
        ));
    }
    let typed = machines
        .iter()
        .filter(|(_, instance_type)| instance_type.is_some())
        .count();
    if typed != 0 && typed != machines.len() {
        return Err(SkyPilotError(
            "resources: some candidates name an instance_type and some do not: name it in all, or in none".to_owned(),
        ));
    }
    let place = join_places(&places)?;
    let terms: &Terms = &first.terms;
    Ok(Joined {
        requirements: Requirements {
            gpu_types: distinct(&machines, |(gpu, _)| (*gpu).clone()),
            gpus: first.gpus,
            instance_types: distinct(&machines, |(_, instance_type)| (*instance_type).clone())
                .into_iter()
                .flatten()
                .collect(),
            spot: match markets.as_slice() {
                [true] => SpotUse::Only,
                [false] => SpotUse::Never,
                _ => SpotUse::Auto,
            },
            vcpus: terms.cpus,
            memory_gib: terms.memory_gib,
            disk_gib: terms.disk_gib,
            max_price_usd_h: terms.max_hourly_cost,
            ..place
        },
        gpus: first.gpus,
        container: terms.container.clone(),
        machine_image: terms.machine_image.clone(),
        max_restarts: terms.max_restarts,
    })
}

/// What two candidates differ in that requirements can only have once.
fn difference(a: &Candidate, b: &Candidate) -> Option<&'static str> {
    let (x, y) = (&a.terms, &b.terms);
    let parts = [
        ("number of GPUs", a.gpus == b.gpus),
        ("number of cpus", x.cpus == y.cpus),
        ("memory", x.memory_gib == y.memory_gib),
        ("disk_size", x.disk_gib == y.disk_gib),
        ("max_hourly_cost", x.max_hourly_cost == y.max_hourly_cost),
        (
            "image_id",
            x.container == y.container && x.machine_image == y.machine_image,
        ),
        ("job_recovery", x.max_restarts == y.max_restarts),
    ];
    parts.iter().find(|(_, is_same)| !is_same).map(|(what, _)| *what)
}

/// The values in the order of their first appearance.
fn distinct<'item, Item, T: PartialEq>(items: &'item [Item], of: impl Fn(&'item Item) -> T) -> Vec<T> {
    let mut found = Vec::new();
    for value in items.iter().map(of) {
        if !found.contains(&value) {
            found.push(value);
        }
    }
    found
}

/// How narrow a place is: anywhere, a provider, a region, a zone.
fn level(place: &Place) -> usize {
    match place {
        Place { zone: Some(_), .. } => 3,
        Place { region: Some(_), .. } => 2,
        Place { provider: Some(_), .. } => 1,
        _ => 0,
    }
}

/// Requirements that only name places.
fn join_places(places: &[&Place]) -> Result<Requirements, SkyPilotError> {
    let levels = distinct(places, |place| level(place));
    if levels.contains(&0) {
        // Anywhere takes in all else.
        return Ok(Requirements::default());
    }
    let cannot = |why: &str| SkyPilotError(format!("resources: these places cannot be one deployment: {why}"));
    if levels.len() > 1 {
        return Err(cannot(
            "some are narrower than others: name only clouds, only regions or only zones",
        ));
    }
    let all_regions = places.iter().all(|place| place.region.is_some());
    if levels == [3] && places.len() > 1 && !(all_regions && zones_tell_regions(places)) {
        return Err(cannot(
            "a zone's name does not tell its region: deploy one task for each",
        ));
    }
    // A region's name tells its provider, so one that is named nowhere does not matter.
    let is_named = places.iter().all(|place| place.provider.is_some());
    let providers: Vec<ProviderName> = distinct(places, |place| place.provider).into_iter().flatten().collect();
    Ok(Requirements {
        providers: if is_named { providers } else { Vec::new() },
        regions: distinct(places, |place| place.region.clone())
            .into_iter()
            .flatten()
            .collect(),
        zones: distinct(places, |place| place.zone.clone())
            .into_iter()
            .flatten()
            .collect(),
        ..Requirements::default()
    })
}

/// Whether each zone's name begins with that of its region, as AWS and GCP have it and Azure has not.
fn zones_tell_regions(places: &[&Place]) -> bool {
    let tells = |place: &&Place| match (&place.region, &place.zone) {
        (Some(region), Some(zone)) => zone.starts_with(region.as_str()),
        _ => false,
    };
    places.iter().all(tells)
}
