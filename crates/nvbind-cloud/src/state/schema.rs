//! The tables and their versions.

/// One step per schema version: step `n` brings a file from `user_version` n to n + 1. Steps are never edited, only added.
pub(super) const MIGRATIONS: [&str; 2] = [
    "
    CREATE TABLE owner (
        id TEXT PRIMARY KEY -- value of the tag that everything of this state carries
    ) STRICT;
    CREATE TABLE deployment (
        id         INTEGER PRIMARY KEY AUTOINCREMENT,
        name       TEXT NOT NULL,
        spec       TEXT NOT NULL, -- JSON
        status     TEXT NOT NULL,
        nodes      INTEGER NOT NULL,
        created_ms INTEGER NOT NULL,
        ended_ms   INTEGER,
        message    TEXT NOT NULL DEFAULT ''
    ) STRICT;
    -- A name is free again once nothing of it is left.
    CREATE UNIQUE INDEX deployment_by_name ON deployment(name) WHERE ended_ms IS NULL;
    CREATE TABLE attempt (
        id              INTEGER PRIMARY KEY AUTOINCREMENT,
        deployment      INTEGER NOT NULL REFERENCES deployment(id),
        provider        TEXT NOT NULL,
        node            INTEGER NOT NULL,
        order_json      TEXT NOT NULL,
        gpu             TEXT NOT NULL,
        gpus            REAL NOT NULL,
        usd_h           REAL NOT NULL,
        extras_usd_h    REAL NOT NULL,
        reason          TEXT NOT NULL,
        status          TEXT NOT NULL,
        machine_id      TEXT,
        address         TEXT,
        private_address TEXT,
        intent_ms       INTEGER NOT NULL,
        accepted_ms     INTEGER,
        started_ms      INTEGER,
        notice_ms       INTEGER,
        deleting_ms     INTEGER,
        ended_ms        INTEGER,
        end             TEXT,
        exit_code       INTEGER,
        starts          INTEGER NOT NULL DEFAULT 0,
        error           TEXT, -- JSON
        wait_until_ms   INTEGER NOT NULL DEFAULT 0,
        tries           INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX attempt_by_deployment ON attempt(deployment);
    CREATE TABLE block (
        scope      TEXT PRIMARY KEY, -- JSON
        block      TEXT NOT NULL,    -- JSON
        until_ms   INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE event (
        id         INTEGER PRIMARY KEY AUTOINCREMENT,
        at_ms      INTEGER NOT NULL,
        deployment INTEGER,
        attempt    INTEGER,
        kind       TEXT NOT NULL,
        message    TEXT NOT NULL
    ) STRICT;
    CREATE INDEX event_by_deployment ON event(deployment);
",
    "
    ALTER TABLE attempt ADD COLUMN rejoins INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE attempt ADD COLUMN peers TEXT NOT NULL DEFAULT '[]'; -- JSON
",
];

/// The schema version that this build reads and writes.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;
