//! The way to the daemon.

use super::Error;
use bollard::{API_DEFAULT_VERSION, Docker};
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Where the daemon listens when `DOCKER_HOST` does not say.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// Seconds after which an answer of the daemon is given up. Starting a container on a busy machine can take long.
const TIMEOUT: u64 = 300;

/// A daemon that answers.
#[derive(Debug)]
pub(super) struct Daemon {
    /// Its API.
    pub(super) api: Docker,
    /// Its socket.
    pub(super) socket: PathBuf,
}

/// Connects to the daemon of `DOCKER_HOST`.
pub(super) fn connect() -> Result<Daemon, Error> {
    let socket = socket(std::env::var("DOCKER_HOST").ok().as_deref())?;
    let name = || socket.display().to_string();
    // The API client opens the socket at the first request and says little then: find out here.
    UnixStream::connect(&socket).map_err(|source| match source.kind() {
        ErrorKind::PermissionDenied => Error::Permission { socket: name() },
        _ => Error::NotReachable { socket: name(), source },
    })?;
    let api = Docker::connect_with_unix(&name(), TIMEOUT, API_DEFAULT_VERSION).map_err(Error::api("open", &name()))?;
    Ok(Daemon { api, socket })
}

fn socket(host: Option<&str>) -> Result<PathBuf, Error> {
    match host.filter(|host| !host.is_empty()) {
        None => Ok(DEFAULT_SOCKET.into()),
        Some(host) => {
            let path = host
                .strip_prefix("unix://")
                .filter(|path| Path::new(path).is_absolute());
            path.map(PathBuf::from)
                .ok_or_else(|| Error::Host { host: host.to_owned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_host_is_a_unix_socket() {
        assert_eq!(socket(None).unwrap(), Path::new("/var/run/docker.sock"));
        assert_eq!(socket(Some("")).unwrap(), Path::new("/var/run/docker.sock"));
        assert_eq!(
            socket(Some("unix:///run/user/1000/docker.sock")).unwrap(),
            Path::new("/run/user/1000/docker.sock")
        );
        for bad in ["tcp://10.0.0.1:2375", "ssh://host", "unix://relative"] {
            assert_eq!(socket(Some(bad)).unwrap_err().exit_code(), 2, "{bad}");
        }
    }
}
