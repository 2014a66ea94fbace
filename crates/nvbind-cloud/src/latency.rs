//! Round trips to regions, measured by connecting to them, and kept with their dates.

use crate::catalog::ProviderName;
use crate::place::Latency;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Name of the file in the state folder.
const FILE: &str = "latencies.json";
/// How long a connection may take; the longest way around the Earth takes a fifth of it.
const PATIENCE: Duration = Duration::from_secs(2);
/// Connections at once: few enough that they do not stand in each other's way.
const AT_ONCE: usize = 8;

/// A public address of each region that is answered there and not at the edge of the provider's network: the regional endpoints of EC2
/// (<https://docs.aws.amazon.com/general/latest/gr/ec2-service.html>), of Cloud Storage
/// (<https://cloud.google.com/storage/docs/regional-endpoints>), and of Azure AI services
/// (<https://learn.microsoft.com/azure/ai-services/cognitive-services-custom-subdomains>). `{}` stands for the region.
const ENDPOINTS: [(ProviderName, &str); 3] = [
    (ProviderName::Aws, "ec2.{}.amazonaws.com:443"),
    (ProviderName::Gcp, "storage.{}.rep.googleapis.com:443"),
    (ProviderName::Azure, "{}.api.cognitive.microsoft.com:443"),
];

/// Where the round trip to a region is measured to, as `HOST:PORT`; `None` for providers without regions of their own.
pub fn endpoint(provider: ProviderName, region: &str) -> Option<String> {
    let found = ENDPOINTS.iter().find(|(known, _)| *known == provider);
    found.map(|(_, form)| form.replace("{}", region))
}

/// A round trip with the time at which it was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The round trip.
    #[serde(flatten)]
    pub latency: Latency,
    /// Seconds since 1970.
    pub at: u64,
}

/// Why there is no round trip.
#[derive(Debug, thiserror::Error)]
pub enum LatencyError {
    /// The other end does not answer.
    #[error("{endpoint} does not answer: {source}")]
    Silent {
        /// `HOST:PORT`.
        endpoint: String,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be read or written.
    #[error("cannot {verb} '{}': {source}", path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl LatencyError {
    /// The exit code of a command that ends with this error.
    pub fn exit_code(&self) -> u8 {
        1
    }
}

/// The round trip to `HOST:PORT` in milliseconds: the quickest of so many connections, since what makes one slower is not the way. The
/// look-up of the name does not count.
pub fn measure(endpoint: &str, tries: u32) -> Result<f64, LatencyError> {
    let silent = |source| LatencyError::Silent {
        endpoint: endpoint.to_owned(),
        source,
    };
    let mut addresses = endpoint.to_socket_addrs().map_err(silent)?;
    let address = addresses
        .next()
        .ok_or_else(|| silent(io::Error::other("its name has no address")))?;
    let mut quickest = connect(&address).map_err(silent)?;
    for _ in 1..tries {
        // One that is lost says nothing once another has come through.
        quickest = connect(&address).map_or(quickest, |took| took.min(quickest));
    }
    Ok(quickest.as_secs_f64() * 1000.0)
}

/// The time of one connection: the handshake is one round trip.
fn connect(address: &SocketAddr) -> io::Result<Duration> {
    let start = Instant::now();
    TcpStream::connect_timeout(address, PATIENCE)?;
    Ok(start.elapsed())
}

/// Measures the round trips to several endpoints, a few at once; the results in their order.
pub fn measure_all(endpoints: &[String], tries: u32) -> Vec<Result<f64, LatencyError>> {
    let some = |endpoints: &[String]| {
        thread::scope(|scope| {
            let threads: Vec<_> = endpoints
                .iter()
                .map(|endpoint| scope.spawn(move || measure(endpoint, tries)))
                .collect();
            let joined = threads.into_iter().zip(endpoints);
            joined
                .map(|(thread, endpoint)| thread.join().unwrap_or_else(|_| Err(broken(endpoint))))
                .collect::<Vec<_>>()
        })
    };
    endpoints.chunks(AT_ONCE).flat_map(some).collect()
}

fn broken(endpoint: &str) -> LatencyError {
    LatencyError::Silent {
        endpoint: endpoint.to_owned(),
        source: io::Error::other("the thread that asked it died"),
    }
}

/// The round trips that are kept in a state folder.
pub fn read(state: &Path) -> Result<Vec<Measured>, LatencyError> {
    let path = state.join(FILE);
    let failed = |source| LatencyError::File {
        verb: "read",
        path: path.clone(),
        source,
    };
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| failed(error.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed(error)),
    }
}

