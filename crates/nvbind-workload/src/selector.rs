//! How a person names devices: the text, parsed.
//!
//! Parts are separated by commas. A part names devices (`all`, `0`, `gpu0`, `0:1`, `GPU-<uuid>`, a CDI name) or is a wish
//! that devices are chosen by (`count=2`, `model=A100`, `memory>=40GiB`). Named parts add up; wishes combine, and choose
//! among the named devices, or among all full GPUs when none is named. What that comes down to on a host is in `resolve`.

use serde::Deserialize;
use std::fmt;
use std::str::FromStr;

/// CDI kinds whose device names are GPUs: the toolkit's, and the one that Bolt's documents use.
const CDI_KINDS: [&str; 2] = ["nvidia.com/gpu", "nvidia.com/gpu-bolt"];

/// What may be written, for error texts.
const FORMS: &str = "use all, none, 0, gpu0, 0:1 (MIG), GPU-<uuid>, MIG-<uuid>, nvidia.com/gpu=0, count=N, model=NAME or \
                     memory>=SIZE, separated by commas";

/// Comparison signs, the longer ones first.
const SIGNS: [(&str, Compare); 5] = [
    (">=", Compare::AtLeast),
    ("<=", Compare::AtMost),
    (">", Compare::More),
    ("<", Compare::Less),
    ("=", Compare::Equal),
];

/// The devices that a person asked for; `Selector::resolve` finds them on a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    pub(crate) terms: Vec<Term>,
    pub(crate) wishes: Vec<Wish>,
}

/// A part that names devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Term {
    /// Every device.
    All,
    /// NVML index.
    Index(u32),
    /// MIG device `mig` of GPU `gpu`.
    MigIndex { gpu: u32, mig: u32 },
    /// A full UUID or the beginning of one, with its `GPU-` or `MIG-`.
    Uuid(String),
    /// The name that drivers before R470 gave MIG devices: `MIG-GPU-<uuid>/<gpu instance>/<compute instance>`.
    MigPath {
        gpu: String,
        gpu_instance: u32,
        compute_instance: u32,
    },
}

/// A part that devices are chosen by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    /// That many devices.
    Count(u32),
    /// The product name contains this, whatever the case.
    Model(String),
    /// The memory compares so to this number of MiB.
    Memory(Compare, u64),
}

/// How two sizes compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compare {
    Less,
    AtMost,
    Equal,
    AtLeast,
    More,
}

/// Text that is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad GPU selector '{part}': {why}")]
pub struct ParseSelectorError {
    /// The part that cannot be read.
    pub part: String,
    /// Why, and what to write instead.
    pub why: String,
}

impl Selector {
    /// No device at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// Every device.
    pub fn all() -> Self {
        Self {
            terms: vec![Term::All],
            wishes: Vec::new(),
        }
    }

    /// Whether no device is asked for.
    pub fn is_none(&self) -> bool {
        self.terms.is_empty() && self.wishes.is_empty()
    }

    fn add(&mut self, part: &str) -> Result<(), ParseSelectorError> {
        let device = device_name(part)?;
        match parse_wish(device)? {
            Some(wish) => self.wishes.push(wish),
            None => self.terms.push(parse_term(device)?),
        }
        Ok(())
    }
}

impl FromStr for Selector {
    type Err = ParseSelectorError;

    fn from_str(text: &str) -> Result<Self, ParseSelectorError> {
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        if let [only] = parts[..]
            && device_name(only)? == "none"
        {
            return Ok(Self::none());
        }
        let mut selector = Self::none();
        for part in parts {
            selector.add(part)?;
        }
        let counts = selector
            .wishes
            .iter()
            .filter(|wish| matches!(wish, Wish::Count(_)))
            .count();
        if counts > 1 {
            return Err(bad(text, "count is given more than once"));
        }
        Ok(selector)
    }
}

fn bad(part: &str, why: &str) -> ParseSelectorError {
    ParseSelectorError {
        part: part.to_owned(),
        why: why.to_owned(),
    }
}

/// The device name of a CDI-qualified name; any other text as it is.
fn device_name(part: &str) -> Result<&str, ParseSelectorError> {
    let Some((kind, name)) = part.split_once('=').filter(|(kind, _)| kind.contains('/')) else {
        return Ok(part);
    };
    if CDI_KINDS.contains(&kind) {
        Ok(name)
    } else {
        Err(bad(part, &format!("'{kind}' is no kind of GPU; use {}", CDI_KINDS[0])))
    }
}

fn parse_wish(part: &str) -> Result<Option<Wish>, ParseSelectorError> {
    let Some(at) = part.find(['=', '<', '>']) else {
        return Ok(None);
    };
    let (key, rest) = part.split_at(at);
    let (sign, compare) = *SIGNS
        .iter()
        .find(|(sign, _)| rest.starts_with(sign))
        .ok_or_else(|| bad(part, FORMS))?;
    let value = rest[sign.len()..].trim();
    match (key.trim(), compare) {
        ("count", Compare::Equal) => {
            let count = value.parse().ok().filter(|count| *count > 0);
            count
                .map(Wish::Count)
                .map(Some)
                .ok_or_else(|| bad(part, "count is a number from 1 on"))
        }
        ("model", Compare::Equal) if !value.is_empty() => Ok(Some(Wish::Model(value.to_owned()))),
        ("memory", compare) => {
            let bytes = crate::parse_size(value).map_err(|error| bad(part, &error.to_string()))?;
            Ok(Some(Wish::Memory(compare, bytes >> 20)))
        }
        _ => Err(bad(part, FORMS)),
    }
}

