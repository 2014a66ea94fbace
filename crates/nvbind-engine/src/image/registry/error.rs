//! What can go wrong between this machine and a registry.

use oci_client::errors::{OciDistributionError, OciErrorCode};
use std::path::PathBuf;

/// What can go wrong between this machine and a registry.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry has no such image.
    #[error("image '{name}' is not in its registry: check the name and the tag")]
    NotFound {
        /// The image.
        name: String,
    },
    /// The registry wants to know who asks.
    #[error(
        "registry {registry} wants a login for image '{name}': run 'docker login {registry}' or 'podman login {registry}'"
    )]
    LoginWanted {
        /// `host[:port]`.
        registry: String,
        /// The image.
        name: String,
    },
    /// The registry knows who asks, and refuses.
    #[error("registry {registry} refuses image '{name}' to user '{user}' of {}: log in again, or ask for access", file.display())]
    LoginRefused {
        /// `host[:port]`.
        registry: String,
        /// The image.
        name: String,
        /// Whose credentials were sent.
        user: String,
        /// Where they are from.
        file: PathBuf,
    },
    /// No answer.
    #[error("cannot reach registry {registry} for image '{name}': {why}; check the name, the network and HTTPS_PROXY")]
    Unreachable {
        /// `host[:port]`.
        registry: String,
        /// The image.
        name: String,
        /// Why.
        why: String,
    },
    /// An answer that says no, or says nothing that can be understood.
    #[error("registry {registry} does not give image '{name}': {why}; try again later")]
    Refused {
        /// `host[:port]`.
        registry: String,
        /// The image.
        name: String,
        /// Why.
        why: String,
    },
    /// The connection was cut again and again.
    #[error(
        "image '{name}': the download of {digest} was cut {tries} times, last at {done} of {size} bytes: {why}; run it again to go on from there"
    )]
    Cut {
        /// The image.
        name: String,
        /// The blob.
        digest: String,
        /// How often in a row.
        tries: u32,
        /// Bytes that are there.
        done: u64,
        /// Bytes in all.
        size: u64,
        /// What the last attempt ended with.
        why: String,
    },
    /// A file of credentials cannot be used.
    #[error("credentials in {} cannot be used: {why}", path.display())]
    AuthFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A program that keeps credentials failed.
    #[error("credential helper {program}, named in {}, failed for {registry}: {why}", path.display())]
    Helper {
        /// The program.
        program: String,
        /// The file that names it.
        path: PathBuf,
        /// `host[:port]`.
        registry: String,
        /// What it said.
        why: String,
    },
    /// The client cannot be set up.
    #[error("cannot set up HTTPS: {why}; install the package ca-certificates")]
    Setup {
        /// Why.
        why: String,
    },
}

impl Error {
    /// Exit code of the command that failed with this.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound { .. } => 4,
            Self::LoginWanted { .. } | Self::LoginRefused { .. } => 3,
            Self::AuthFile { .. } => 2,
            Self::Setup { .. } => 5,
            Self::Unreachable { .. } | Self::Refused { .. } | Self::Cut { .. } | Self::Helper { .. } => 1,
        }
    }
}

/// What an error of the client means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// There is no such thing.
    Absent,
    /// A login is wanted, or was refused.
    Login,
    /// Nobody answered.
    Silence,
    /// It may go better another time.
    Passing,
    /// It will not go better.
    Refusal,
}

/// What an error of the client means.
pub(super) fn meaning(error: &OciDistributionError) -> Meaning {
    use OciDistributionError as E;
    match error {
        E::ImageManifestNotFoundError(_) => Meaning::Absent,
        E::UnauthorizedError { .. } | E::AuthenticationFailure(_) => Meaning::Login,
        E::ServerError { code, .. } => of_status(*code),
        E::RegistryError { envelope, .. } => envelope
            .errors
            .first()
            .map_or(Meaning::Refusal, |error| of_code(&error.code)),
        E::RequestError(error) if error.is_connect() => Meaning::Silence,
        E::RequestError(_) | E::IoError(_) => Meaning::Passing,
        _ => Meaning::Refusal,
    }
}

fn of_status(code: u16) -> Meaning {
    match code {
        404 => Meaning::Absent,
        401 | 403 => Meaning::Login,
        408 | 429 | 500..=599 => Meaning::Passing,
        _ => Meaning::Refusal,
    }
}

fn of_code(code: &OciErrorCode) -> Meaning {
    match code {
        OciErrorCode::ManifestUnknown
        | OciErrorCode::NameUnknown
        | OciErrorCode::NotFound
        | OciErrorCode::BlobUnknown => Meaning::Absent,
        OciErrorCode::Unauthorized | OciErrorCode::Denied => Meaning::Login,
        OciErrorCode::Toomanyrequests => Meaning::Passing,
        _ => Meaning::Refusal,
    }
}

/// What is at the bottom of an error.
pub(super) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(cause) = deepest.source() {
        deepest = cause;
    }
    deepest.to_string().replace(char::is_control, " ")
}

/// An error with its causes in one line, each said once.
pub(super) fn one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text.replace(char::is_control, " ")
}
