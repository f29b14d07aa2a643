-- The key that the syncs' secrets are sealed with, itself sealed with the operator's key. Without a row they are in clear: a store of
-- before, which is sealed when it is opened.
CREATE TABLE data_key (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    kept BLOB    NOT NULL
) STRICT;
