"""A database as it is after 100,000 tasks, filled by the database itself in seconds.

Its rows hold to every CHECK. They were not written by a store, so the triggers are away meanwhile;
ids are `task_100000000`, `task_100000001` and so on.
"""

from typing import Any

import sqlalchemy as sa

from state.canonical import canonical_json
from state.entities import KINDS
from state.schema import METADATA
from state.upgrade import drop_triggers, install_triggers
from tests.state.big_tables import AUDITED, TABLES, TASKS, Columns, id_of, time_of

FIRST_EVENT, LAST_EVENT = "evt_run_1_0", "evt_last"
"""Ids of the first audit row and of the last; the rows spread over ten days in January 2026."""


def key(entity_type: str, number: int) -> str:
    """The key of the row of that number, from 0."""
    return f"{KINDS[entity_type].prefix}{100_000_000 + number}"


def fill(engine: sa.Engine) -> None:
    """Fill an empty database of the present schema.

    Args:
        engine: of the database; its owner may do anything in it.
    """
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
            connection.exec_driver_sql("PRAGMA synchronous = OFF")
        else:
            connection.exec_driver_sql("SET session_replication_role = replica")
        drop_triggers(connection)
        # Many rows at random places of an index are much dearer than making the index afterwards.
        indexes = [index for table in METADATA.tables.values() for index in table.indexes]
        for index in indexes:
            index.drop(connection)
        for table, rows, columns in TABLES:
            _insert(connection, METADATA.tables[table], rows, columns)
        for name, (rows, states) in AUDITED.items():
            for version, state in enumerate(states, start=1):
                _audit(connection, name, rows, version, state, "none" if version == 1 else "x")
        connection.exec_driver_sql(
            f"UPDATE state_transitions SET event_id = '{LAST_EVENT}' WHERE transition_id ="
            " (SELECT MAX(transition_id) FROM state_transitions)"
        )
        for index in indexes:
            index.create(connection)
        install_triggers(connection)
        connection.commit()


def analyse(engine: sa.Engine) -> None:
    """Have the database count what it holds, as PostgreSQL does by itself now and then."""
    postgresql = engine.dialect.name == "postgresql"
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE" if postgresql else "ANALYZE")


def _audit(
    connection: sa.Connection, name: str, rows: int, version: int, state: str, before: str
) -> None:
    per_run = {"run": "1", "workstream": "20", "task": "2000"}.get(name, "4")
    tick = "i" if rows == TASKS else f"(i * {TASKS // rows})"
    columns = {
        "event_id": f"'evt_{name}_{version}_' || i",
        "entity_type": f"'{name}'",
        "entity_id": id_of(name),
        "entity_version": str(version),
        "from_state": f"'{before}'",
        "to_state": state,
        "trigger": "'created'",
        "severity": "CASE i % 100 WHEN 11 THEN 'error' ELSE 'info' END",
        "operator": "CASE i % 1000 WHEN 500 THEN 'ann' END",
        "run_id": id_of("run", f"i / {per_run}"),
        "workstream_id": id_of("workstream", "i / 100") if name == "task" else "NULL",
        "transitioned_at": time_of(tick),
        "hash": f"'{'0' * 64}'",
    }
    _insert(connection, METADATA.tables["state_transitions"], rows, columns)


def _insert(connection: sa.Connection, table: sa.Table, rows: int, columns: Columns) -> None:
    given = {**_defaults(table), **columns}
    literal = "X'00'" if connection.dialect.name == "sqlite" else "'\\x00'::bytea"
    connection.exec_driver_sql(
        f"INSERT INTO {table.name} ({', '.join(given)})"
        f" WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {rows - 1})"
        f" SELECT {', '.join(given.values()).replace('{bytes}', literal)} FROM n",
        execution_options={"no_parameters": True},
    )


def _defaults(table: sa.Table) -> Columns:
    """What the store would fill in where a column may not be null."""
    return {
        column.name: _default(column)
        for column in table.c
        if not column.nullable and not column.primary_key
    }


def _default(column: sa.Column[Any]) -> str:
    if column.default is None:
        return time_of("i") if column.name.endswith("_at") else "''"
    made: Any = getattr(column.default, "arg")  # noqa: B009
    value = made(None) if callable(made) else made
    return str(value).upper() if isinstance(value, bool | int | float) else _text(value)


def _text(value: object) -> str:
    return f"'{canonical_json(value)}'"
