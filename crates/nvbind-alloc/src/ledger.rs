//! The ledger: one SQLite file that all nvbind processes of a host share.

use crate::schema::{MIGRATIONS, VERSION};
use crate::{Binding, Change, Error, Holder, Isolation, Owner, Status, boot_id};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Name of the file in the state folder.
pub const FILE_NAME: &str = "nvbind.db";

/// How long a command waits for another process's transaction. One takes well below a millisecond.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Pages after which the log is folded into the file. Small: the next process reads the whole log when it opens.
const CHECKPOINT_PAGES: u32 = 64;

/// The same while many containers live: then somebody has the file open, nobody reads the log anew, and each fold would
/// make all wait for the disk.
const CROWDED_CHECKPOINT_PAGES: u32 = 1024;

/// From so many containers on.
const CROWD: usize = 8;

const COLUMNS: &str = "id, name, engine, isolation, owner_pid, owner_start, owner_boot, status, pid, exit_code, detached, \
     image, command, created_at, finished_at, bundle, cgroup, \
     (SELECT json_group_array(uuid ORDER BY position) FROM binding_device WHERE binding = binding.id)";

/// An open ledger.
#[derive(Debug)]
pub struct Ledger {
    connection: Connection,
    path: PathBuf,
}

impl Ledger {
    /// Opens the ledger of a state folder; makes folder (0700) and file (0600) when they are missing.
    pub fn open(state_dir: &Path) -> Result<Self, Error> {
        let path = state_dir.join(FILE_NAME);
        create(state_dir, &path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags).map_err(|error| sql(&path, &error))?;
        let mut ledger = Self { connection, path };
        ledger.configure(state_dir)?;
        Ok(ledger)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn configure(&mut self, state_dir: &Path) -> Result<(), Error> {
        let version = self.run(|connection| {
            connection.busy_timeout(BUSY_TIMEOUT)?;
            // A checkpoint costs an fsync: leave it to the process that fills the log, not to each that closes it.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true)?;
            connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))
        })?;
        if version > VERSION {
            return Err(Error::Newer {
                path: self.path.clone(),
                found: version,
                known: VERSION,
            });
        }
        if version < VERSION {
            self.migrate(state_dir)?;
        }
        self.run(|connection| {
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            checkpoint_after(connection, CHECKPOINT_PAGES)
        })
    }

    /// Brings the file to this build's schema. The folder is locked meanwhile: SQLite does not wait for others when it
    /// turns a file to WAL.
    fn migrate(&mut self, state_dir: &Path) -> Result<(), Error> {
        let _lock = lock_folder(state_dir).map_err(|source| Error::Open {
            path: state_dir.into(),
            source,
        })?;
        self.run(|connection| {
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            let done = usize::try_from(version).unwrap_or_default();
            for step in MIGRATIONS.iter().skip(done) {
                transaction.execute_batch(step)?;
            }
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.commit()
        })
    }

    /// Writes a binding down, unless its name is taken or one of its devices is. To be called before any effect.
    pub fn begin(&mut self, binding: &Binding) -> Result<(), Error> {
        let path = self.path.clone();
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| sql(&path, &error))?;
        if let Some(id) = name_holder(&transaction, &binding.name).map_err(|error| sql(&path, &error))? {
            return Err(Error::NameTaken {
                name: binding.name.clone(),
                id,
            });
        }
        for device in &binding.devices {
            let holder = device_holder(&transaction, device, binding.isolation).map_err(|error| sql(&path, &error))?;
            if let Some(holder) = holder {
                return Err(Error::Held {
                    device: device.clone(),
                    holder,
                });
            }
        }
        insert(&transaction, binding)
            .and_then(|()| transaction.commit())
            .map_err(|error| sql(&path, &error))
    }

    /// Changes what is known of a binding.
    pub fn update(&mut self, id: &str, change: &Change) -> Result<(), Error> {
        let changed = self.run(|connection| {
            connection.execute(
                "UPDATE binding SET status = coalesce(?2, status), pid = coalesce(?3, pid),
                 exit_code = coalesce(?4, exit_code), finished_at = coalesce(?5, finished_at) WHERE id = ?1",
                params![
                    id,
                    change.status.map(Status::as_str),
                    change.pid,
                    change.exit_code,
                    change.finished_at
                ],
            )
        })?;
        if changed == 0 {
            Err(Error::NotFound { key: id.to_owned() })
        } else {
            Ok(())
        }
    }

    /// Hands a binding from one owner to another; `false` when `from` is not its owner (any more). Of several processes
    /// that try, one gets it.
    pub fn claim(&mut self, id: &str, from: &Owner, to: &Owner) -> Result<bool, Error> {
        let changed = self.run(|connection| {
            connection.execute(
                "UPDATE binding SET owner_pid = ?5, owner_start = ?6, owner_boot = ?7
                 WHERE id = ?1 AND owner_pid = ?2 AND owner_start = ?3 AND owner_boot = ?4",
                params![
                    id,
                    from.pid,
                    from.start_time,
                    from.boot_id,
                    to.pid,
                    to.start_time,
                    to.boot_id
                ],
            )
        })?;
        Ok(changed == 1)
    }

    /// Forgets a binding, after everything it stood for is gone. Forgetting twice is no error.
    pub fn finish(&mut self, id: &str) -> Result<(), Error> {
        self.run(|connection| connection.execute("DELETE FROM binding WHERE id = ?1", [id]))
            .map(|_| ())
    }

    /// Forgets a binding as [`Ledger::finish`] does, if `owner` is its owner (still); `false` when it is not.
    pub fn finish_owned(&mut self, id: &str, owner: &Owner) -> Result<bool, Error> {
        let deleted = self.run(|connection| {
            connection.execute(
                "DELETE FROM binding WHERE id = ?1 AND owner_pid = ?2 AND owner_start = ?3 AND owner_boot = ?4",
                params![id, owner.pid, owner.start_time, owner.boot_id],
            )
        })?;
        Ok(deleted == 1)
    }

    /// Every binding, oldest first.
    pub fn list(&self) -> Result<Vec<Binding>, Error> {
        self.select("ORDER BY created_at, id", [])
    }

    /// The binding with this id or name, or the only one whose id begins with `key`.
    pub fn find(&self, key: &str) -> Result<Binding, Error> {
        let not_found = || Error::NotFound { key: key.to_owned() };
        if let Some(exact) = self.select("WHERE id = ?1 OR name = ?1", [key])?.pop() {
            return Ok(exact);
        }
        if key.is_empty() {
            return Err(not_found());
        }
        let mut found = self.select("WHERE substr(id, 1, length(?1)) = ?1", [key])?;
        match found.len() {
            0 | 1 => found.pop().ok_or_else(not_found),
            count => Err(Error::Ambiguous {
                key: key.to_owned(),
                count,
            }),
        }
    }

    /// Bindings that have not ended and whose owner is gone: what a killed nvbind or a reboot left behind.
    pub fn dead(&self) -> Result<Vec<Binding>, Error> {
        let live = self.select("WHERE status <> 'exited'", [])?;
        if live.is_empty() {
            return Ok(live);
        }
        if live.len() >= CROWD {
            checkpoint_after(&self.connection, CROWDED_CHECKPOINT_PAGES).map_err(|error| sql(&self.path, &error))?;
        }
        let boot = boot_id().map_err(Error::Proc)?;
        Ok(live
            .into_iter()
            .filter(|binding| !binding.owner.is_alive(&boot))
            .collect())
    }

    fn select(&self, clause: &str, params: impl rusqlite::Params) -> Result<Vec<Binding>, Error> {
        let query = || -> rusqlite::Result<Vec<Binding>> {
            let mut statement = self
                .connection
                .prepare(&format!("SELECT {COLUMNS} FROM binding {clause}"))?;
            let rows = statement.query_map(params, read)?;
            rows.collect()
        };
        query().map_err(|error| sql(&self.path, &error))
    }

    fn run<T>(&mut self, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        work(&mut self.connection).map_err(|error| sql(&self.path, &error))
    }
}

