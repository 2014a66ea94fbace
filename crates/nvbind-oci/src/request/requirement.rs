//! What an image needs of the driver and the GPUs: `NVIDIA_REQUIRE_*`.
//!
//! The grammar is that of NVIDIA's container toolkit (`internal/requirements/constraints`): words between spaces are
//! alternatives, of which one must hold; parts between commas must hold together; a property that is not known holds.

use super::environment::Environment;
use crate::{Error, version};
use nvbind_config::RequestConfig;
use std::cmp::Ordering;

const PREFIX: &str = "NVIDIA_REQUIRE_";

/// Operators, the longer ones first, and the orders of (host, wanted) in which they hold.
const OPERATORS: [(&str, &[Ordering]); 6] = [
    ("<=", &[Ordering::Less, Ordering::Equal]),
    (">=", &[Ordering::Greater, Ordering::Equal]),
    ("!=", &[Ordering::Less, Ordering::Greater]),
    ("<", &[Ordering::Less]),
    (">", &[Ordering::Greater]),
    ("=", &[Ordering::Equal]),
];

/// One variable's requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    variable: String,
    expression: String,
    alternatives: Vec<Vec<Condition>>,
}

/// `property operator value`, as `cuda>=12.2`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    property: String,
    holds: &'static [Ordering],
    value: String,
}

/// What is known of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// Version of the driver, as `535.183.01`.
    pub driver_version: Option<String>,
    /// The newest CUDA version that the driver supports, as `12.2`.
    pub cuda_version: Option<String>,
    /// The GPUs that the container gets.
    pub gpus: Vec<GpuFacts>,
}

/// What is known of a GPU.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GpuFacts {
    /// CUDA compute capability, as `9.0`.
    pub compute_capability: Option<String>,
    /// Product line, as `tesla`.
    pub brand: Option<String>,
}

/// Checks the `NVIDIA_REQUIRE_*` among variables, for engines that start the container themselves.
///
/// # Errors
///
/// When one is not met, or is no requirement.
pub fn check_requirements(env: &[(String, String)], host: &HostFacts) -> Result<(), Error> {
    let requirements = of(&Environment::of_pairs(env), &RequestConfig::default())?;
    requirements.iter().try_for_each(|requirement| requirement.check(host))
}

/// The requirements of a container, unless it or the configuration waives them.
pub(super) fn of(env: &Environment<'_>, heard: &RequestConfig) -> Result<Vec<Requirement>, Error> {
    let waived = env.get("NVIDIA_DISABLE_REQUIRE").is_some_and(is_true);
    if waived || !heard.requirements {
        return Ok(Vec::new());
    }
    let written = env.with_prefix(PREFIX).into_iter();
    let mut all = written
        .filter(|(_, expression)| !expression.trim().is_empty())
        .map(|(variable, expression)| Requirement::parse(variable, expression))
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(version) = env.get("CUDA_VERSION").filter(|_| env.is_legacy_cuda_image()) {
        // Such an image says only with what it was built.
        let version: Vec<&str> = version.splitn(3, '.').take(2).collect();
        all.extend(Requirement::parse(
            "CUDA_VERSION",
            &format!("cuda>={}", version.join(".")),
        ));
    }
    Ok(all)
}

/// As Go's `strconv.ParseBool` reads it.
fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

impl Requirement {
    fn parse(variable: &str, expression: &str) -> Result<Self, Error> {
        let condition = |text: &str| {
            Condition::parse(text).ok_or_else(|| Error::RequirementSyntax {
                variable: variable.to_owned(),
                expression: text.to_owned(),
            })
        };
        let alternative = |word: &str| word.split(',').map(condition).collect::<Result<Vec<_>, _>>();
        Ok(Self {
            variable: variable.to_owned(),
            expression: expression.to_owned(),
            alternatives: expression
                .split_whitespace()
                .map(alternative)
                .collect::<Result<_, _>>()?,
        })
    }

    /// Whether the host meets it, with each of the GPUs.
    ///
    /// # Errors
    ///
    /// That it does not, and what the host has instead.
    pub fn check(&self, host: &HostFacts) -> Result<(), Error> {
        let none = [GpuFacts::default()];
        let gpus = if host.gpus.is_empty() { &none[..] } else { &host.gpus };
        match gpus.iter().find(|gpu| !self.is_met(host, gpu)) {
            None => Ok(()),
            Some(gpu) => Err(Error::Requirement {
                variable: self.variable.clone(),
                expression: self.expression.clone(),
                found: self.found(host, gpu),
            }),
        }
    }

    /// Whether it asks for something of which nothing is known.
    pub fn needs_more_than(&self, host: &HostFacts) -> bool {
        let mut conditions = self.alternatives.iter().flatten();
        conditions.any(|condition| {
            let is_unknown = |gpu: &GpuFacts| fact(&condition.property, host, gpu).is_none();
            match condition.property.as_str() {
                "arch" | "brand" => host.gpus.iter().any(is_unknown),
                "cuda" | "driver" => is_unknown(&GpuFacts::default()),
                _ => false,
            }
        })
    }

    /// Alternatives with only unknown properties count for nothing, unless all are so.
    fn is_met(&self, host: &HostFacts, gpu: &GpuFacts) -> bool {
        let known = |conditions: &&Vec<Condition>| conditions.iter().any(|condition| is_property(&condition.property));
        let mut alternatives = self.alternatives.iter().filter(known).peekable();
        alternatives.peek().is_none()
            || alternatives.any(|conditions| conditions.iter().all(|condition| condition.is_met(host, gpu)))
    }

