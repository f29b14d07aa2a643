-- One row: which life of the store this is, and how far it has come.
CREATE TABLE meta (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    epoch    TEXT    NOT NULL,
    revision INTEGER NOT NULL
) STRICT;

CREATE TABLE projects (
    id TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

INSERT INTO projects (id) VALUES ('default');

CREATE TABLE syncs (
    project  TEXT    NOT NULL REFERENCES projects (id),
    id       TEXT    NOT NULL,
    uid      TEXT    NOT NULL,
    revision INTEGER NOT NULL,
    etag     TEXT    NOT NULL,
    -- sluice.sync.v1.Sync, secrets in clear.
    content  BLOB    NOT NULL,
    PRIMARY KEY (project, id)
) STRICT;

-- Holds all that the catalog's hash is made of, in its order.
CREATE UNIQUE INDEX syncs_by_uid ON syncs (uid, etag);

-- What each revision changed, and the hash of the whole catalog at it. Revision 0 is the empty catalog.
CREATE TABLE change_log (
    revision     INTEGER PRIMARY KEY,
    uid          TEXT    NOT NULL,
    change       TEXT    NOT NULL CHECK (change IN ('none', 'upsert', 'delete')),
    catalog_hash TEXT    NOT NULL
) STRICT;

-- Long texts that every report repeats, as numbers. They outlive the syncs.
CREATE TABLE reported_syncs (
    key     INTEGER PRIMARY KEY,
    uid     TEXT    NOT NULL,
    project TEXT    NOT NULL,
    sync    TEXT    NOT NULL,
    UNIQUE (uid, project, sync)
) STRICT;

CREATE TABLE reported_instances (
    key      INTEGER PRIMARY KEY,
    instance TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE attempts (
    id       INTEGER PRIMARY KEY,
    delivery BLOB    NOT NULL,
    round    INTEGER NOT NULL,
    attempt  INTEGER NOT NULL,
    instance INTEGER NOT NULL,
    sync     INTEGER NOT NULL,
    event    BLOB    NOT NULL,
    outcome  INTEGER NOT NULL,
    start_ms INTEGER NOT NULL,
    -- sluice.delivery.v1.Attempt.
    content  BLOB    NOT NULL,
    -- What makes an attempt the same when it is reported again.
    UNIQUE (delivery, round, attempt, instance)
) STRICT;

CREATE INDEX attempts_by_sync ON attempts (sync, start_ms, id, outcome);
CREATE INDEX attempts_by_event ON attempts (event);
CREATE INDEX attempts_by_time ON attempts (start_ms, id);

CREATE TABLE endings (
    delivery      BLOB    NOT NULL,
    schedule      INTEGER NOT NULL,
    sync          INTEGER NOT NULL,
    event         BLOB    NOT NULL,
    outcome       INTEGER NOT NULL,
    reason        INTEGER NOT NULL,
    accept_ms     INTEGER NOT NULL,
    end_ms        INTEGER NOT NULL,
    attempt_count INTEGER NOT NULL,
    -- What makes an ending the same when it is reported again.
    PRIMARY KEY (delivery, schedule)
) STRICT, WITHOUT ROWID;

CREATE INDEX endings_by_sync ON endings (sync, end_ms, outcome, accept_ms, attempt_count);
CREATE INDEX endings_by_time ON endings (end_ms);

-- Up to where each spool's reports are stored.
CREATE TABLE report_positions (
    spool_id       TEXT    PRIMARY KEY,
    acked_sequence INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
