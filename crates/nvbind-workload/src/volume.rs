//! A folder or file of the host in the container.

use serde::Deserialize;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A folder or file of the host in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Path on the host.
    pub source: PathBuf,
    /// Absolute path in the container.
    pub target: PathBuf,
    /// Mounted read-only.
    pub read_only: bool,
}

/// A volume that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad volume '{text}': {why}; write it as HOST-PATH:CONTAINER-PATH[:ro]")]
pub struct ParseVolumeError {
    text: String,
    why: String,
}

impl FromStr for Volume {
    type Err = ParseVolumeError;

    fn from_str(text: &str) -> Result<Self, ParseVolumeError> {
        let bad = |why: &str| ParseVolumeError {
            text: text.to_owned(),
            why: why.to_owned(),
        };
        let mut parts = text.split(':');
        let source = parts
            .next()
            .filter(|part| !part.is_empty())
            .ok_or_else(|| bad("the host path is empty"))?;
        let target = parts.next().ok_or_else(|| bad("the container path is missing"))?;
        if !target.starts_with('/') {
            return Err(bad("the container path is not absolute"));
        }
        if is_taken(target) {
            return Err(bad("the container's own /, /proc, /sys and /dev cannot be replaced"));
        }
        let read_only = match parts.next() {
            None | Some("rw") => false,
            Some("ro") => true,
            Some(other) => return Err(bad(&format!("'{other}' is neither ro nor rw"))),
        };
        if parts.next().is_some() {
            return Err(bad("it has too many parts"));
        }
        Ok(Self {
            source: source.into(),
            target: target.into(),
            read_only,
        })
    }
}

/// Whether a container needs the place for itself. Below `/dev` and `/sys` there is room (`/dev/shm`).
fn is_taken(target: &str) -> bool {
    let path = std::path::Path::new(target);
    let whole = ["/", "/sys", "/dev"]
        .iter()
        .any(|own| path == std::path::Path::new(own));
    whole || path.starts_with("/proc") || target.split('/').any(|part| part == "..")
}

impl fmt::Display for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = if self.read_only { ":ro" } else { "" };
        write!(f, "{}:{}{suffix}", self.source.display(), self.target.display())
    }
}

impl<'de> Deserialize<'de> for Volume {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_as_docker_writes_them() {
        let volume: Volume = "/data:/mnt:ro".parse().unwrap();
        assert_eq!(
            volume,
            Volume {
                source: "/data".into(),
                target: "/mnt".into(),
                read_only: true
            }
        );
        assert!(!"a:/b".parse::<Volume>().unwrap().read_only);
        assert_eq!(volume.to_string(), "/data:/mnt:ro");
    }

    #[test]
    fn bad_volumes_say_why() {
        for (text, why) in [
            ("/data", "the container path is missing"),
            (":/b", "the host path is empty"),
            ("/a:b", "the container path is not absolute"),
            ("/a:/b:z", "'z' is neither ro nor rw"),
            ("/a:/b:ro:x", "it has too many parts"),
        ] {
            assert!(text.parse::<Volume>().unwrap_err().to_string().contains(why), "{text}");
        }
    }
}
