-- Which version a change replaced, kept with "history": "full": its line of the history. old_data is there where that line
-- does not have the data.
ALTER TABLE sync.history ADD COLUMN old_stamp bigint;
ALTER TABLE sync.history ADD COLUMN old_ordinal integer;
