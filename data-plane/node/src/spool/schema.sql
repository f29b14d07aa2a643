-- One row. `epoch` is empty until a catalog is stored.
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    spool_id TEXT NOT NULL,
    newest_ms INTEGER NOT NULL DEFAULT 0,
    next_report INTEGER NOT NULL DEFAULT 1,
    epoch TEXT NOT NULL DEFAULT '',
    revision INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE producers (
    project TEXT NOT NULL,
    producer_id TEXT NOT NULL,
    next_sequence INTEGER NOT NULL,
    seen_ms INTEGER NOT NULL,
    PRIMARY KEY (project, producer_id)
) STRICT, WITHOUT ROWID;

-- Appended in order of acceptance; `open` counts the deliveries that still need the event.
CREATE TABLE events (
    event INTEGER PRIMARY KEY,
    event_id BLOB NOT NULL,
    accept_ms INTEGER NOT NULL,
    event_type TEXT NOT NULL,
    json BLOB NOT NULL,
    traceparent TEXT NOT NULL,
    tracestate TEXT NOT NULL,
    open INTEGER NOT NULL,
    crc INTEGER NOT NULL
) STRICT;

CREATE TABLE lanes (
    lane INTEGER PRIMARY KEY,
    uid TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    held_since_ms INTEGER,
    held_total_ms INTEGER NOT NULL DEFAULT 0,
    created INTEGER NOT NULL DEFAULT 0,
    delivered INTEGER NOT NULL DEFAULT 0,
    expired INTEGER NOT NULL DEFAULT 0,
    discarded INTEGER NOT NULL DEFAULT 0
) STRICT;

-- `due_ms` and `window_open_ms` are in the lane's time; `due_ms` is null when the delivery has ended (a dead letter).
CREATE TABLE deliveries (
    delivery INTEGER PRIMARY KEY,
    event INTEGER NOT NULL,
    lane INTEGER NOT NULL,
    due_ms INTEGER,
    schedule INTEGER NOT NULL,
    round INTEGER NOT NULL,
    window_open_ms INTEGER,
    attempts INTEGER NOT NULL,
    outcome INTEGER NOT NULL DEFAULT 0,
    reason INTEGER NOT NULL DEFAULT 0,
    end_ms INTEGER
) STRICT;

CREATE INDEX waiting ON deliveries (lane, due_ms) WHERE due_ms IS NOT NULL;

CREATE TABLE reports (
    sequence INTEGER PRIMARY KEY,
    report BLOB NOT NULL
) STRICT;

CREATE TABLE catalog (
    uid TEXT PRIMARY KEY,
    latest BLOB NOT NULL,
    good BLOB,
    crc INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE ledger (
    project TEXT PRIMARY KEY,
    received INTEGER NOT NULL,
    rejected INTEGER NOT NULL,
    duplicates INTEGER NOT NULL,
    unmatched INTEGER NOT NULL,
    matched INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
