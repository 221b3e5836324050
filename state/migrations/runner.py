"""Applies revisions, one transaction each, under a lock (design section 2)."""

import sqlite3
import threading
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.exc import DatabaseError

from state.crash_points import crash_point
from state.errors import StoreUnavailableError
from state.migrations.snapshot import reference, snapshot
from state.migrations.targets import Target, target_of
from state.upgrade import (
    HEAD,
    REVISIONS,
    Upgrade,
    drop_triggers,
    install_triggers,
    place,
    refuse_newer,
    stamp,
    version_of,
)

_ALEMBIC = threading.Lock()
# Alembic keeps what it is working on in module globals.


def configuration(connection: sa.Connection | None = None) -> Config:
    """Alembic's configuration, made here: nobody needs an ini file."""
    config = Config()
    folder = str(Path(__file__).parent)
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def upgrade(database_url: str) -> Upgrade:
    """See `state.upgrade.upgrade`."""
    target = target_of(database_url)
    try:
        with target.turn():
            return _upgrade(target)
    except (DatabaseError, sqlite3.Error, OSError) as error:
        cause = str(error.orig if isinstance(error, DatabaseError) else error).partition("\n")[0]
        raise StoreUnavailableError(
            f"The database {target.place} was not brought up to date: {cause}. It is as it was "
            "before the revision that failed; mend the cause and run patchline db upgrade again."
        ) from error


def _upgrade(target: Target) -> Upgrade:
    before: str | None = None
    applied: list[str] = []
    copy: Path | None = None
    while True:
        with target.transaction() as connection:
            version = version_of(connection)
            if version is not None:
                refuse_newer(version, place(connection))
            if not applied:
                before = version
            if version == HEAD:
                restored = () if applied else _restore_triggers(connection)
                return Upgrade(target.place, before, HEAD, tuple(applied), copy, restored)
            step = REVISIONS[0 if version is None else REVISIONS.index(version) + 1]
            mine = target.keep_copy(step) if before is not None and copy is None else None
            try:
                _apply(connection, version, step)
                target.verify(connection)
            except BaseException:
                if mine is not None:  # nothing was altered, so it is a copy of what is there
                    mine.unlink(missing_ok=True)
                raise
            copy = copy or mine
            applied.append(step)
        crash_point("schema-revised", "one revision of the schema is kept; the next is not begun")


def _apply(connection: sa.Connection, version: str | None, step: str) -> None:
    """One revision, on a connection whose transaction the caller ends."""
    if version is not None:
        drop_triggers(connection)
        stamp(connection, version)
    with _ALEMBIC:
        command.upgrade(configuration(connection), step)
    if step == HEAD:
        install_triggers(connection)


def _restore_triggers(connection: sa.Connection) -> tuple[str, ...]:
    """Put back triggers that are missing or changed; says which."""
    wanted, found = (
        {name: one for (kind, name), one in schema.items() if kind == "trigger"}
        for schema in (reference(connection), snapshot(connection))
    )
    lost = sorted(name for name, one in wanted.items() if one != found.get(name))
    if lost:
        drop_triggers(connection)
        install_triggers(connection)
    return tuple(lost)
