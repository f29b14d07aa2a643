-- Reports lie in chunks: hundreds of one slot of five minutes and one fate, compressed, in one row. Those of before, a row each, are
-- put into chunks when the store is opened.
CREATE TABLE report_chunks (
    id         INTEGER PRIMARY KEY,
    -- Of its reports: an attempt's start or a delivery's end, in ms / 300000.
    slot       INTEGER NOT NULL,
    -- 1: they tell of successes, 2: of anything else.
    fate       INTEGER NOT NULL,
    first_ms   INTEGER NOT NULL,
    last_ms    INTEGER NOT NULL,
    attempts   INTEGER NOT NULL,
    endings    INTEGER NOT NULL,
    -- What they tell the figures of each sync: the first 64 bits of SHA-256 over its uid, and how many bytes follow: numbers as varints.
    -- Before the body, so that it is read without that.
    figures    BLOB    NOT NULL,
    -- Of the body before it was compressed.
    body_bytes INTEGER NOT NULL,
    -- sluice.node.v1.Report, each with its length before it; zstd.
    body       BLOB    NOT NULL
) STRICT;

CREATE INDEX report_chunks_by_time ON report_chunks (slot, last_ms, first_ms, fate, attempts, endings);

-- Which chunks have reports of an event, a delivery, a sync or a project: fingerprints of their ids in order, in runs of pages.
CREATE TABLE report_runs (
    id    INTEGER PRIMARY KEY,
    slot  INTEGER NOT NULL,
    fate  INTEGER NOT NULL,
    -- 0: of a commit. 1, 2: merged from many of the level below. -1: to be forgotten, nothing is left that it points to.
    level INTEGER NOT NULL,
    -- Its pages name chunks from here on.
    base  INTEGER NOT NULL
) STRICT;

CREATE INDEX report_runs_by_slot ON report_runs (slot, fate, level, base);
CREATE INDEX report_runs_by_level ON report_runs (level, slot, fate);

CREATE TABLE report_pages (
    run   INTEGER NOT NULL,
    -- The first fingerprint in it.
    first INTEGER NOT NULL,
    page  INTEGER NOT NULL,
    -- A fingerprint and the number of a chunk after the run's base, four bytes each, little-endian.
    body  BLOB    NOT NULL,
    UNIQUE (run, first, page)
) STRICT;

-- Reports before this place in a spool may have been reported by another one, of which it is a copy.
ALTER TABLE report_positions ADD COLUMN may_repeat_before INTEGER NOT NULL DEFAULT 0;
