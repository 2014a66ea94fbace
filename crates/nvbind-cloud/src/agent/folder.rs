//! The folder of an agent.

use super::report::uptime_ms;
use super::{AgentError, AgentState, Phase, Plan, Report};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The folder of an agent.
#[derive(Debug, Clone)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn of(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Makes it, for this user alone.
    pub(super) fn make(path: &Path) -> Result<Self, AgentError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(AgentError::io("make", path))?;
        Ok(Self(path.to_owned()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The plan; `None` where there is none.
    pub(super) fn plan(&self) -> Result<Option<Plan>, AgentError> {
        self.read("plan.json")
    }

    pub(super) fn write_plan(&self, plan: &Plan) -> Result<(), AgentError> {
        self.write("plan.json", plan, true)
    }

    /// The state with what the lock says of the agent; `None` where there is none.
    pub(super) fn report(&self) -> Result<Option<Report>, AgentError> {
        // In this order: an agent that ends between the two has written its last word before.
        let is_alive = self.is_held()?;
        let report: Option<Report> = self.read("state.json")?;
        Ok(report.map(|report| {
            let agent = match (is_alive, report.phase) {
                (_, Phase::Ended) => AgentState::Done,
                (true, _) => AgentState::Alive,
                (false, _) => AgentState::Dead,
            };
            let age_ms = uptime_ms().saturating_sub(report.uptime_ms);
            Report { agent, age_ms, ..report }
        }))
    }

    /// Writes the state; a change is on the disk when this returns, a heartbeat need not be.
    pub(super) fn write_report(&self, report: &Report, is_change: bool) -> Result<(), AgentError> {
        self.write("state.json", report, is_change)
    }

    /// Takes the lock for as long as the file is open; `None` when somebody has it.
    pub(super) fn hold(&self) -> Result<Option<File>, AgentError> {
        let path = self.file("lock");
        let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = open.map_err(AgentError::io("open", &path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(AgentError::io("lock", &path)(error.into())),
        }
    }

    /// Whether an agent lives. It looks with a shared lock, so that two who look do not take each other for one.
    pub(super) fn is_held(&self) -> Result<bool, AgentError> {
        let path = self.file("lock");
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(AgentError::io("open", &path)(error)),
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(Errno::WOULDBLOCK) => Ok(true),
            Err(error) => Err(AgentError::io("lock", &path)(error.into())),
        }
    }

    pub(super) fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, AgentError> {
        let path = self.file(name);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| AgentError::Form {
                path,
                why: error.to_string(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(AgentError::io("read", &path)(error)),
        }
    }

    /// Writes a file that this user alone can read; it appears whole.
    pub(super) fn write(&self, name: &str, value: &impl Serialize, is_durable: bool) -> Result<(), AgentError> {
        let text = serde_json::to_vec(value).map_err(|error| AgentError::Form {
            path: self.file(name),
            why: error.to_string(),
        })?;
        self.write_bytes(name, &text, is_durable)
    }

    pub(super) fn write_bytes(&self, name: &str, bytes: &[u8], is_durable: bool) -> Result<(), AgentError> {
        let (path, temporary) = (self.file(name), self.file(&format!("{name}.new")));
        let written = || -> io::Result<()> {
            let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
            file.write_all(bytes)?;
            if is_durable {
                file.sync_all()?;
            }
            fs::rename(&temporary, &path)
        };
        written().map_err(AgentError::io("write", &path))
    }
}
