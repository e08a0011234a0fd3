-- From where people signed in to the admin API, so that they know their sessions apart.
ALTER TABLE sync.admin_sessions ADD COLUMN address text;
ALTER TABLE sync.admin_sessions ADD COLUMN user_agent text;
