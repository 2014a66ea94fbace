//! What must survive a crash: deployments, every order before it is sent, what is blocked, what happened.
//!
//! One SQLite file, `cloud.db`, beside the ledger of containers, since its writes must be on the disk before a provider is called:
//! `synchronous` is `FULL` here.

mod attempt;
mod deployment;
mod error;
mod event;
mod schema;

pub use attempt::NewAttempt;
pub use error::StateError;
pub use event::Event;

use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use schema::{MIGRATIONS, VERSION};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Name of the file in the state folder.
pub const FILE_NAME: &str = "cloud.db";

/// How long a command waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The state of the deployments of a user of this host.
#[derive(Debug)]
pub struct State {
    connection: Connection,
    path: PathBuf,
    folder: PathBuf,
}

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl State {
    /// Opens the state in a folder; makes folder (0700) and file (0600) when they are missing.
    pub fn open(folder: &Path) -> Result<Self, StateError> {
        let path = folder.join(FILE_NAME);
        let failed = |source| StateError::Open {
            path: path.clone(),
            source,
        };
        create(folder, &path).map_err(failed)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags).map_err(|error| sql(&path, &error))?;
        let mut state = Self {
            connection,
            path,
            folder: folder.to_owned(),
        };
        state.configure()?;
        Ok(state)
    }

    /// The folder that it lies in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The value of the tag that everything of this state carries at the providers: 16 hexadecimal digits.
    pub fn owner(&self) -> Result<String, StateError> {
        self.run(|connection| connection.query_row("SELECT id FROM owner", [], |row| row.get(0)))
    }

    fn configure(&mut self) -> Result<(), StateError> {
        let version: i64 = self.run(|connection| {
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.pragma_update(None, "foreign_keys", true)?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.query_row("PRAGMA user_version", [], |row| row.get(0))
        })?;
        match version {
            VERSION => Ok(()),
            found if found > VERSION => Err(StateError::Newer {
                path: self.path.clone(),
                found,
                known: VERSION,
            }),
            _ => self.migrate(),
        }
    }

    /// Brings the file to this build's schema. The folder is locked meanwhile: SQLite does not wait for others when it turns a
    /// file to WAL.
    fn migrate(&mut self) -> Result<(), StateError> {
        let _lock = lock(&self.folder, OFlags::DIRECTORY, true).map_err(|source| StateError::Open {
            path: self.folder.clone(),
            source,
        })?;
        let path = self.path.clone();
        let work = |connection: &mut Connection| {
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            for step in MIGRATIONS.iter().skip(usize::try_from(version).unwrap_or_default()) {
                transaction.execute_batch(step)?;
            }
            let is_owned = transaction
                .query_row("SELECT 1 FROM owner", [], |_| Ok(()))
                .optional()?
                .is_some();
            if !is_owned {
                transaction.execute("INSERT INTO owner (id) VALUES (lower(hex(randomblob(8))))", [])?;
            }
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.commit()
        };
        work(&mut self.connection).map_err(|error| sql(&path, &error))
    }

    /// Takes the right to act for a deployment; `None` while another process has it. It is given back when the result is dropped, and
    /// when this process dies.
    pub fn lease(&self, deployment: i64) -> Result<Option<OwnedFd>, StateError> {
        let folder = self.folder.join("cloud-leases");
        let path = folder.join(deployment.to_string());
        let failed = |source| StateError::Open {
            path: path.clone(),
            source,
        };
        create(&folder, &path).map_err(failed)?;
        match lock(&path, OFlags::empty(), false) {
            Ok(lease) => Ok(Some(lease)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(source) => Err(failed(source)),
        }
    }

    fn run<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StateError> {
        work(&self.connection).map_err(|error| sql(&self.path, &error))
    }
}

/// Makes the folder and an empty file, both closed to others. SQLite gives its log the file's own mode.
fn create(folder: &Path, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if path.exists() {
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    open(
        path,
        OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC,
        Mode::RUSR | Mode::WUSR,
    )?;
    Ok(())
}

fn lock(path: &Path, flags: OFlags, waits: bool) -> io::Result<OwnedFd> {
    let fd = open(path, OFlags::RDONLY | OFlags::CLOEXEC | flags, Mode::empty())?;
    let operation = match waits {
        true => FlockOperation::LockExclusive,
        false => FlockOperation::NonBlockingLockExclusive,
    };
    flock(&fd, operation)?;
    Ok(fd)
}

fn sql(path: &Path, error: &rusqlite::Error) -> StateError {
    let reason = match error {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        other => other.to_string(),
    };
    StateError::Sql {
        path: path.to_owned(),
        reason,
    }
}

/// Reads JSON that this module wrote itself.
fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error)))
}

fn to_json<T: serde::Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

/// A word of a column that names nothing any more.
fn unknown_word(word: &str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, format!("'{word}'").into())
}
