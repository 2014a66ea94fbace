//! k3s and rke2, which write containerd's configuration themselves.

use super::Error;
use std::path::Path;

/// Folder of the distribution and its name (docs.k3s.io and docs.rke2.io, "Container runtime support").
const DISTRIBUTIONS: [(&str, &str); 2] = [("/var/lib/rancher/k3s", "k3s"), ("/var/lib/rancher/rke2", "rke2")];

/// The templates that they make it from are the user's.
const TEMPLATE: &str = "tmpl";

/// Refuses a file that is overwritten at every start.
pub(super) fn check(config: &Path) -> Result<(), Error> {
    let is_template = config.extension().is_some_and(|extension| extension == TEMPLATE);
    let owner = DISTRIBUTIONS.iter().find(|(folder, _)| config.starts_with(folder));
    match owner {
        Some((_, distribution)) if !is_template => Err(Error::Rancher {
            distribution,
            path: config.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// The distribution of this host, when it has no containerd of its own beside it.
pub(super) fn check_host(config: &Path, root: &Path) -> Result<(), Error> {
    if config.exists() {
        return Ok(());
    }
    for (folder, distribution) in DISTRIBUTIONS {
        let own = Path::new(folder).join("agent/etc/containerd/config.toml");
        if root.join(own.strip_prefix("/").unwrap_or(&own)).exists() {
            return Err(Error::Rancher {
                distribution,
                path: own,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_written_anew_are_refused() {
        let message = check(Path::new("/var/lib/rancher/k3s/agent/etc/containerd/config.toml"))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("k3s finds nvidia-container-runtime by itself"),
            "{message}"
        );
        assert!(check(Path::new("/var/lib/rancher/rke2/agent/etc/containerd/config.toml")).is_err());
        assert!(check(Path::new("/var/lib/rancher/k3s/agent/etc/containerd/config.toml.tmpl")).is_ok());
        assert!(check(Path::new("/etc/containerd/config.toml")).is_ok());
    }

    #[test]
    fn a_host_of_k3s_alone_is_known() {
        let root = tempfile::tempdir().unwrap();
        let absent = root.path().join("etc/containerd/config.toml");
        assert!(check_host(&absent, root.path()).is_ok());
        let own = root.path().join("var/lib/rancher/k3s/agent/etc/containerd");
        std::fs::create_dir_all(&own).unwrap();
        std::fs::write(own.join("config.toml"), "").unwrap();
        assert_eq!(check_host(&absent, root.path()).unwrap_err().exit_code(), 5);
        assert!(
            check_host(&own.join("config.toml"), root.path()).is_ok(),
            "containerd of its own"
        );
    }
}
