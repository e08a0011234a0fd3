"""The configuration: one frozen tree, read once, which refuses what it does not know."""

from sync_server.config.reading import ConfigError, load
from sync_server.config.tree import (
    Admin,
    Config,
    Database,
    Email,
    Logs,
    Metrics,
    RealmSettings,
    Secret,
    Server,
    Tracing,
)

__all__ = [
    "Admin",
    "Config",
    "ConfigError",
    "Database",
    "Email",
    "Logs",
    "Metrics",
    "RealmSettings",
    "Secret",
    "Server",
    "Tracing",
    "load",
]
