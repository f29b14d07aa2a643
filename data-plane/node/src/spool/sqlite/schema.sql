-- Format 3. Checksums are CRC-32C.

-- One row. `epoch` is empty until a catalog is stored. Counts stand here so that nothing has to be counted at a start.
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    spool_id TEXT NOT NULL,
    newest_ms INTEGER NOT NULL DEFAULT 0,
    -- Which boot of the machine that was, and how long after its start; empty where that is not known.
    boot_id TEXT NOT NULL DEFAULT '',
    since_boot_ms INTEGER NOT NULL DEFAULT 0,
    epoch TEXT NOT NULL DEFAULT '',
    revision INTEGER NOT NULL DEFAULT 0,
    next_event INTEGER NOT NULL DEFAULT 1,
    next_delivery INTEGER NOT NULL DEFAULT 1,
    next_report INTEGER NOT NULL DEFAULT 1,
    acked_report INTEGER NOT NULL DEFAULT 0,
    report_count INTEGER NOT NULL DEFAULT 0,
    report_bytes INTEGER NOT NULL DEFAULT 0,
    reports_dropped INTEGER NOT NULL DEFAULT 0,
    unexported INTEGER NOT NULL DEFAULT 0,
    keys INTEGER NOT NULL DEFAULT 0,
    oldest_key_ms INTEGER,
    damaged INTEGER NOT NULL DEFAULT 0,
    -- Generation of the journal whose entries come after this.
    journal INTEGER NOT NULL DEFAULT 0,
    -- Bit 0: counts have to be made anew, since something that they count was lost. Bit 1: chunks are here that only the journal counts.
    lost INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE producers (
    project TEXT NOT NULL,
    producer_id TEXT NOT NULL,
    next_sequence INTEGER NOT NULL,
    seen_ms INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    PRIMARY KEY (project, producer_id)
) STRICT, WITHOUT ROWID;

-- What one commit accepted, as it came: events end to end in `body`, where they are and which lanes they go to in
-- `entries`. Events that were over before the tables took it from the journal are left out of `body`. Ids of events and deliveries are consecutive in a chunk; `chunk` is its first delivery. What outlives its
-- first round, or finds no room in memory, moves to `events` and `deliveries`; the row goes when nothing in it is open.
CREATE TABLE chunks (
    chunk INTEGER PRIMARY KEY,
    first_event INTEGER NOT NULL,
    born_ms INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    entries BLOB NOT NULL,
    body BLOB NOT NULL
) STRICT;

-- One bit for each delivery of a chunk that is over or has moved; no row: none. Apart, so that a chunk is written once.
CREATE TABLE done (
    chunk INTEGER PRIMARY KEY,
    bits BLOB NOT NULL
) STRICT;

-- Events of rows in `deliveries` and `dead_letters`; `open` counts those. `head` holds all but the JSON.
CREATE TABLE events (
    event INTEGER PRIMARY KEY,
    open INTEGER NOT NULL,
    head BLOB NOT NULL,
    json BLOB NOT NULL
) STRICT;

CREATE TABLE lanes (
    lane INTEGER PRIMARY KEY,
    uid TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    held_since_ms INTEGER,
    held_total_ms INTEGER NOT NULL DEFAULT 0,
    created INTEGER NOT NULL DEFAULT 0,
    redelivered INTEGER NOT NULL DEFAULT 0,
    delivered INTEGER NOT NULL DEFAULT 0,
    expired INTEGER NOT NULL DEFAULT 0,
    discarded INTEGER NOT NULL DEFAULT 0,
    pending INTEGER NOT NULL DEFAULT 0,
    pending_bytes INTEGER NOT NULL DEFAULT 0,
    dead_letters INTEGER NOT NULL DEFAULT 0,
    dead_letter_bytes INTEGER NOT NULL DEFAULT 0,
    removed INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Open deliveries that wait. Times are the lane's.
CREATE TABLE deliveries (
    lane INTEGER NOT NULL,
    delivery INTEGER NOT NULL,
    event INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    due_ms INTEGER NOT NULL,
    window_open_ms INTEGER,
    schedule INTEGER NOT NULL,
    position INTEGER NOT NULL,
    round INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    round_began_ms INTEGER,
    round_attempts INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    PRIMARY KEY (lane, delivery)
) STRICT, WITHOUT ROWID;

CREATE INDEX waiting ON deliveries (lane, due_ms);

CREATE INDEX windows ON deliveries (lane, window_open_ms) WHERE window_open_ms IS NOT NULL;

-- Expired and discarded deliveries. `exported` is not under the checksum.
CREATE TABLE dead_letters (
    delivery INTEGER PRIMARY KEY,
    lane INTEGER NOT NULL,
    event INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    webhook_id BLOB NOT NULL,
    event_id BLOB NOT NULL,
    accept_ms INTEGER NOT NULL,
    event_type TEXT NOT NULL,
    outcome INTEGER NOT NULL,
    reason INTEGER NOT NULL,
    end_ms INTEGER NOT NULL,
    schedule INTEGER NOT NULL,
    round INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    round_began_ms INTEGER,
    exported INTEGER NOT NULL DEFAULT 0,
    crc INTEGER NOT NULL
) STRICT;

CREATE INDEX dead_by_lane ON dead_letters (lane, delivery);

CREATE INDEX dead_by_end ON dead_letters (end_ms);

CREATE INDEX dead_by_id ON dead_letters (webhook_id);

-- Consecutive reports, each with its length before it; `folded` is 0 for reports as they were made, 1 for counts by the
-- minute, 2 for counts by the hour.
CREATE TABLE reports (
    first INTEGER PRIMARY KEY,
    count INTEGER NOT NULL,
    folded INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;

CREATE INDEX folded_reports ON reports (folded, first) WHERE folded > 0;

-- Keys that some commits have seen, end to end; row and time are those of the last.
CREATE TABLE keys (
    batch INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    body BLOB NOT NULL
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
    matched INTEGER NOT NULL,
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