fn parse_term(part: &str) -> Result<Term, ParseSelectorError> {
    match part {
        "none" => return Err(bad(part, "it cannot be combined with other devices")),
        "all" | "gpu:all" => return Ok(Term::All),
        _ => {}
    }
    if let Some(rest) = part.strip_prefix("MIG-GPU-") {
        return mig_path(rest).ok_or_else(|| bad(part, "write it as MIG-GPU-<uuid>/<gpu instance>/<compute instance>"));
    }
    if part.starts_with("GPU-") || part.starts_with("MIG-") {
        let hex = |c: char| c.is_ascii_hexdigit() || c == '-';
        return match &part[4..] {
            "" => Err(bad(part, "the UUID is missing")),
            rest if rest.chars().all(hex) => Ok(Term::Uuid(part.to_owned())),
            _ => Err(bad(part, "a UUID has only hexadecimal digits and dashes")),
        };
    }
    index_term(part).ok_or_else(|| bad(part, FORMS))
}

/// `0`, `gpu0`, `gpu:0`, `0:1`, `mig0:1`.
fn index_term(part: &str) -> Option<Term> {
    let numbers = ["gpu:", "gpu", "mig"]
        .iter()
        .find_map(|prefix| part.strip_prefix(prefix))
        .unwrap_or(part);
    match numbers.split_once(':') {
        None if part.starts_with("mig") => None,
        None => Some(Term::Index(number(numbers)?)),
        Some(_) if part.starts_with("gpu") => None,
        Some((gpu, mig)) => Some(Term::MigIndex {
            gpu: number(gpu)?,
            mig: number(mig)?,
        }),
    }
}

/// `<uuid>/<gi>/<ci>` after `MIG-GPU-`.
fn mig_path(rest: &str) -> Option<Term> {
    let mut parts = rest.split('/');
    let uuid = parts.next().filter(|uuid| !uuid.is_empty())?;
    let term = Term::MigPath {
        gpu: format!("GPU-{uuid}"),
        gpu_instance: number(parts.next()?)?,
        compute_instance: number(parts.next()?)?,
    };
    parts.next().is_none().then_some(term)
}

/// A plain decimal number: no sign, which `u32::from_str` would take.
fn number(text: &str) -> Option<u32> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_none() {
            return f.write_str("none");
        }
        let terms = self.terms.iter().map(ToString::to_string);
        let parts: Vec<String> = terms.chain(self.wishes.iter().map(ToString::to_string)).collect();
        f.write_str(&parts.join(","))
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Index(index) => write!(f, "{index}"),
            Self::MigIndex { gpu, mig } => write!(f, "{gpu}:{mig}"),
            Self::Uuid(uuid) => f.write_str(uuid),
            Self::MigPath {
                gpu,
                gpu_instance,
                compute_instance,
            } => {
                write!(f, "MIG-{gpu}/{gpu_instance}/{compute_instance}")
            }
        }
    }
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "count={count}"),
            Self::Model(model) => write!(f, "model={model}"),
            Self::Memory(compare, mib) => write!(f, "memory{compare}{mib}MiB"),
        }
    }
}

impl fmt::Display for Compare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = SIGNS
            .iter()
            .find(|(_, compare)| compare == self)
            .map_or("", |(sign, _)| sign);
        f.write_str(sign)
    }
}

impl<'de> Deserialize<'de> for Selector {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Selector {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn every_spelling_of_a_device() {
        for (text, same) in [
            ("gpu:all", "all"),
            ("nvidia.com/gpu-bolt=all", "all"),
            ("gpu0", "0"),
            ("gpu:0", "0"),
            ("nvidia.com/gpu=0", "0"),
            ("nvidia.com/gpu=gpu0", "0"),
            ("nvidia.com/gpu=mig0:1", "0:1"),
            ("nvidia.com/gpu=none", "none"),
            ("gpu0, gpu1", "0,1"),
            ("memory >= 40GiB", "memory>=40960MiB"),
        ] {
            assert_eq!(parse(text).to_string(), same, "{text}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused_with_the_part() {
        for (text, part) in [
            ("", ""),
            ("0,,1", ""),
            ("x", "x"),
            ("0,gpux", "gpux"),
            ("-1", "-1"),
            ("+1", "+1"),
            ("99999999999", "99999999999"),
            ("GPU-", "GPU-"),
            ("GPU-zz", "GPU-zz"),
            ("all,none", "none"),
            ("count=0", "count=0"),
            ("count>=2", "count>=2"),
            ("count=1,count=2", "count=1,count=2"),
            ("memory>=lots", "memory>=lots"),
            ("model=", "model="),
            ("gpu0:1", "gpu0:1"),
            ("vendor.com/net=0", "vendor.com/net=0"),
            ("MIG-GPU-aa/1", "MIG-GPU-aa/1"),
        ] {
            assert_eq!(
                text.parse::<Selector>().map_err(|error| error.part),
                Err(part.to_owned()),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            if let Ok(selector) = text.parse::<Selector>() {
                prop_assert_eq!(parse(&selector.to_string()), selector);
            }
        }

        #[test]
        fn near_misses_are_read_or_refused(text in "(gpu|mig|GPU-|MIG-|all|none|count|model|memory|[:=<>,/0-9a-f])*") {
            if let Ok(selector) = text.parse::<Selector>() {
                prop_assert_eq!(parse(&selector.to_string()), selector);
            }
        }
    }
}