/// Folds the log into the file once it has so many pages.
fn checkpoint_after(connection: &Connection, pages: u32) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "wal_autocheckpoint", pages, |_| Ok(()))
}

/// Makes the folder and an empty file, both closed to others. SQLite gives its log the file's own mode.
fn create(state_dir: &Path, path: &Path) -> Result<(), Error> {
    let made = || -> io::Result<()> {
        if path.exists() {
            return Ok(());
        }
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(state_dir)?;
        open(
            path,
            OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC,
            Mode::RUSR | Mode::WUSR,
        )?;
        Ok(())
    };
    made().map_err(|source| Error::Open {
        path: path.into(),
        source,
    })
}

fn lock_folder(folder: &Path) -> io::Result<OwnedFd> {
    let fd = open(
        folder,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    flock(&fd, FlockOperation::LockExclusive)?;
    Ok(fd)
}

fn name_holder(transaction: &Transaction<'_>, name: &str) -> rusqlite::Result<Option<String>> {
    transaction
        .query_row("SELECT id FROM binding WHERE name = ?1", [name], |row| row.get(0))
        .optional()
}

/// Who stands in the way of binding `device`: anyone when it is wanted exclusively, else an exclusive holder.
fn device_holder(transaction: &Transaction<'_>, device: &str, wanted: Isolation) -> rusqlite::Result<Option<Holder>> {
    transaction
        .query_row(
            "SELECT id, name, owner_pid, isolation = ?3 FROM binding JOIN binding_device ON binding = id
             WHERE uuid = ?1 AND status <> 'exited' AND (?2 OR isolation = ?3) LIMIT 1",
            params![device, wanted == Isolation::Exclusive, Isolation::Exclusive.as_str()],
            |row| {
                Ok(Holder {
                    id: row.get(0)?,
                    name: row.get(1)?,
                    pid: row.get(2)?,
                    exclusive: row.get(3)?,
                })
            },
        )
        .optional()
}

fn insert(transaction: &Transaction<'_>, binding: &Binding) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO binding (id, name, engine, isolation, owner_pid, owner_start, owner_boot, status, pid, exit_code,
         detached, image, command, created_at, finished_at, bundle, cgroup)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
        params![
            binding.id,
            binding.name,
            binding.engine,
            binding.isolation.as_str(),
            binding.owner.pid,
            binding.owner.start_time,
            binding.owner.boot_id,
            binding.status.as_str(),
            binding.pid,
            binding.exit_code,
            binding.detached,
            binding.image,
            serde_json::to_string(&binding.command).map_err(not_storable)?,
            binding.created_at,
            binding.finished_at,
            binding.bundle.as_ref().map(|path| path.to_string_lossy()),
            binding.cgroup,
        ],
    )?;
    let mut device =
        transaction.prepare("INSERT OR IGNORE INTO binding_device (uuid, binding, position) VALUES (?1, ?2, ?3)")?;
    for (position, uuid) in binding.devices.iter().enumerate() {
        device.execute(params![uuid, binding.id, position])?;
    }
    Ok(())
}

