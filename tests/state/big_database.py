"""A database as it is after 100,000 tasks, filled by the database itself in seconds.

Its rows hold to every CHECK. They were not written by a store, so the triggers are away meanwhile;
ids are `task_100000000`, `task_100000001` and so on.
"""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from state.canonical import canonical_json
from state.entities import KINDS
from state.schema import METADATA
from state.upgrade import drop_triggers, install_triggers

RUNS, WORKSTREAMS, TASKS, WORKERS, BREAKERS = 50, 1_000, 100_000, 200, 12
AUDITED = 3
"""Audit rows of each task; the other machines have one for each row."""

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
        for table, rows, columns in _TABLES:
            _insert(connection, METADATA.tables[table], rows, columns)
        for name, (rows, states) in _AUDITED.items():
            for version, state in enumerate(states, start=1):
                _audit(connection, name, rows, version, state, "none" if version == 1 else "x")
        connection.exec_driver_sql(
            f"UPDATE state_transitions SET event_id = '{LAST_EVENT}' WHERE transition_id ="
            " (SELECT MAX(transition_id) FROM state_transitions)"
        )
        install_triggers(connection)
        connection.commit()


def analyse(engine: sa.Engine) -> None:
    """Have the database count what it holds, as PostgreSQL does by itself now and then."""
    postgresql = engine.dialect.name == "postgresql"
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE" if postgresql else "ANALYZE")


# Expressions over `i`, the number of the row


def _id(entity_type: str, number: str = "i") -> str:
    return f"'{KINDS[entity_type].prefix}' || (100000000 + {number})"


def _at(tick: str) -> str:
    """A time that grows with a number below 100,000: 10,000 a day, from 10 to 20 o'clock."""
    day, hour = f"(10 + {tick} / 10000)", f"(10 + {tick} / 1000 % 10)"
    minute, second = f"(10 + {tick} / 20 % 50)", f"(10 + {tick} % 20)"
    return (
        f"'2026-01-' || {day} || 'T' || {hour} || ':' || {minute} || ':' || {second} || '.000000Z'"
    )


def _state(usual: str, others: Mapping[int, str], of: int = 1000) -> str:
    """Most rows are in the usual state; of every so many, the ones of these places are not."""
    cases = " ".join(f"WHEN {place} THEN '{state}'" for place, state in others.items())
    return f"CASE i % {of} {cases} ELSE '{usual}' END"


def _when(states: str, value: str) -> str:
    """A value for rows in these states, else null; `{state}` is written out."""
    return f"CASE WHEN ({{state}}) IN ({states}) THEN {value} END"


_Columns = dict[str, str]


def _rows(state: str, made: str, columns: _Columns) -> _Columns:
    """The columns of a machine's table."""
    every = {"created_at": _at(made), "updated_at": _at(made), **columns}
    return {"state": state, **{name: text.format(state=state) for name, text in every.items()}}


_RUN_STATE = _state("succeeded", {0: "running", 1: "pending", 2: "failed"}, 5)
_WS_STATE = _state("completed", {0: "executing", 1: "blocked", 2: "planned", 3: "failed"}, 100)
_TASK_STATE = _state(
    "completed",
    {
        **dict.fromkeys((0, 1, 2, *range(40, 70)), "queued"),
        3: "running",
        4: "retrying",
        5: "validating",
        **dict.fromkeys((6, 7, 8), "pending"),
        **dict.fromkeys((9, 10), "blocked"),
        **dict.fromkeys(range(11, 30), "failed"),
        **dict.fromkeys(range(30, 40), "cancelled"),
    },
)
_LEDGER_STATE = _state(
    "committed",
    {0: "created", 1: "validated", 2: "queued", **dict.fromkeys(range(3, 20), "quarantined")},
)
_GATE_STATE = _state(
    "PASSED", {0: "PENDING", 1: "RUNNING", 2: "BLOCKED", **dict.fromkeys(range(3, 40), "FAILED")}
)
_WORKER_STATE = _state("shutdown", {0: "idle", 1: "busy", 2: "unresponsive"}, 20)
_SANDBOX_STATE = _state("TERMINATED", {0: "IDLE", 1: "BUSY"}, 20)

