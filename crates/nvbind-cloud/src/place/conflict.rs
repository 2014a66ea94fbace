//! Requirements that contradict each other.

use super::query::{Query, country};
use super::{Facts, PlaceError, Survey};
use crate::catalog::{ProviderName, country_of, holds};
use crate::requirements::{Requirements, SpotUse, Strategy};
use std::collections::BTreeSet;

/// Requirements that cannot be met, or not together, whatever else is so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Those requirements, as a person would say them: one that nothing meets, or the fewest that contradict each other.
    pub between: Vec<String>,
    /// More about it; may be empty.
    pub detail: String,
    /// Whether they contradict each other, rather than name something that is not there.
    is_contradiction: bool,
}

impl std::error::Error for Conflict {}

impl std::fmt::Display for Conflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.between.as_slice() {
            [one] => write!(f, "no offer meets {one}")?,
            [first, second] => write!(f, "{first} and {second} contradict each other")?,
            [most @ .., last] => write!(f, "{} and {last} contradict each other", most.join(", "))?,
            [] => f.write_str("no offer meets all requirements")?,
        }
        match self.detail.is_empty() {
            true => Ok(()),
            false => write!(f, ": {}", self.detail),
        }
    }
}

/// A requirement that can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Providers,
    InstanceTypes,
    GpuTypes,
    Capability,
    Gpus,
    GpuMemory,
    Vcpus,
    Memory,
    Arch,
    Spot,
    Regions,
    Zones,
    Residency,
    Latency,
    MaxPrice,
    Deadline,
    Budget,
}

const NEEDS: [Need; 17] = [
    Need::Providers,
    Need::InstanceTypes,
    Need::GpuTypes,
    Need::Capability,
    Need::Gpus,
    Need::GpuMemory,
    Need::Vcpus,
    Need::Memory,
    Need::Arch,
    Need::Spot,
    Need::Regions,
    Need::Zones,
    Need::Residency,
    Need::Latency,
    Need::MaxPrice,
    Need::Deadline,
    Need::Budget,
];

/// Limits, rather than names of things that may not be there.
const LIMITS: [Need; 3] = [Need::MaxPrice, Need::Deadline, Need::Budget];

impl Need {
    /// It in words; `None` where nothing is required.
    fn words(self, needs: &Requirements) -> Option<String> {
        let list =
            |title: &str, names: &[String]| (!names.is_empty()).then(|| format!("{title} {}", names.join(" or ")));
        let number = |title: &str, number: Option<f64>, unit: &str| {
            number.map(|number| format!("{title} {}{unit}", rounded(number)))
        };
        match self {
            Self::Providers => {
                let names: Vec<String> = needs.providers.iter().map(ToString::to_string).collect();
                list("provider", &names)
            }
            Self::InstanceTypes => list("machine type", &needs.instance_types),
            Self::GpuTypes => list("GPU type", &needs.gpu_types),
            Self::Capability => needs
                .compute_capability
                .map(|capability| format!("compute capability {}.{}", capability / 10, capability % 10)),
            Self::Gpus => (needs.gpus > 0.0).then(|| format!("{} GPUs", needs.gpus)),
            Self::GpuMemory => number("GPU memory of", needs.gpu_memory_gib, " GiB"),
            Self::Vcpus => number("at least", needs.vcpus, " vCPUs"),
            Self::Memory => number("memory of", needs.memory_gib, " GiB"),
            Self::Arch => needs.arch.map(|arch| format!("architecture {arch}")),
            Self::Spot => match needs.spot {
                SpotUse::Auto => None,
                SpotUse::Only => Some("spot only".to_owned()),
                SpotUse::Never => Some("never spot".to_owned()),
            },
            Self::Regions => list("region", &needs.regions),
            Self::Zones => list("zone", &needs.zones),
            Self::Residency => list("residency", &needs.residency),
            Self::Latency => number("latency of at most", needs.max_latency_ms, " ms"),
            Self::MaxPrice => number("a price of at most", needs.max_price_usd_h, " USD/h"),
            Self::Deadline => number("a deadline of", needs.deadline_hours, " h"),
            Self::Budget => number("a budget of", needs.budget_usd, " USD"),
        }
    }

