-- What nodes counted in place of reports that they had to drop, by the minute.
CREATE TABLE dropped_minutes (
    sync_uid  TEXT    NOT NULL,
    minute_ms INTEGER NOT NULL,
    attempts  INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    expired   INTEGER NOT NULL,
    discarded INTEGER NOT NULL,
    PRIMARY KEY (sync_uid, minute_ms)
) STRICT, WITHOUT ROWID;
