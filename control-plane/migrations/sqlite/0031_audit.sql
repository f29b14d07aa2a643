-- Who changed what. Entries are never changed, and go from the oldest on.
CREATE TABLE audit_log (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    time_ms  INTEGER NOT NULL,
    actor    TEXT    NOT NULL,
    -- The project that it concerns; none: no single one.
    project  TEXT,
    resource TEXT    NOT NULL,
    -- sluice.audit.v1.AuditEntry, without its sequence.
    content  BLOB    NOT NULL
) STRICT;

CREATE INDEX audit_log_by_resource ON audit_log (resource, sequence);
CREATE INDEX audit_log_by_project ON audit_log (project, sequence);

CREATE TRIGGER audit_log_is_not_changed BEFORE UPDATE ON audit_log
BEGIN
    SELECT RAISE(ABORT, 'the audit log is only appended to');
END;

CREATE TRIGGER audit_log_goes_from_the_oldest BEFORE DELETE ON audit_log
WHEN EXISTS (SELECT 1 FROM audit_log WHERE sequence < OLD.sequence)
BEGIN
    SELECT RAISE(ABORT, 'the audit log goes from the oldest entry on');
END;