fn read(row: &Row<'_>) -> rusqlite::Result<Binding> {
    Ok(Binding {
        id: row.get(0)?,
        name: row.get(1)?,
        engine: row.get(2)?,
        isolation: row.get::<_, String>(3)?.parse().unwrap_or_default(),
        owner: Owner {
            pid: row.get(4)?,
            start_time: row.get(5)?,
            boot_id: row.get(6)?,
        },
        status: Status::parse(&row.get::<_, String>(7)?).unwrap_or(Status::Created),
        pid: row.get(8)?,
        exit_code: row.get(9)?,
        detached: row.get(10)?,
        image: row.get(11)?,
        command: strings(&row.get::<_, String>(12)?),
        created_at: row.get(13)?,
        finished_at: row.get(14)?,
        bundle: row.get::<_, Option<String>>(15)?.map(PathBuf::from),
        cgroup: row.get(16)?,
        devices: strings(&row.get::<_, String>(17)?),
    })
}

/// A JSON array that this file wrote itself.
fn strings(json: &str) -> Vec<String> {
    serde_json::from_str(json).unwrap_or_default()
}

fn not_storable(error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}

fn sql(path: &Path, error: &rusqlite::Error) -> Error {
    let path = path.to_path_buf();
    let reason = match error {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        other => other.to_string(),
    };
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Error::Damaged { path, reason },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::Busy { path },
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Error::Open {
            path,
            source: io::Error::new(io::ErrorKind::PermissionDenied, reason),
        },
        _ => Error::Sql { path, reason },
    }
}
