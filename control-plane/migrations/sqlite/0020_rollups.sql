-- Counts of a sync's minutes and hours, added to in the transaction that stores the reports.
CREATE TABLE rollups (
    resolution_ms           INTEGER NOT NULL,
    sync_uid                TEXT    NOT NULL,
    start_ms                INTEGER NOT NULL,
    attempts                INTEGER NOT NULL,
    delivered               INTEGER NOT NULL,
    delivered_first_attempt INTEGER NOT NULL,
    delivered_after_retry   INTEGER NOT NULL,
    expired                 INTEGER NOT NULL,
    discarded               INTEGER NOT NULL,
    -- Milliseconds from acceptance to 2xx, as a histogram.
    latencies               BLOB    NOT NULL,
    PRIMARY KEY (resolution_ms, sync_uid, start_ms)
) STRICT, WITHOUT ROWID;

CREATE INDEX rollups_by_time ON rollups (resolution_ms, start_ms);

-- Whether a sync's requests succeed, by what has been reported.
CREATE TABLE sync_health (
    sync_uid TEXT PRIMARY KEY,
    -- sluice.sync.v1.SyncHealth.
    content  BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- One row: from when on every single report is kept, and whether the rollups hold what was reported before there were any.
CREATE TABLE kept (
    id              INTEGER PRIMARY KEY CHECK (id = 1),
    reports_from_ms INTEGER NOT NULL,
    rollups_built   INTEGER NOT NULL
) STRICT;

INSERT INTO kept (id, reports_from_ms, rollups_built) VALUES (1, 0, 0);

-- Successes are forgotten before failures.
DROP INDEX attempts_by_time;
CREATE INDEX attempts_by_time ON attempts (start_ms, id, outcome);