_TABLES: tuple[tuple[str, int, _Columns], ...] = (
    (
        "phases",
        5,
        {"phase_id": "'plan@' || i", "plan": "'plan'", "sha256": "'' || i", "document": "'{}'"},
    ),
    (
        "runs",
        RUNS,
        _rows(
            _RUN_STATE,
            "(i * 2000)",
            {
                "run_id": _id("run"),
                "phase_id": "'plan@' || (i % 5)",
                "dagster_run_id": "'dagster-' || i",
                "repo": "'/srv/repo' || (i % 3)",
                "started_at": _when("'running', 'succeeded', 'failed'", _at("(i * 2000)")),
                "completed_at": _when("'succeeded', 'failed'", _at("(i * 2000)")),
            },
        ),
    ),
    (
        "workstreams",
        WORKSTREAMS,
        _rows(
            _WS_STATE,
            "(i * 100)",
            {
                "ws_id": _id("workstream"),
                "run_id": _id("run", "i / 20"),
                "slug": "'ws' || (i % 20)",
                "position": "i % 20",
                "completed_at": _when("'completed', 'failed'", _at("(i * 100)")),
            },
        ),
    ),
    (
        "tasks",
        TASKS,
        _rows(
            _TASK_STATE,
            "i",
            {
                "task_id": _id("task"),
                "workstream_id": _id("workstream", "i / 100"),
                "slug": "'task' || (i % 100)",
                "position": "i % 100",
                "tool_id": "'tool' || (i % 12)",
                "attempts": "1",
                "worker_id": _when("'running'", _id("worker", "i / 1000")),
                "retry_of": f"CASE WHEN i % 50 = 49 THEN {_id('task', 'i - 1')} END",
                "completed_at": _when("'completed', 'failed', 'cancelled'", _at("i")),
            },
        ),
    ),
    (
        "task_attempts",
        TASKS,
        {
            "attempt_id": _id("task_attempt"),
            "task_id": _id("task"),
            "number": "1",
            "worker_id": _id("worker", "i % 200"),
            "started_at": _at("i"),
        },
    ),
    (
        "workers",
        WORKERS,
        _rows(
            _WORKER_STATE,
            "(i * 500)",
            {
                "worker_id": _id("worker"),
                "run_id": _id("run", "i / 4"),
                "heartbeat_at": _at("(i * 500)"),
                "shutdown_at": _when("'shutdown'", _at("(i * 500)")),
                "unresponsive_at": _when("'unresponsive'", _at("(i * 500)")),
            },
        ),
    ),
    (
        "uet_workers",
        WORKERS,
        _rows(
            _SANDBOX_STATE,
            "(i * 500)",
            {
                "worker_id": _id("uet_worker"),
                "run_id": _id("run", "i / 4"),
                "terminated_at": _when("'TERMINATED'", _at("(i * 500)")),
            },
        ),
    ),
    (
        "patches",
        TASKS,
        {
            "patch_id": _id("patch"),
            "task_id": _id("task"),
            "sha256": "'' || i",
            "base_commit": "'base'",
            "diff": "{bytes}",
            "created_at": _at("i"),
        },
    ),
    (
        "patch_ledger_entries",
        TASKS,
        _rows(
            _LEDGER_STATE,
            "i",
            {
                "ledger_id": _id("patch_ledger"),
                "patch_id": _id("patch"),
                "task_id": _id("task"),
                "workstream_id": _id("workstream", "i / 100"),
                "run_id": _id("run", "i / 2000"),
                **dict.fromkeys(("format_ok", "scope_ok", "constraints_ok", "tests_ok"), "TRUE"),
                "commit_sha": _when("'committed'", "'sha' || i"),
                "committed_at": _when("'committed'", _at("i")),
                "quarantine_reason": _when("'quarantined'", "'out of scope'"),
                "quarantined_at": _when("'quarantined'", _at("i")),
            },
        ),
    ),
    (
        "test_gates",
        TASKS,
        _rows(
            _GATE_STATE,
            "i",
            {
                "gate_id": _id("test_gate"),
                "name": "'unit'",
                "gate_type": "'UNIT'",
                "task_id": _id("task"),
                "workstream_id": _id("workstream", "i / 100"),
                "run_id": _id("run", "i / 2000"),
                "ledger_id": _id("patch_ledger"),
                "role": "'exit'",
                "retry_of": f"CASE WHEN i % 50 = 49 THEN {_id('test_gate', 'i - 1')} END",
                "exit_code": _when("'PASSED', 'FAILED'", "0"),
                "completed_at": _when("'PASSED', 'FAILED'", _at("i")),
            },
        ),
    ),
    (
        "circuit_breakers",
        BREAKERS,
        _rows("'CLOSED'", "i", {"tool_id": "'tool' || i"}),
    ),
    (
        "workstream_dependencies",
        WORKSTREAMS - 1,
        {"ws_id": _id("workstream", "i + 1"), "depends_on": _id("workstream")},
    ),
    (
        "task_dependencies",
        TASKS - 1,
        {"task_id": _id("task", "i + 1"), "depends_on": _id("task")},
    ),
    (
        "task_gates",
        TASKS,
        {"task_id": _id("task"), "gate_id": _id("test_gate"), "role": "'entry'"},
    ),
    (
        "audit_checkpoints",
        1_000,
        {
            "checkpoint_id": "i + 1",
            "first_transition_id": "i * 300 + 1",
            "last_transition_id": "i * 300 + 300",
            "entries": "300",
            "root": "''",
            "hash": "'' || i",
        },
    ),
)
"""Table, how many rows, and the expressions of its columns; those not named have a default."""