    /// What the host has of the properties asked for, each once.
    fn found(&self, host: &HostFacts, gpu: &GpuFacts) -> String {
        let mut words: Vec<String> = Vec::new();
        for condition in self.alternatives.iter().flatten() {
            let property = condition.property.as_str();
            let value = fact(property, host, gpu).unwrap_or("unknown");
            let word = format!("{property} is {value}");
            if is_property(property) && !words.contains(&word) {
                words.push(word);
            }
        }
        words.join(", ")
    }
}

impl Condition {
    fn parse(text: &str) -> Option<Self> {
        let at = text.find(['<', '>', '=', '!'])?;
        let (property, rest) = text.split_at(at);
        let (operator, holds) = OPERATORS.iter().find(|(operator, _)| rest.starts_with(operator))?;
        let value = &rest[operator.len()..];
        let is_plain = !property.is_empty() && !value.is_empty();
        let is_version = !has_versions(property) || version::parse(value).is_some();
        (is_plain && is_version).then(|| Self {
            property: property.to_owned(),
            holds,
            value: value.to_owned(),
        })
    }

    fn is_met(&self, host: &HostFacts, gpu: &GpuFacts) -> bool {
        let is_of_gpu = matches!(self.property.as_str(), "arch" | "brand");
        if !is_property(&self.property) || (is_of_gpu && host.gpus.is_empty()) {
            return true;
        }
        let Some(found) = fact(&self.property, host, gpu) else {
            return false;
        };
        let order = if has_versions(&self.property) {
            version::compare(found, &self.value)
        } else {
            Some(found.cmp(&self.value))
        };
        order.is_some_and(|order| self.holds.contains(&order))
    }
}

fn is_property(name: &str) -> bool {
    has_versions(name) || name == "brand"
}

fn has_versions(property: &str) -> bool {
    matches!(property, "cuda" | "driver" | "arch")
}

fn fact<'a>(property: &str, host: &'a HostFacts, gpu: &'a GpuFacts) -> Option<&'a str> {
    match property {
        "cuda" => host.cuda_version.as_deref(),
        "driver" => host.driver_version.as_deref(),
        "arch" => gpu.compute_capability.as_deref(),
        "brand" => gpu.brand.as_deref(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> HostFacts {
        let gpu = |capability: &str, brand: &str| GpuFacts {
            compute_capability: Some(capability.into()),
            brand: Some(brand.into()),
        };
        HostFacts {
            driver_version: Some("535.183.01".into()),
            cuda_version: Some("12.2".into()),
            gpus: vec![gpu("9.0", "nvidia"), gpu("8.0", "tesla")],
        }
    }

    #[test]
    fn requirements_table() {
        let table = [
            ("cuda>=12.2", true),
            ("cuda>=12", true),
            ("cuda>12.2", false),
            ("cuda>=12.3", false),
            ("cuda=12.2.0", true),
            ("cuda!=12.2", false),
            ("cuda<12.10", true),
            ("driver>=535", true),
            ("driver>=535,driver<536", true),
            ("driver>=470,driver<471", false),
            ("arch>=8.0", true),
            ("arch>=9.0", false),
            ("brand=nvidia", false),
            ("brand=nvidia brand=tesla", true),
            (
                "cuda>=12.4 brand=tesla,driver>=535,driver<536 brand=nvidia,driver>=535,driver<536",
                true,
            ),
            ("cuda>=12.4 brand=tesla,driver>=470,driver<471", false),
            ("csv-mounts=all", true),
            ("cuda>=12.4 csv-mounts=all", false),
            ("cuda>=12.2,csv-mounts=all", true),
        ];
        for (expression, met) in table {
            let requirement = Requirement::parse("NVIDIA_REQUIRE_CUDA", expression).unwrap();
            assert_eq!(requirement.check(&host()).is_ok(), met, "{expression}");
        }
    }

    #[test]
    fn what_is_no_requirement_is_refused() {
        for expression in [
            "cuda",
            "cuda>=",
            ">=12",
            "cuda>=new",
            "cuda~12",
            "cuda>=12,",
            "cuda>=12 x",
        ] {
            let error = Requirement::parse("NVIDIA_REQUIRE_CUDA", expression).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{expression}");
        }
    }

    #[test]
    fn the_error_says_what_the_host_has() {
        let requirement = Requirement::parse("NVIDIA_REQUIRE_CUDA", "cuda>=13.0 brand=grid,driver>=580").unwrap();
        let error = requirement.check(&host()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "NVIDIA_REQUIRE_CUDA=cuda>=13.0 brand=grid,driver>=580 is not met: cuda is 12.2, brand is nvidia, \
             driver is 535.183.01; use another image, update the driver, or set NVIDIA_DISABLE_REQUIRE=1"
        );
        assert_eq!(error.exit_code(), 5);
    }

    #[test]
    fn unknown_facts_are_asked_for_only_where_they_matter() {
        let parse = |text| Requirement::parse("NVIDIA_REQUIRE_CUDA", text).unwrap();
        let mut facts = host();
        facts.gpus[1].brand = None;
        assert!(!parse("cuda>=12").needs_more_than(&facts));
        assert!(parse("brand=tesla").needs_more_than(&facts));
        assert!(!parse("csv-mounts=all").needs_more_than(&HostFacts::default()));
        assert!(parse("driver>=535").needs_more_than(&HostFacts::default()));
    }
}
