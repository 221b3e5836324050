"""Says in words which rule of the database a write broke."""

import re
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.errors import CheckViolation, ForeignKeyViolation, NotNullViolation, UniqueViolation

from state import statements
from state.connection import Connection
from state.entities import KINDS, Kind
from state.errors import (
    EntityExistsError,
    EntityNotFoundError,
    GuardNotSatisfied,
    InvalidTransitionError,
    PatchlineError,
    StaleTokenError,
    TerminalStateViolation,
    TimestampOrderingViolation,
)
from state.schema import METADATA

_OURS = re.compile(r"patchline:(\w+): (.+)")
_CHECK = re.compile(r"CHECK constraint failed: (\w+)")
_TAKEN = re.compile(r"there is such a row in (\w+) already")
_UNIQUE = re.compile(r"UNIQUE constraint failed: (\w+)\.")
_NOT_NULL = re.compile(r"NOT NULL constraint failed: \w+\.(\w+)")
_ORDER = re.compile(r"_order_([a-z]+_at)_([a-z]+_at)$")


def explain(
    connection: Connection,
    kind: Kind,
    values: Mapping[str, Any],
    aim: str,
    error: Exception,
) -> PatchlineError:
    """The error of ours that a refused write amounts to.

    Args:
        connection: SQLite's is still usable: it undoes only the refused statement.
        kind: of the row that was written.
        values: the row as it would have been.
        aim: the state it should have got, or what was done with it.
        error: the database's.
    """
    key = str(values[kind.key])
    said = str(error)
    if found := _OURS.search(said):
        rule, text = found.groups()
        parent = _missing_parent(connection, kind, values) if rule == "no_parent" else None
        return parent or _broken_rule(kind, key, values, aim, rule, text)
    if isinstance(error, psycopg.Error):
        return _refused_by_postgresql(kind, key, values, aim, error)
    if found := _CHECK.search(said):
        return _broken_check(kind, key, values, aim, found.group(1))
    if found := _NOT_NULL.search(said):
        return GuardNotSatisfied(kind.name, key, aim, (found.group(1),))
    if found := _UNIQUE.search(said):
        return _exists(kind, key, values, aim, found.group(1))
    if parent := _missing_parent(connection, kind, values):
        return parent
    return GuardNotSatisfied(kind.name, key, aim, (said,), "the database refused the row")


def _missing_parent(
    connection: Connection, kind: Kind, values: Mapping[str, Any]
) -> EntityNotFoundError | None:
    """What the row refers to and is not there; SQLite does not say what it was."""
    for column in kind.table.c:
        for reference in column.foreign_keys:
            wanted = values.get(column.name)
            parent = reference.column
            if wanted is None:
                continue
            query = statements.present(parent.table, parent.name)
            if connection.first(query, {statements.KEY: wanted}) is None:
                return EntityNotFoundError(_singular(parent.table.name), str(wanted))
    return None


def _refused_by_postgresql(
    kind: Kind, key: str, values: Mapping[str, Any], aim: str, error: psycopg.Error
) -> PatchlineError:
    """PostgreSQL says itself what it is about; its transaction answers no more questions."""
    about = error.diag
    if isinstance(error, CheckViolation):
        return _broken_check(kind, key, values, aim, about.constraint_name or "")
    if isinstance(error, NotNullViolation):
        return GuardNotSatisfied(kind.name, key, aim, (about.column_name or "",))
    if isinstance(error, UniqueViolation):
        return _exists(kind, key, values, aim, about.table_name or kind.table.name)
    if isinstance(error, ForeignKeyViolation):
        for column in kind.table.c:
            for reference in column.foreign_keys:
                if f"({column.name})=" in (about.message_detail or ""):
                    parent = _singular(reference.column.table.name)
                    return EntityNotFoundError(parent, str(values.get(column.name)))
    refused = about.message_primary or str(error)
    return GuardNotSatisfied(kind.name, key, aim, (refused,), "the database refused the row")


def _broken_check(
    kind: Kind, key: str, values: Mapping[str, Any], aim: str, name: str
) -> PatchlineError:
    """The error for a CHECK constraint of the table, by its name."""
    order = _ORDER.search(name)
    if order and name.startswith(f"ck_{kind.table.name}_order_"):
        early, late = order.groups()
        return TimestampOrderingViolation(
            kind.name, key, (early, str(values[early])), (late, str(values[late]))
        )
    return GuardNotSatisfied(kind.name, key, aim, (name,), "the row breaks a rule of its table")


def _broken_rule(
    kind: Kind, key: str, values: Mapping[str, Any], aim: str, rule: str, text: str
) -> PatchlineError:
    """The error for what a trigger refused (`state.triggers`)."""
    if rule == "exists":
        found = _TAKEN.search(text)
        table = found.group(1) if found else kind.table.name
        return _exists(kind, key, values, aim, table)
    if rule == "ended":
        return StaleTokenError(kind.name, key, key, None)
    if kind.machine is not None and rule in ("terminal", "illegal_transition"):
        state = str(values["state"])
        error = TerminalStateViolation if rule == "terminal" else InvalidTransitionError
        return error(kind.name, key, state, aim, kind.machine.targets(state))
    return GuardNotSatisfied(kind.name, key, aim, (rule,), text)


def _exists(
    kind: Kind, key: str, values: Mapping[str, Any], aim: str, table: str
) -> PatchlineError:
    """A row is there already: of this kind, or one that is written together with it."""
    if table == kind.table.name:
        return EntityExistsError(kind.name, key)
    if table == KINDS["task_attempt"].table.name:
        return EntityExistsError("task_attempt", str(values.get("token")))
    return GuardNotSatisfied(kind.name, key, aim, (table,), "a row of it is there already")


def _singular(table: str) -> str:
    for kind in KINDS.values():
        if kind.table is METADATA.tables[table]:
            return kind.name
    return table
