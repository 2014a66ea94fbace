//! The ledger's tables and their versions.

/// One step per schema version: step `n` brings a file from `user_version` n to n + 1. Steps are never edited, only added.
pub(crate) const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE binding (
        id          TEXT PRIMARY KEY,
        name        TEXT NOT NULL UNIQUE,
        engine      TEXT NOT NULL,
        isolation   TEXT NOT NULL,
        owner_pid   INTEGER NOT NULL,
        owner_start INTEGER NOT NULL,
        owner_boot  TEXT NOT NULL,
        status      TEXT NOT NULL,
        pid         INTEGER,
        exit_code   INTEGER,
        detached    INTEGER NOT NULL,
        image       TEXT NOT NULL,
        command     TEXT NOT NULL, -- JSON array
        created_at  INTEGER NOT NULL,
        finished_at INTEGER,
        bundle      TEXT,
        cgroup      TEXT
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE binding_device (
        uuid        TEXT NOT NULL,
        binding     TEXT NOT NULL REFERENCES binding(id) ON DELETE CASCADE,
        position    INTEGER NOT NULL,
        PRIMARY KEY (uuid, binding)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX binding_device_by_binding ON binding_device(binding);
"];

/// The schema version that this build reads and writes.
pub(crate) const VERSION: i64 = MIGRATIONS.len() as i64;
