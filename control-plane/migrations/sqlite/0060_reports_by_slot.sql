-- What reports are found by begins with a slot of five minutes: reports come in the order of their time, so that those of a moment go to
-- the same few pages, however many there are. By an id alone every report went to pages of its own in every index, and each page
-- was written twice. Whoever looks for an id asks each slot for it.
CREATE TABLE attempts_by_slot (
    id       INTEGER PRIMARY KEY,
    -- Of its start: start_ms / 300000.
    slot     INTEGER NOT NULL,
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
    -- What makes an attempt the same when it is reported again, which it is with the same start.
    UNIQUE (slot, delivery, round, attempt, instance)
) STRICT;

INSERT INTO attempts_by_slot (id, slot, delivery, round, attempt, instance, sync, event, outcome, start_ms, content)
SELECT id, start_ms / 300000, delivery, round, attempt, instance, sync, event, outcome, start_ms, content FROM attempts ORDER BY id;

DROP TABLE attempts;
ALTER TABLE attempts_by_slot RENAME TO attempts;

CREATE INDEX attempts_by_sync ON attempts (sync, start_ms, id, outcome);
CREATE INDEX attempts_by_event ON attempts (slot, event);
CREATE INDEX attempts_by_time ON attempts (start_ms, id, outcome);

CREATE TABLE endings_by_slot (
    id            INTEGER PRIMARY KEY,
    -- Of its end: end_ms / 300000.
    slot          INTEGER NOT NULL,
    delivery      BLOB    NOT NULL,
    schedule      INTEGER NOT NULL,
    sync          INTEGER NOT NULL,
    event         BLOB    NOT NULL,
    outcome       INTEGER NOT NULL,
    reason        INTEGER NOT NULL,
    accept_ms     INTEGER NOT NULL,
    end_ms        INTEGER NOT NULL,
    attempt_count INTEGER NOT NULL,
    -- What makes an ending the same when it is reported again, which it is with the same end.
    UNIQUE (slot, delivery, schedule)
) STRICT;

INSERT INTO endings_by_slot (slot, delivery, schedule, sync, event, outcome, reason, accept_ms, end_ms, attempt_count)
SELECT end_ms / 300000, delivery, schedule, sync, event, outcome, reason, accept_ms, end_ms, attempt_count FROM endings ORDER BY end_ms;

DROP TABLE endings;
ALTER TABLE endings_by_slot RENAME TO endings;

CREATE INDEX endings_by_sync ON endings (sync, end_ms, outcome, accept_ms, attempt_count);
CREATE INDEX endings_by_time ON endings (end_ms, outcome);

-- The same for counts: all syncs of a minute lie together.
CREATE TABLE rollups_by_start (
    resolution_ms           INTEGER NOT NULL,
    start_ms                INTEGER NOT NULL,
    sync_uid                TEXT    NOT NULL,
    attempts                INTEGER NOT NULL,
    delivered               INTEGER NOT NULL,
    delivered_first_attempt INTEGER NOT NULL,
    delivered_after_retry   INTEGER NOT NULL,
    expired                 INTEGER NOT NULL,
    discarded               INTEGER NOT NULL,
    -- Milliseconds from acceptance to 2xx, as a histogram.
    latencies               BLOB    NOT NULL,
    PRIMARY KEY (resolution_ms, start_ms, sync_uid)
) STRICT, WITHOUT ROWID;

INSERT INTO rollups_by_start
SELECT resolution_ms, start_ms, sync_uid, attempts, delivered, delivered_first_attempt, delivered_after_retry, expired, discarded, latencies
FROM rollups ORDER BY resolution_ms, start_ms, sync_uid;

DROP TABLE rollups;
ALTER TABLE rollups_by_start RENAME TO rollups;