    /// Leaves it out.
    fn clear(self, needs: &mut Requirements) {
        match self {
            Self::Providers => needs.providers.clear(),
            Self::InstanceTypes => needs.instance_types.clear(),
            Self::GpuTypes => needs.gpu_types.clear(),
            Self::Capability => needs.compute_capability = None,
            Self::Gpus => needs.gpus = 0.0,
            Self::GpuMemory => needs.gpu_memory_gib = None,
            Self::Vcpus => needs.vcpus = None,
            Self::Memory => needs.memory_gib = None,
            Self::Arch => needs.arch = None,
            Self::Spot => needs.spot = SpotUse::Auto,
            Self::Regions => needs.regions.clear(),
            Self::Zones => needs.zones.clear(),
            Self::Residency => needs.residency.clear(),
            Self::Latency => needs.max_latency_ms = None,
            Self::MaxPrice => needs.max_price_usd_h = None,
            Self::Deadline => needs.deadline_hours = None,
            Self::Budget => needs.budget_usd = None,
        }
    }
}

/// To four decimals: what is left of a deadline is no round number of hours.
fn rounded(number: f64) -> f64 {
    (number * 10_000.0).round() / 10_000.0
}

/// The requirements with only those left in.
fn only(needs: &Requirements, kept: &[Need]) -> Requirements {
    let mut needs = needs.clone();
    for need in NEEDS.iter().filter(|need| !kept.contains(need)) {
        need.clear(&mut needs);
    }
    needs
}

impl Conflict {
    /// The exit code of a command that ends with this error.
    pub fn exit_code(&self) -> u8 {
        if self.is_contradiction { 2 } else { 4 }
    }

    fn pair(first: impl Into<String>, second: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            between: vec![first.into(), second.into()],
            detail: detail.into(),
            is_contradiction: true,
        }
    }

    /// Finds what needs no offer to be seen.
    pub(super) fn in_words(needs: &Requirements) -> Result<(), Self> {
        if let (Some(work), Some(deadline)) = (needs.work_hours, needs.deadline_hours)
            && deadline < work
        {
            return Err(Self::pair(
                format!("a deadline of {deadline} h"),
                format!("{work} h of work"),
                "the work alone takes longer",
            ));
        }
        if needs.spot == SpotUse::Only && needs.providers == [ProviderName::Hosts] {
            let why = "your own hosts are not sold on spot";
            return Err(Self::pair("spot only", "provider hosts", why));
        }
        let outside = |region: &String| {
            country_of(region).is_some_and(|country| !needs.residency.iter().any(|place| holds(place, country)))
        };
        if !needs.residency.is_empty() && !needs.regions.is_empty() && needs.regions.iter().all(outside) {
            let where_ = needs
                .regions
                .iter()
                .map(|region| format!("{region} is in {}", country_of(region).unwrap_or_default()));
            return Err(Self::pair(
                format!("residency {}", needs.residency.join(" or ")),
                format!("region {}", needs.regions.join(" or ")),
                where_.collect::<Vec<_>>().join(", "),
            ));
        }
        let weights = needs.weights;
        let parts = [
            weights.cost,
            weights.performance,
            weights.latency,
            weights.availability,
            weights.compliance,
        ];
        let is_weighed = parts.iter().all(|part| *part >= 0.0 && part.is_finite()) && parts.iter().sum::<f64>() > 0.0;
        if needs.strategy == Strategy::HybridBalanced && !is_weighed {
            let why = "weights are 0 or more, and one of them is more";
            return Err(Self::pair("strategy hybrid-balanced", "these weights", why));
        }
        Ok(())
    }

    /// Finds the fewest requirements that no offer meets together, whatever blocks and quotas say; for when nothing fits.
    pub(super) fn in_offers(survey: &Survey<'_>, needs: &Requirements) -> Result<(), PlaceError> {
        if survey.index.keys.is_empty() {
            return Ok(());
        }
        let facts = Facts {
            now: survey.facts.now,
            latencies: survey.facts.latencies,
            host_usd_h: survey.facts.host_usd_h,
            ..Facts::default()
        };
        let bare = Survey::new(survey.index, &facts);
        let fits = |kept: &[Need]| -> Result<bool, PlaceError> {
            let needs = only(needs, kept);
            let query = Query::new(&bare, &needs)?;
            Ok((0..survey.index.keys.len()).any(|at| query.fit(at).is_some()))
        };
        let asked: Vec<Need> = NEEDS.into_iter().filter(|need| need.words(needs).is_some()).collect();
        if fits(&asked)? {
            return Ok(());
        }
        for size in 1..=3 {
            for some in choose(&asked, size) {
                if !fits(&some)? {
                    return Err(Self::between(&bare, needs, &some)?.into());
                }
            }
        }
        Err(Self::between(&bare, needs, &asked)?.into())
    }

    fn between(survey: &Survey<'_>, needs: &Requirements, some: &[Need]) -> Result<Self, PlaceError> {
        let limit = LIMITS.into_iter().find(|limit| some.contains(limit));
        let detail = match limit {
            Some(limit) => cheapest_without(survey, needs, limit)?,
            None => known_regions(survey, needs, some),
        };
        // A limit alone is against all the rest.
        let mut between: Vec<String> = some.iter().filter_map(|need| need.words(needs)).collect();
        if let ([_], Some(_)) = (some, limit) {
            between.push("the other requirements".to_owned());
        }
        Ok(Self {
            is_contradiction: between.len() > 1,
            between,
            detail,
        })
    }
}

