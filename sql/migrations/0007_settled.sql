-- What an operator has made of it: 'restored' or 'dismissed'; 'replaced' is a version that was not lost in a conflict, but kept
-- when the operator brought another one back. Null: nothing yet.
ALTER TABLE sync.overridden ADD COLUMN settled text;
ALTER TABLE sync.overridden ADD COLUMN settled_at timestamptz;
ALTER TABLE sync.kept_aside ADD COLUMN settled text;
ALTER TABLE sync.kept_aside ADD COLUMN settled_at timestamptz;
