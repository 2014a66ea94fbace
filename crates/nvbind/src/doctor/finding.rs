//! What a check found.

use serde::Serialize;
use std::path::PathBuf;

/// How much a finding matters, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// Nothing is broken; something could be better, or is worth knowing.
    Advice,
    /// Something is broken, or will be.
    Trouble,
    /// This system cannot do it: no driver, no hardware.
    Unable,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// Name of the check, as `nodes.missing`.
    pub(crate) check: &'static str,
    pub(crate) level: Level,
    /// What there is and what follows from it, in a line.
    pub(crate) message: String,
    /// What to type.
    pub(crate) command: Option<String>,
    /// What `--fix` does about it.
    #[serde(skip)]
    pub(crate) remedy: Option<Remedy>,
}

/// What can be mended without asking: it takes nothing away, and doing it twice is doing it once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// Make the nodes of the loaded modules that are missing.
    MakeNodes,
    /// Make the links by number in `/dev/char`.
    LinkNodes,
    /// Write this spec anew.
    Regenerate(PathBuf),
}

impl Finding {
    fn new(check: &'static str, level: Level, message: impl Into<String>) -> Self {
        Self {
            check,
            level,
            message: message.into(),
            command: None,
            remedy: None,
        }
    }

    pub(crate) fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self::new(check, Level::Ok, message)
    }

    pub(crate) fn advice(check: &'static str, message: impl Into<String>) -> Self {
        Self::new(check, Level::Advice, message)
    }

    pub(crate) fn trouble(check: &'static str, message: impl Into<String>) -> Self {
        Self::new(check, Level::Trouble, message)
    }

    pub(crate) fn unable(check: &'static str, message: impl Into<String>) -> Self {
        Self::new(check, Level::Unable, message)
    }

    /// With what to type.
    pub(crate) fn command(mut self, command: impl Into<String>) -> Self {
        self.command = Some(command.into());
        self
    }

    /// With what `--fix` does.
    pub(crate) fn remedy(mut self, remedy: Remedy) -> Self {
        self.remedy = Some(remedy);
        self
    }
}
