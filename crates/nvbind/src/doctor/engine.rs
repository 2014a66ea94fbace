//! The container engines of a host: which are installed, and how much of CDI each reads.

use super::site::below;
use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a program may take to tell its version.
const PATIENCE: Duration = Duration::from_secs(20);
/// Where programs lie on any host.
const FOLDERS: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// A version's three numbers.
pub(crate) type Version = (u32, u32, u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EngineKind {
    Docker,
    Podman,
    Containerd,
    Crio,
}

/// An engine that is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Engine {
    pub(crate) kind: EngineKind,
    /// `None` when it does not say, or is not of the host that this program runs on.
    pub(crate) version: Option<Version>,
}

/// From which release on an engine reads which CDI version: those of the container-device-interface module that it is
/// built with. Releases before the first row know no CDI. Sources: moby#45134 (25.0, v0.6), moby#47706 (27.0, v0.7),
/// docker/cli#6433 (28, v0.8; 29, v1.0), podman#22280 (5.1, v0.7; v0.6 before), podman 4.3.1 of Debian as it was seen,
/// containerd#7374 (1.7.0, v0.5), #9685 (1.7.13, v0.6), #11422 (1.7.26, v0.8), #12664 (2.2.1, v1.1).
const CDI: [(EngineKind, Version, &str); 13] = [
    (EngineKind::Docker, (25, 0, 0), "0.6.0"),
    (EngineKind::Docker, (27, 0, 0), "0.7.0"),
    (EngineKind::Docker, (28, 0, 0), "0.8.0"),
    (EngineKind::Docker, (29, 0, 0), "1.0.0"),
    (EngineKind::Podman, (4, 1, 0), "0.5.0"),
    (EngineKind::Podman, (5, 0, 0), "0.6.0"),
    (EngineKind::Podman, (5, 1, 0), "0.7.0"),
    (EngineKind::Containerd, (1, 7, 0), "0.5.0"),
    (EngineKind::Containerd, (1, 7, 13), "0.6.0"),
    (EngineKind::Containerd, (1, 7, 26), "0.8.0"),
    (EngineKind::Containerd, (2, 0, 0), "0.8.0"),
    (EngineKind::Containerd, (2, 2, 1), "1.1.0"),
    (EngineKind::Crio, (1, 23, 0), "0.5.0"),
];

/// What an engine reads of CDI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CdiSupport {
    /// Nothing: devices are given by a runtime.
    None,
    /// Specs of this version and below.
    UpTo(&'static str),
    /// Its version is not known.
    Unknown,
}

impl EngineKind {
    const EVERY: [Self; 4] = [Self::Docker, Self::Podman, Self::Containerd, Self::Crio];

    /// The program that reads the specs.
    fn program(self) -> &'static str {
        match self {
            Self::Docker => "dockerd",
            Self::Podman => "podman",
            Self::Containerd => "containerd",
            Self::Crio => "crio",
        }
    }

    /// What a person calls it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            other => other.program(),
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.word())?;
        match self.version {
            Some((major, minor, patch)) => write!(f, " {major}.{minor}.{patch}"),
            None => Ok(()),
        }
    }
}

impl Engine {
    /// The engines whose programs lie on the host.
    pub(crate) fn installed(host_root: &Path) -> Vec<Self> {
        let engine = |kind: EngineKind| {
            let program = find(host_root, kind.program())?;
            // A program of another root cannot be started from here.
            let version = (host_root == Path::new("/")).then(|| version_of(&program)).flatten();
            Some(Self { kind, version })
        };
        EngineKind::EVERY.into_iter().filter_map(engine).collect()
    }

    /// What it reads of CDI.
    pub(crate) fn cdi(&self) -> CdiSupport {
        let Some(version) = self.version else {
            return CdiSupport::Unknown;
        };
        CDI.iter()
            .rev()
            .find(|(kind, since, _)| *kind == self.kind && *since <= version)
            .map_or(CdiSupport::None, |(_, _, cdi)| CdiSupport::UpTo(cdi))
    }
}

/// A program of the host, by its folders; of this host also by `PATH`.
pub(crate) fn find(host_root: &Path, name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")
        .filter(|_| host_root == Path::new("/"))
        .unwrap_or_default();
    let on_path: Vec<PathBuf> = env::split_paths(&path).filter(|folder| folder.is_absolute()).collect();
    let usual = FOLDERS.iter().map(|folder| below(host_root, Path::new(folder)));
    on_path
        .into_iter()
        .chain(usual)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

fn version_of(program: &Path) -> Option<Version> {
    let child = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.ok()?;
    let start = Instant::now();
    while child.try_wait().ok()?.is_none() {
        if start.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().ok()?;
    parse(&String::from_utf8_lossy(&output.stdout))
}

/// The first word that looks like a version: `Docker version 20.10.24+dfsg1, build 297e128`, `containerd 1.6.20~ds1`.
fn parse(text: &str) -> Option<Version> {
    text.split_whitespace().find_map(|word| {
        let word = word.trim_start_matches('v');
        let mut numbers = word.splitn(3, '.').map(|part| {
            let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part[..end].parse::<u32>().ok()
        });
        Some((
            numbers.next()??,
            numbers.next()??,
            numbers.next().flatten().unwrap_or(0),
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_print() {
        for (text, version) in [
            ("Docker version 20.10.24+dfsg1, build 297e128", Some((20, 10, 24))),
            ("podman version 4.3.1", Some((4, 3, 1))),
            (
                "containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u1",
                Some((1, 6, 20)),
            ),
            ("containerd containerd.io v2.1.4 75cb2b71", Some((2, 1, 4))),
            ("crio version 1.30", Some((1, 30, 0))),
            ("no version here", None),
        ] {
            assert_eq!(parse(text), version, "{text}");
        }
    }

    #[test]
    fn each_release_reads_what_it_was_built_with() {
        let reads = |kind, version| {
            Engine {
                kind,
                version: Some(version),
            }
            .cdi()
        };
        use CdiSupport::{None as Nothing, UpTo};
        assert_eq!(reads(EngineKind::Docker, (20, 10, 24)), Nothing);
        assert_eq!(reads(EngineKind::Docker, (26, 1, 5)), UpTo("0.6.0"));
        assert_eq!(reads(EngineKind::Podman, (4, 3, 1)), UpTo("0.5.0"));
        assert_eq!(reads(EngineKind::Podman, (5, 4, 2)), UpTo("0.7.0"));
        assert_eq!(reads(EngineKind::Containerd, (1, 6, 20)), Nothing);
        assert_eq!(reads(EngineKind::Containerd, (1, 7, 20)), UpTo("0.6.0"));
        assert_eq!(reads(EngineKind::Containerd, (2, 2, 1)), UpTo("1.1.0"));
        let unknown = Engine {
            kind: EngineKind::Docker,
            version: None,
        };
        assert_eq!(unknown.cdi(), CdiSupport::Unknown);
    }

    #[test]
    fn the_engines_of_this_machine_tell_their_versions() {
        let engines = Engine::installed(Path::new("/"));
        let podman = engines
            .iter()
            .find(|engine| engine.kind == EngineKind::Podman)
            .expect("podman is installed for the tests");
        assert!(podman.version.is_some());
        assert!(Engine::installed(Path::new("/nonexistent")).is_empty());
    }
}
