-- From this chunk on reports are not among rollups and healths yet: what they tell is gathered in memory for a moment, and again from
-- the chunks if the store is opened before it was written. No row: everything is.
CREATE TABLE gathered_from (chunk INTEGER NOT NULL) STRICT;
