//! How a person names devices.

/// The devices that a person asked for. Parsed here, matched against a host by `resolve`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selector {
    terms: Vec<Term>,
    predicates: Vec<Predicate>,
}

/// One named device or group.
#[derive(Debug, Clone, PartialEq)]
enum Term {
    All,
    Index(u32),
    MigIndex {
        gpu: u32,
        mig: u32,
    },
    /// Full UUID or a prefix of one, `GPU-...` or `MIG-...`.
    Uuid(String),
}

/// A wish that devices are chosen by.
#[derive(Debug, Clone, PartialEq)]
enum Predicate {
    Count(u32),
    Model(String),
    Memory { compare: Compare, mib: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
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
    why: String,
}

impl Selector {
    /// No device at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether no device is asked for.
    pub fn is_none(&self) -> bool {
        self.terms.is_empty() && self.predicates.is_empty()
    }
}