/// What could be had if a limit were another.
fn cheapest_without(survey: &Survey<'_>, needs: &Requirements, limit: Need) -> Result<String, PlaceError> {
    let mut needs = needs.clone();
    for other in LIMITS {
        other.clear(&mut needs);
    }
    let query = Query::new(survey, &needs)?;
    let fits = (0..survey.index.keys.len()).filter_map(|at| query.fit(at));
    let key = |fit: &super::query::Fit| match limit {
        Need::MaxPrice => survey.usd_h(fit.at),
        Need::Deadline => fit.cost.hours,
        _ => fit.cost.job_usd,
    };
    let Some(fit) = fits.min_by(|a, b| key(a).total_cmp(&key(b))) else {
        return Ok("nothing fits without it either".to_owned());
    };
    let offer = survey.index.offer(survey.index.keys[fit.at]);
    let what = format!(
        "{} in {} ({})",
        offer.instance_type,
        offer.region,
        offer.market.as_str()
    );
    Ok(match limit {
        Need::MaxPrice => format!("the cheapest that fits is {what} at {:.3} USD/h", survey.usd_h(fit.at)),
        Need::Deadline => format!("the quickest is {what} with {:.2} h, set-up included", fit.cost.hours),
        _ => format!(
            "the cheapest that fits is {what} at {:.2} USD for {:.1} h",
            fit.cost.job_usd, fit.cost.hours
        ),
    })
}

/// What there is, where a place that was asked for has nothing.
fn known_regions(survey: &Survey<'_>, needs: &Requirements, some: &[Need]) -> String {
    const REFRESH: &str = "`nvbind cloud catalog refresh` asks for more";
    let index = survey.index;
    let offers = || index.sites.iter().map(|site| index.at_site(site));
    match (some, needs.regions.as_slice()) {
        ([Need::Residency], _) => {
            let countries: BTreeSet<String> = offers().filter_map(country).collect();
            let countries: Vec<&str> = countries.iter().map(String::as_str).collect();
            format!("prices are known of {}; {REFRESH}", countries.join(", "))
        }
        ([Need::Regions], [asked]) => {
            let near = |name: &str| strsim::jaro_winkler(asked, name);
            let names = offers().map(|offer| offer.region.as_str());
            let nearest = names.max_by(|a, b| near(a).total_cmp(&near(b))).unwrap_or_default();
            format!("the nearest region with prices is {nearest}; {REFRESH}")
        }
        ([Need::Latency], _) => nearest(survey),
        _ => String::new(),
    }
}

/// What is known of round trips, where none is short enough.
fn nearest(survey: &Survey<'_>) -> String {
    let latencies = survey.facts.latencies.iter();
    match latencies.min_by(|a, b| a.ms.total_cmp(&b.ms)) {
        Some(near) => format!(
            "the nearest that was measured is {} with {:.0} ms; `nvbind cloud latency` measures again",
            near.region, near.ms
        ),
        None => "no round trip was measured: `nvbind cloud latency` does it".to_owned(),
    }
}

/// All ways to choose that many.
fn choose(needs: &[Need], size: usize) -> Vec<Vec<Need>> {
    let Some(rest) = size.checked_sub(1) else {
        return vec![Vec::new()];
    };
    let mut all = Vec::new();
    for (at, need) in needs.iter().enumerate() {
        for mut some in choose(&needs[at + 1..], rest) {
            some.insert(0, *need);
            all.push(some);
        }
    }
    all
}