_AUDITED: Mapping[str, tuple[int, tuple[str, ...]]] = {
    "run": (RUNS, (_RUN_STATE,)),
    "workstream": (WORKSTREAMS, (_WS_STATE,)),
    "worker": (WORKERS, (_WORKER_STATE,)),
    "uet_worker": (WORKERS, (_SANDBOX_STATE,)),
    "task": (TASKS, ("'pending'", "'queued'", _TASK_STATE)),
}
"""Machine -> how many entities, and the states that their audit rows lead to."""


def _audit(
    connection: sa.Connection, name: str, rows: int, version: int, state: str, before: str
) -> None:
    per_run = {"run": "1", "workstream": "20", "task": "2000"}.get(name, "4")
    tick = "i" if rows == TASKS else f"(i * {TASKS // rows})"
    columns = {
        "event_id": f"'evt_{name}_{version}_' || i",
        "entity_type": f"'{name}'",
        "entity_id": _id(name),
        "entity_version": str(version),
        "from_state": f"'{before}'",
        "to_state": state,
        "trigger": "'created'",
        "severity": "CASE i % 100 WHEN 11 THEN 'error' ELSE 'info' END",
        "operator": "CASE i % 1000 WHEN 500 THEN 'ann' END",
        "run_id": _id("run", f"i / {per_run}"),
        "workstream_id": _id("workstream", "i / 100") if name == "task" else "NULL",
        "transitioned_at": _at(tick),
        "hash": f"'{'0' * 64}'",
    }
    _insert(connection, METADATA.tables["state_transitions"], rows, columns)


def _insert(connection: sa.Connection, table: sa.Table, rows: int, columns: _Columns) -> None:
    given = {**_defaults(table), **columns}
    literal = "X'00'" if connection.dialect.name == "sqlite" else "'\\x00'::bytea"
    # Many rows at random places of an index are much dearer than making the index afterwards.
    indexes = [index for index in table.indexes]
    for index in indexes:
        index.drop(connection, checkfirst=True)
    connection.exec_driver_sql(
        f"INSERT INTO {table.name} ({', '.join(given)})"
        f" WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {rows - 1})"
        f" SELECT {', '.join(given.values()).replace('{bytes}', literal)} FROM n",
        execution_options={"no_parameters": True},
    )
    for index in indexes:
        index.create(connection)


def _defaults(table: sa.Table) -> _Columns:
    """What the store would fill in where a column may not be null."""
    return {
        column.name: _default(column)
        for column in table.c
        if not column.nullable and not column.primary_key
    }


def _default(column: sa.Column[Any]) -> str:
    if column.default is None:
        return _at("i") if column.name.endswith("_at") else "''"
    made: Any = getattr(column.default, "arg")  # noqa: B009
    value = made(None) if callable(made) else made
    return str(value).upper() if isinstance(value, bool | int | float) else _text(value)


def _text(value: object) -> str:
    return f"'{canonical_json(value)}'"
