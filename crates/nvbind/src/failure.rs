//! Why a command ends without success: one line for people, a code for programs.

use std::error::Error;
use std::io::Write;

/// Exit code: something failed.
pub(crate) const FAILED: u8 = 1;
/// Exit code: usage or configuration.
pub(crate) const USAGE: u8 = 2;
/// Exit code: permission.
pub(crate) const PERMISSION: u8 = 3;
/// Exit code: not found.
pub(crate) const NOT_FOUND: u8 = 4;
/// Exit code: this system cannot do it.
pub(crate) const UNABLE: u8 = 5;

/// An error at the end of its way.
#[derive(Debug)]
pub(crate) struct Failure {
    /// One line: what failed, on which thing, why, what to do next.
    pub(crate) message: String,
    /// What caused it, and what caused that.
    causes: Vec<String>,
    /// The exit code.
    pub(crate) code: u8,
}

impl Failure {
    /// A failure with that exit code.
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            causes: Vec::new(),
            code,
        }
    }

    /// What the user wrote cannot be.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(USAGE, message)
    }

    /// A file operation failed.
    pub(crate) fn io(what: impl Into<String>, source: &std::io::Error) -> Self {
        let code = match source.kind() {
            std::io::ErrorKind::PermissionDenied => PERMISSION,
            std::io::ErrorKind::NotFound => NOT_FOUND,
            _ => FAILED,
        };
        Self::new(code, format!("{}: {source}", what.into()))
    }

    /// A library's error with its exit code.
    pub(crate) fn from_error(error: &dyn Error, code: u8) -> Self {
        let mut causes = Vec::new();
        let mut cause = error.source();
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        Self {
            message: error.to_string(),
            causes,
            code,
        }
    }

    /// Prints the line on stderr; with `verbose` also the causes.
    pub(crate) fn print(&self, verbose: bool) {
        let mut text = format!("nvbind: {}\n", one_line(&self.message));
        if verbose {
            for cause in &self.causes {
                text.push_str(&format!("  caused by: {}\n", one_line(cause)));
            }
        }
        // Nobody is left to be told when stderr cannot be written.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

/// Parsers of files put several lines into a message; a message of ours is one.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Errors that know their exit code.
macro_rules! failure_from {
    ($($error:ty),+ $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::from_error(&error, error.exit_code())
            }
        })+
    };
}

failure_from!(
    nvbind_alloc::Error,
    nvbind_cdi::Error,
    nvbind_config::Error,
    nvbind_engine::configure::Error,
    nvbind_engine::containerd::Error,
    nvbind_engine::docker::Error,
    nvbind_engine::image::Error,
    nvbind_engine::native::Error,
    nvbind_engine::podman::Error,
    nvbind_gpu::Error,
    nvbind_sim::Error,
    nvbind_workload::ResolveError,
    nvbind_workload::WorkloadError,
);

#[cfg(feature = "bolt")]
failure_from!(nvbind_engine::bolt::Error);

#[cfg(feature = "cloud")]
failure_from!(
    nvbind_cloud::agent::AgentError,
    nvbind_cloud::UnknownWorkload,
    nvbind_cloud::catalog::CatalogError,
    nvbind_cloud::catalog::PricesError,
    nvbind_cloud::catalog::UnknownGpu,
    nvbind_cloud::catalog::UnknownInstance,
    nvbind_cloud::host::HostError,
    nvbind_cloud::money::ParsePeriodError,
    nvbind_cloud::jobs::JobsError,
    nvbind_cloud::latency::LatencyError,
    nvbind_cloud::place::PlaceError,
    nvbind_cloud::spot::JobError,
    nvbind_cloud::spot::StudyError,
    nvbind_cloud::spot::TraceError,
    nvbind_cloud::state::StateError,
);
