-- API keys, those that were revoked too.
CREATE TABLE keys (
    id          TEXT    PRIMARY KEY,
    -- SHA-256 of the text that callers show.
    hash        BLOB    NOT NULL UNIQUE,
    -- The project that it is bound to; none: every project.
    project     TEXT    REFERENCES projects (id),
    revoked     INTEGER NOT NULL DEFAULT 0 CHECK (revoked IN (0, 1)),
    last_use_ms INTEGER NOT NULL DEFAULT 0,
    -- sluice.access.v1.Key, without its last use.
    content     BLOB    NOT NULL
) STRICT, WITHOUT ROWID;

ALTER TABLE projects ADD COLUMN create_ms INTEGER;
