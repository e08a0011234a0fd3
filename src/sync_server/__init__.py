"""A realm-per-database sync server for apps built with sync_client."""
