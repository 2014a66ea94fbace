//! Where a host is, and how it shows that it is the right one.

use std::path::PathBuf;

/// How a host shows that it is the right one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostKeys {
    /// The user's own known hosts, strictly: an unknown host is refused.
    Known,
    /// A file of the deployment's own, for a machine that has just been made: its first key is written down and held to. A later machine may
    /// have the same address, so the key is kept under `name`.
    Fresh {
        /// The file.
        file: PathBuf,
        /// Name of the machine, never used twice.
        name: String,
    },
}

/// A host as `ssh` is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// What `ssh` calls the destination: a name of the user's configuration, `user@host`, `ssh://user@host:port`.
    destination: String,
    /// How it shows that it is the right one.
    pub keys: HostKeys,
    /// Private key to log in with; `None` leaves it to the user's configuration and agent.
    pub identity: Option<PathBuf>,
    /// Configuration file to use in place of the user's own.
    pub config: Option<PathBuf>,
}

/// A text that is no destination.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad host '{0}': write it as for ssh, as gpu-box, user@host or ssh://user@host:22")]
pub struct TargetError(pub String);

impl Target {
    /// A host of the user's own.
    pub fn own(destination: &str) -> Result<Self, TargetError> {
        match is_destination(destination) {
            true => Ok(Self {
                destination: destination.to_owned(),
                keys: HostKeys::Known,
                identity: None,
                config: None,
            }),
            false => Err(TargetError(destination.escape_debug().to_string())),
        }
    }

    /// A machine that has just been made: `known_hosts` is the deployment's own file, `name` is never used for another machine.
    pub fn fresh(
        user: &str,
        address: &str,
        identity: PathBuf,
        known_hosts: PathBuf,
        name: &str,
    ) -> Result<Self, TargetError> {
        let target = Self::own(&format!("{user}@{address}"))?;
        Ok(Self {
            keys: HostKeys::Fresh {
                file: known_hosts,
                name: name.to_owned(),
            },
            identity: Some(identity),
            ..target
        })
    }

    /// What `ssh` calls it.
    pub fn destination(&self) -> &str {
        &self.destination
    }

    /// `ssh` to it, for a person: a command there, or a shell when there is none.
    pub fn command(&self, argv: &[String]) -> std::process::Command {
        let mut command = std::process::Command::new("ssh");
        command.args(self.options()).arg("--").arg(&self.destination).args(argv);
        command
    }

    /// The options that say where it is and how it is known.
    pub(super) fn options(&self) -> Vec<String> {
        let mut options = Vec::new();
        if let Some(config) = &self.config {
            options.extend(["-F".to_owned(), config.display().to_string()]);
        }
        if let Some(identity) = &self.identity {
            options.extend(["-i".to_owned(), identity.display().to_string()]);
            options.push("-oIdentitiesOnly=yes".to_owned());
        }
        match &self.keys {
            HostKeys::Known => options.push("-oStrictHostKeyChecking=yes".to_owned()),
            HostKeys::Fresh { file, name } => options.extend([
                "-oStrictHostKeyChecking=accept-new".to_owned(),
                format!("-oUserKnownHostsFile=\"{}\"", file.display()),
                "-oGlobalKnownHostsFile=/dev/null".to_owned(),
                format!("-oHostKeyAlias={name}"),
                "-oCheckHostIP=no".to_owned(),
            ]),
        }
        options
    }
}

/// Only what names of hosts, users and configurations are made of: `ssh` hands them to a shell where the configuration has a
/// `ProxyCommand`, and takes a leading dash for an option.
fn is_destination(text: &str) -> bool {
    let rest = text.strip_prefix("ssh://").unwrap_or(text);
    let is_ordinary = |c: char| c.is_ascii_alphanumeric() || "._-@:%[]+".contains(c);
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let is_whole = !host.is_empty() && !host.starts_with('-') && !rest.starts_with(['-', '@']);
    is_whole && rest.len() <= 255 && rest.chars().all(is_ordinary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_as_ssh_takes_them() {
        for good in [
            "box",
            "user@10.0.0.1",
            "ssh://u@[fe80::1%eth0]:2222",
            "gpu-1.lab.example",
            "::1",
        ] {
            assert!(Target::own(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn hostile_names_are_refused() {
        let long = "a".repeat(300);
        for bad in [
            "",
            "-oProxyCommand=touch /tmp/x",
            "user@-oProxyCommand=x",
            "a b",
            "a\nb",
            "a'b",
            "a\"b",
            "$(x)",
            "`x`",
            "a;b",
            "a|b",
            "@host",
            "ssh://-x",
            "a/b",
            "höst",
            "a\0b",
            &long,
        ] {
            assert!(Target::own(bad).is_err(), "{bad:?}");
        }
        let message = Target::own("a\nb").map_err(|error| error.to_string());
        assert!(message.is_err_and(|text| !text.contains('\n')));
    }
}
