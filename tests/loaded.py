"""What a fork has loaded already: all of ours, and what others import when they are used."""

import importlib
from pkgutil import walk_packages

import pipeline_defs
import resources
import state
from tests.migrations_once import read_dagsters_migrations_once

LATE = (
    "dagster._core.definitions.repository_definition.repository_data_builder",
    "dagster._core.storage.local_compute_log_manager",
    "dagster._core.storage.sqlite_storage",
    "dagster._core.utility_ops",
    "dagster._core.workspace.autodiscovery",
    "rich._emoji_codes",
    "rich.live",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "upath.implementations.local",
)
NOT_AT_ONCE = ("pipeline_defs.definitions", "state.migrations.")
"""Modules of ours that do something when they are imported; so does every `__main__`."""


def load_all() -> None:
    """Import them."""
    for name in LATE:
        importlib.import_module(name)
    for package in (state, resources, pipeline_defs):
        for module in walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.startswith(NOT_AT_ONCE) and not module.name.endswith("__main__"):
                importlib.import_module(module.name)


load_all()
read_dagsters_migrations_once()
