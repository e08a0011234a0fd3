-- Where the history has no data ("history": "changes"), the line of a delete keeps what it replaced in old_data, for
-- retention.deleted days. The audit log does not cover it: such a line has no old_stamp. Only deletes are in the index, by which
-- what is old enough is found.
CREATE INDEX history_deleted ON sync.history (space_id, stamp) WHERE old_data IS NOT NULL AND old_stamp IS NULL;
