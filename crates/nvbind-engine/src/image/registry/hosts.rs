//! Registries that may be spoken to without TLS.

use serde::Deserialize;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Files of podman and its kin that name such registries (containers-registries.conf(5)).
const SYSTEM_FILE: &str = "/etc/containers/registries.conf";
const USER_FILE: &str = ".config/containers/registries.conf";

#[derive(Deserialize, Default)]
#[serde(default)]
struct Conf {
    registry: Vec<Entry>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    prefix: Option<String>,
    location: Option<String>,
    insecure: bool,
}

/// Whether plain HTTP may be spoken to a registry: one of this machine, or one that is named as insecure.
pub(super) fn may_be_plain(registry: &str, insecure: &[String]) -> bool {
    is_loopback(registry) || insecure.iter().any(|host| host == registry)
}

/// The registries that podman's files on this host name as insecure.
pub(super) fn named_insecure() -> Vec<String> {
    files().iter().flat_map(|file| insecure_in(file)).collect()
}

fn is_loopback(registry: &str) -> bool {
    let host = match registry.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => registry,
    };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn files() -> Vec<PathBuf> {
    let user = std::env::home_dir().map(|home| home.join(USER_FILE));
    user.into_iter().chain([PathBuf::from(SYSTEM_FILE)]).collect()
}

/// A file that others can write, or that cannot be read, loosens nothing.
fn insecure_in(file: &Path) -> Vec<String> {
    let text = nvbind_config::trusted::read(file).unwrap_or_default();
    let conf: Conf = toml::from_str(&text).unwrap_or_default();
    let host = |entry: Entry| {
        let name = entry.location.or(entry.prefix).unwrap_or_default();
        name.split('/').next().map(str::to_owned)
    };
    let insecure = conf.registry.into_iter().filter(|entry| entry.insecure);
    insecure.filter_map(host).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_what_it_is() {
        for host in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:5000",
            "[::1]",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "localhost.evil.example",
            "128.0.0.1:5000",
            "docker.io",
            "[::2]:1",
            "127.0.0.1.example",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn only_what_is_named_is_insecure() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "unqualified-search-registries = [\"docker.io\"]\n[[registry]]\nlocation = \"lab:5000\"\ninsecure = true\n\
                    [[registry]]\nprefix = \"safe:5000\"\n";
        std::fs::write(file.path(), text).unwrap();
        assert_eq!(insecure_in(file.path()), ["lab:5000"]);
        assert!(may_be_plain("mine:80", &["mine:80".to_owned()]) && !may_be_plain("mine:81", &["mine:80".to_owned()]));
    }
}
