-- Requests that changed something and had an id, so that one which is sent again is not done twice.
CREATE TABLE requests (
    project  TEXT    NOT NULL,
    id       TEXT    NOT NULL,
    -- SHA-256 of the method and the request, without secrets.
    digest   BLOB    NOT NULL,
    -- Name of what it changed.
    resource TEXT    NOT NULL,
    time_ms  INTEGER NOT NULL,
    PRIMARY KEY (project, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX requests_by_time ON requests (time_ms);
