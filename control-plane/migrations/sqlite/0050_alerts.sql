CREATE TABLE alert_rules (
    project TEXT NOT NULL REFERENCES projects (id),
    id      TEXT NOT NULL,
    -- sluice.alert.v1.AlertRule.
    content BLOB NOT NULL,
    PRIMARY KEY (project, id)
) STRICT, WITHOUT ROWID;

-- What the rules have found and is not over yet.
CREATE TABLE alerts (
    rule         TEXT    NOT NULL,
    subject      TEXT    NOT NULL,
    since_ms     INTEGER NOT NULL,
    last_held_ms INTEGER NOT NULL,
    summary      TEXT    NOT NULL,
    PRIMARY KEY (rule, subject)
) STRICT, WITHOUT ROWID;

-- What people are still to be told.
CREATE TABLE alert_notices (
    id      INTEGER PRIMARY KEY,
    rule    TEXT    NOT NULL,
    -- The event that tells it.
    event   BLOB    NOT NULL,
    tries   INTEGER NOT NULL,
    next_ms INTEGER NOT NULL
) STRICT;
