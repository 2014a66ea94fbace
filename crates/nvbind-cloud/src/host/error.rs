//! What goes wrong with a host.

use super::TargetError;
use crate::provider::{ErrorClass, ProviderError};

/// What goes wrong with a host. Each is one line that names the host.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// It is no name of a host.
    #[error(transparent)]
    Name(#[from] TargetError),
    /// `ssh` cannot be started.
    #[error("cannot start ssh: {0}: install the OpenSSH client")]
    NoSsh(std::io::Error),
    /// Something of this machine's own cannot be read or written.
    #[error("{what}: {source}")]
    Local {
        /// What.
        what: String,
        /// Why.
        source: std::io::Error,
    },
    /// Nothing answers there.
    #[error("host '{host}' cannot be reached: {why}")]
    Unreachable {
        /// The host.
        host: String,
        /// In the words of `ssh`.
        why: String,
    },
    /// Its key is unknown or another one than it was.
    #[error("host '{host}' is not trusted: {why}: look at its key, then log in once with ssh or mend known_hosts")]
    HostKey {
        /// The host.
        host: String,
        /// In the words of `ssh`.
        why: String,
    },
    /// It does not let us in.
    #[error("host '{host}' refuses the login: {why}: try ssh -o BatchMode=yes {host}")]
    Denied {
        /// The host.
        host: String,
        /// In the words of `ssh`.
        why: String,
    },
    /// The connection broke in the middle.
    #[error("connection to host '{host}' lost: {why}")]
    Lost {
        /// The host.
        host: String,
        /// In the words of `ssh`.
        why: String,
    },
    /// A command there took too long, or its reports stopped.
    #[error("host '{host}' has not answered for {seconds} s")]
    Silent {
        /// The host.
        host: String,
        /// How long.
        seconds: u64,
    },
    /// A command failed there.
    #[error("host '{host}': {what} failed ({code}): {why}")]
    Failed {
        /// The host.
        host: String,
        /// What.
        what: String,
        /// Its exit code.
        code: i32,
        /// What it said last.
        why: String,
    },
    /// It cannot run the workload.
    #[error("host '{host}' cannot be used: {why}")]
    Broken {
        /// The host.
        host: String,
        /// Why, and what to do.
        why: String,
    },
    /// It answered something that nobody expected.
    #[error("host '{host}': {what}: unexpected answer: {why}")]
    Answer {
        /// The host.
        host: String,
        /// To what.
        what: String,
        /// What is odd about it.
        why: String,
    },
}

/// What `ssh` prints when it fails (OpenSSH 7.4 to 10), and what it means.
const WORDS: [(&str, Kind); 12] = [
    ("host key verification failed", Kind::HostKey),
    ("remote host identification has changed", Kind::HostKey),
    ("no matching host key type", Kind::HostKey),
    ("permission denied", Kind::Denied),
    ("too many authentication failures", Kind::Denied),
    ("no supported authentication", Kind::Denied),
    ("could not resolve", Kind::Unreachable),
    ("connect to", Kind::Unreachable),
    ("kex_exchange_identification", Kind::Unreachable),
    ("banner exchange", Kind::Unreachable),
    ("timed out", Kind::Unreachable),
    ("connection closed by", Kind::Unreachable),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    HostKey,
    Denied,
    Unreachable,
}

impl HostError {
    /// Why `ssh` could not log in.
    pub(super) fn of_login(host: &str, printed: &str) -> Self {
        let (host, lower) = (host.to_owned(), printed.to_ascii_lowercase());
        let kind = WORDS.iter().find(|(words, _)| lower.contains(words)).map(|(_, kind)| *kind);
        let why = last_words(printed);
        match kind {
            Some(Kind::HostKey) => Self::HostKey { host, why: why_key(&lower) },
            Some(Kind::Denied) => Self::Denied { host, why },
            _ => Self::Unreachable { host, why },
        }
    }

    /// The exit code of a command that ends with this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Name(_) => 2,
            Self::HostKey { .. } | Self::Denied { .. } => 3,
            Self::NoSsh(_) | Self::Broken { .. } => 5,
            _ => 1,
        }
    }

    /// As the answer of a provider to an order: another host may do.
    pub fn into_refusal(self) -> ProviderError {
        let (class, code) = match &self {
            Self::Unreachable { .. } | Self::Lost { .. } | Self::Silent { .. } => (ErrorClass::NoCapacity, "Unreachable"),
            Self::Name(_) => (ErrorClass::Invalid, "BadHost"),
            Self::NoSsh(_) | Self::Local { .. } => (ErrorClass::Invalid, "NoSsh"),
            Self::HostKey { .. } => (ErrorClass::NotOffered, "HostKeyRefused"),
            Self::Denied { .. } => (ErrorClass::NotOffered, "LoginRefused"),
            Self::Broken { .. } => (ErrorClass::NotOffered, "Broken"),
            Self::Failed { .. } | Self::Answer { .. } => (ErrorClass::Unknown, "Failed"),
        };
        ProviderError::new(class, code, self.to_string())
    }

    /// As the answer of a provider to a question about something that is there: only asking again tells.
    pub fn into_silence(self) -> ProviderError {
        let refusal = self.into_refusal();
        match refusal.class {
            ErrorClass::NoCapacity => ProviderError {
                class: ErrorClass::Transient,
                ..refusal
            },
            _ => refusal,
        }
    }
}

fn why_key(printed: &str) -> String {
    let why = match printed.contains("identification has changed") {
        true => "its key is not the one in known_hosts",
        false => "its key is not in known_hosts",
    };
    why.to_owned()
}

/// The last line that says something, without what a pseudo terminal puts before it.
pub(super) fn last_words(printed: &str) -> String {
    let line = printed.lines().map(str::trim).rfind(|line| !line.is_empty());
    line.unwrap_or("it said nothing").trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ssh_prints_is_understood() {
        let class = |printed: &str| HostError::of_login("h", printed).into_refusal().code;
        assert_eq!(class("ssh: connect to host h port 22: Connection refused\n"), "Unreachable");
        assert_eq!(class("ssh: connect to host h port 22: No route to host"), "Unreachable");
        assert_eq!(class("ssh: Could not resolve hostname h: Name or service not known"), "Unreachable");
        assert_eq!(class("u@h: Permission denied (publickey)."), "LoginRefused");
        assert_eq!(class("No ED25519 host key is known for h.\nHost key verification failed."), "HostKeyRefused");
        assert_eq!(class(""), "Unreachable");
    }

    #[test]
    fn a_changed_key_is_told_from_an_unknown_one() {
        let changed = "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.\n";
        assert!(HostError::of_login("h", changed).to_string().contains("not the one in known_hosts"));
        assert!(HostError::of_login("h", "Host key verification failed.").to_string().contains("not in known_hosts"));
    }
}