/// Keeps round trips: in place of older ones between the same ends, beside all others. What is kept now is returned. One at a time does so:
/// none loses what another has just kept.
pub fn keep(state: &Path, new: &[Measured]) -> Result<Vec<Measured>, LatencyError> {
    let _folder = locked(state).map_err(|source| LatencyError::File {
        verb: "lock",
        path: state.to_owned(),
        source,
    })?;
    let mut by_ends: BTreeMap<_, Measured> = BTreeMap::new();
    for measured in read(state)?.iter().chain(new) {
        let latency = &measured.latency;
        let ends = (latency.provider, latency.region.clone(), latency.site.clone());
        by_ends.insert(ends, measured.clone());
    }
    let all: Vec<Measured> = by_ends.into_values().collect();
    write(state, &all).map_err(|source| LatencyError::File {
        verb: "write",
        path: state.join(FILE),
        source,
    })?;
    Ok(all)
}

/// The folder, made if it is not there, and no one else's until it is closed.
fn locked(state: &Path) -> io::Result<File> {
    fs::create_dir_all(state)?;
    let folder = File::open(state)?;
    folder.lock()?;
    Ok(folder)
}

/// Writes the file: readers see the old one or the new one, whole.
fn write(state: &Path, all: &[Measured]) -> io::Result<()> {
    let temporary = state.join(format!(".{FILE}.{}", std::process::id()));
    let written = fill(&temporary, all)
        .and_then(|()| fs::rename(&temporary, state.join(FILE)))
        .and_then(|()| File::open(state)?.sync_all());
    if written.is_err() {
        // Nothing half-written stays; the first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn fill(path: &Path, all: &[Measured]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(&serde_json::to_vec_pretty(all)?)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn measured(region: &str, site: &str, ms: f64, at: u64) -> Measured {
        let latency = Latency {
            provider: ProviderName::Aws,
            region: region.to_owned(),
            site: site.to_owned(),
            ms,
        };
        Measured { latency, at }
    }

    #[test]
    fn a_newer_round_trip_takes_the_place_of_the_older_one() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(read(state.path()).unwrap(), []);
        let office = measured("eu-west-1", "office", 20.0, 1);
        let lab = measured("eu-west-1", "lab", 5.0, 2);
        keep(state.path(), &[office, lab.clone()]).unwrap();
        let newer = measured("eu-west-1", "office", 30.0, 3);
        keep(state.path(), std::slice::from_ref(&newer)).unwrap();
        assert_eq!(read(state.path()).unwrap(), [lab, newer]);
        std::fs::write(state.path().join(FILE), "[{").unwrap();
        assert!(read(state.path()).is_err());
    }

    #[test]
    fn those_who_measure_at_once_lose_nothing() {
        let state = tempfile::tempdir().unwrap();
        let folder = state.path();
        let sites: Vec<String> = (0..8).map(|site| format!("site-{site}")).collect();
        thread::scope(|scope| {
            for site in &sites {
                scope.spawn(move || keep(folder, &[measured("eu-west-1", site, 20.0, 1)]).unwrap());
            }
        });
        let kept = read(folder).unwrap();
        let kept: Vec<&String> = kept.iter().map(|measured| &measured.latency.site).collect();
        assert_eq!(kept, sites.iter().collect::<Vec<_>>());
    }

    #[test]
    fn what_answers_is_measured_and_what_does_not_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = listener.local_addr().unwrap().to_string();
        let closed = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .to_string();
        let results = measure_all(&[near, closed.clone()], 3);
        assert!(
            results[0].as_ref().is_ok_and(|ms| *ms > 0.0 && *ms < 500.0),
            "{results:?}"
        );
        let told = results[1].as_ref().unwrap_err().to_string();
        assert!(told.starts_with(&format!("{closed} does not answer: ")), "{told}");
    }

    #[test]
    fn endpoints_are_of_their_regions() {
        let of = |provider, region| endpoint(provider, region).unwrap();
        assert_eq!(of(ProviderName::Aws, "eu-west-1"), "ec2.eu-west-1.amazonaws.com:443");
        assert_eq!(
            of(ProviderName::Gcp, "us-central1"),
            "storage.us-central1.rep.googleapis.com:443"
        );
        assert_eq!(endpoint(ProviderName::Hosts, "own"), None);
    }
}
