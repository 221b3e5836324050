"""What in a database differs from the schema it should have, and how to mend it."""

import re
import sqlite3

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from state.errors import StoreUnavailableError
from state.migrations.faults import faults
from state.migrations.snapshot import DISABLED, Schema, reference, snapshot
from state.migrations.targets import target_of
from state.upgrade import Drift, require_version

_KINDS = (
    "table",
    "column",
    "primary key",
    "foreign key",
    "unique",
    "check",
    "index",
    "trigger",
    "rule",
    "row security",
    "sequence",
)
"""What is compared, in the order in which it is reported."""


def check(database_url: str) -> list[Drift]:
    """See `state.upgrade.check`."""
    target = target_of(database_url)
    try:
        with target.reading() as connection:
            require_version(connection)
            found = differences(connection, reference(connection), snapshot(connection))
            return [*found, *faults(connection)]
    except (DatabaseError, sqlite3.Error, OSError) as error:
        cause = str(error.orig if isinstance(error, DatabaseError) else error).partition("\n")[0]
        raise StoreUnavailableError(
            f"The database {target.place} cannot be checked: {cause}. Check the address, and that "
            "you may read it (PostgreSQL: and create a schema in it)."
        ) from error


def differences(connection: sa.Connection, wanted: Schema, found: Schema) -> list[Drift]:
    """Every difference, without those that follow from a whole table that is missing or extra."""
    lone = {name for kind, name in wanted.keys() ^ found.keys() if kind == "table"}
    drifts: list[Drift] = []
    for key in wanted.keys() | found.keys():
        kind, name = key
        if kind != "table" and name.partition(".")[0] in lone:
            continue
        expected, present = wanted.get(key), found.get(key)
        if expected == present:
            continue
        problem = "missing" if present is None else "extra" if expected is None else "changed"
        mend = _mend(connection.dialect.name, problem, kind, name, expected or "", present or "")
        drifts.append(Drift(problem, kind, name, expected, present, mend))
    return sorted(drifts, key=lambda one: (_KINDS.index(one.kind), one.name))


_REFERRED = re.compile(r"REFERENCES (\w+)")
_REMOVE = {
    "table": "Give it a database of its own, or: DROP TABLE {table};",
    "column": "If nobody needs it: ALTER TABLE {table} DROP COLUMN {part};",
    "index": "If nobody needs it: DROP INDEX {part};",
    "trigger": "Remove it: DROP TRIGGER {part}{on};",
    "rule": "Remove it: DROP RULE {part} ON {table};",
    "row security": "Nobody must be hidden rows: ALTER TABLE {table}"
    " DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;",
}
"""How to get rid of what is not ours."""


def _mend(dialect: str, problem: str, kind: str, name: str, expected: str, found: str) -> str:
    table, _, part = name.partition(".")
    postgres = dialect == "postgresql"
    if problem == "extra" and kind in _REMOVE:
        on = f" ON {table}" if postgres else ""
        return "Not patchline's. " + _REMOVE[kind].format(table=table, part=part, on=on)
    match kind:
        case "trigger":
            return "Put it back: patchline db upgrade."
        case "index":
            drop = "" if problem == "missing" else f"DROP INDEX {part}; "
            return f"Make it: {drop}{expected};"
        case "table" | "column":
            return (
                "What it kept cannot be made again: restore the database from a copy that has it "
                "as it should be."
            )
        case "foreign key" if found == f"{expected}{DISABLED}":
            both = " and ".join((table, *_REFERRED.findall(expected)))
            return (
                f"As a superuser, for {both}: ALTER TABLE {table} ENABLE TRIGGER ALL; then"
                " patchline db upgrade."
            )
        case "sequence":
            return f"Make it so: ALTER SEQUENCE {part} {expected};"
        case "check" | "unique" if postgres:
            drop = "" if problem == "missing" else f"DROP CONSTRAINT {_name(part)}"
            add = "" if problem == "extra" else f"ADD CONSTRAINT {_name(part)} {expected}"
            both = ", ".join(one for one in (drop, add) if one)
            return f"Make it so: ALTER TABLE {table} {both};"
        case _ if postgres:
            return f"Make it as it should be with ALTER TABLE {table}."
        case _:
            return (
                f"SQLite cannot change a rule of the table {table} in place: restore the file from "
                "a copy that has it as it should be."
            )


def _name(word: str) -> str:
    return word if word.islower() else f'"{word}"'
