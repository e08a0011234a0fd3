"""The embedded PostgreSQL: for realms that bring no database of their own, and for the tests."""

from sync_server.embedded.problems import EmbeddedError
from sync_server.embedded.programs import find_binaries
from sync_server.embedded.server import EmbeddedPostgres

__all__ = ["EmbeddedError", "EmbeddedPostgres", "find_binaries"]
