"""What proving and enforcing the history needs: heads of the audit chain, checkpoints, indexes.

The rows that are there already get their hashes. What enforces the rules, the triggers, is in no
revision (see `state.migrations`).

Revision: 0002
Revises: 0001
"""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from alembic import op

from state.canonical import canonical_json
from state.chain import row_hash

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

MACHINES = {
    "run": ("runs", "run_id"),
    "workstream": ("workstreams", "ws_id"),
    "task": ("tasks", "task_id"),
    "worker": ("workers", "worker_id"),
    "uet_worker": ("uet_workers", "worker_id"),
    "patch_ledger": ("patch_ledger_entries", "ledger_id"),
    "test_gate": ("test_gates", "gate_id"),
    "circuit_breaker": ("circuit_breakers", "tool_id"),
}
"""Entity type: table and key of each of the eight machines."""

CHECKPOINTS = """
    checkpoint_id {integer} NOT NULL,
    first_transition_id {big} NOT NULL, last_transition_id {big} NOT NULL,
    entries {big} NOT NULL, root TEXT NOT NULL, prev_hash TEXT, hash TEXT NOT NULL,
    created_at TEXT NOT NULL, metadata JSON NOT NULL,
    PRIMARY KEY (checkpoint_id),
    CONSTRAINT uq_audit_checkpoints_hash UNIQUE (hash)
"""
TYPES = {
    "sqlite": {"integer": "INTEGER", "big": "INTEGER"},
    "postgresql": {"integer": "INTEGER", "big": "BIGINT"},
}

DROPPED_INDEXES = (
    "ix_state_transitions_entity",
    "ix_state_transitions_run_id",
    "ix_circuit_breakers_state",
    "ix_patch_ledger_entries_patch_id",
    "ix_patch_ledger_entries_replaces",
    "ix_patch_ledger_entries_state",
    "ix_patches_task_id",
    "ix_runs_phase_id",
    "ix_runs_retry_of",
    "ix_runs_state",
    "ix_task_dependencies_depends_on",
    "ix_tasks_state",
    "ix_test_gates_ledger_id",
    "ix_test_gates_state",
    "ix_uet_workers_state",
    "ix_uet_workers_task_id",
    "ix_workers_state",
    "ix_workers_task_id",
    "ix_workstream_dependencies_depends_on",
    "ix_workstreams_state",
)
"""Those that no query uses, and those that come again with more columns."""

INDEXES = (
    "ix_patch_ledger_entries_state ON patch_ledger_entries (state, created_at, ledger_id)",
    "ix_runs_state ON runs (state, created_at, run_id)",
    "ix_tasks_state ON tasks (state, created_at, task_id)",
    "ix_test_gates_state ON test_gates (state, created_at, gate_id)",
    "ix_uet_workers_state ON uet_workers (state, created_at, worker_id)",
    "ix_workers_state ON workers (state, created_at, worker_id)",
    "ix_workstreams_state ON workstreams (state, created_at, ws_id)",
    "ix_state_transitions_run_id ON state_transitions (run_id, transition_id)",
    "ix_state_transitions_entity ON state_transitions (entity_type, entity_id, transition_id)",
    "ix_state_transitions_at ON state_transitions (transitioned_at)",
    "ix_state_transitions_operator ON state_transitions (transitioned_at)"
    " WHERE operator IS NOT NULL",
    "ix_tasks_queue ON tasks (state, position, created_at, task_id) WHERE state = 'queued'",
)
"""What follows CREATE INDEX."""

AUDIT = sa.table(
    "state_transitions",
    sa.column("transition_id", sa.BigInteger),
    sa.column("event_id", sa.Text),
    sa.column("entity_type", sa.Text),
    sa.column("entity_id", sa.Text),
    sa.column("entity_version", sa.BigInteger),
    sa.column("from_state", sa.Text),
    sa.column("to_state", sa.Text),
    sa.column("trigger", sa.Text),
    sa.column("reason", sa.Text),
    sa.column("severity", sa.Text),
    sa.column("operator", sa.Text),
    sa.column("metadata", sa.JSON),
    sa.column("run_id", sa.Text),
    sa.column("workstream_id", sa.Text),
    sa.column("phase_id", sa.Text),
    sa.column("transitioned_at", sa.Text),
    sa.column("prev_hash", sa.Text),
    sa.column("hash", sa.Text),
)
PAGE = 1000


def upgrade() -> None:
    """Add columns, table and indexes; chain the history."""
    connection = op.get_bind()
    types = TYPES[connection.dialect.name]
    if connection.dialect.name == "postgresql":
        op.execute("LOCK TABLE state_transitions IN ACCESS EXCLUSIVE MODE")
    for table, _ in MACHINES.values():
        op.execute(f"ALTER TABLE {table} ADD COLUMN audit_head TEXT")
    op.execute(f"CREATE TABLE audit_checkpoints ({CHECKPOINTS.format(**types)})")
    for name in DROPPED_INDEXES:
        op.execute(f"DROP INDEX {name}")
    for index in INDEXES:
        op.execute(f"CREATE INDEX {index}")
    chain_history(connection)


def chain_history(connection: sa.Connection) -> None:
    """Hash every audit row after the one before it of the same entity; note the last ones."""
    fill = (
        AUDIT.update()
        .where(AUDIT.c.transition_id == sa.bindparam("of"))
        .values(
            prev_hash=sa.bindparam("before"),
            hash=sa.bindparam("own"),
            metadata=sa.bindparam("about", type_=sa.JSON),  # the hash covers it as it is spelled
        )
    )
    entity: tuple[str, str] | None = None
    head: str | None = None
    for page in _pages(connection):
        filled: list[dict[str, Any]] = []
        heads: dict[tuple[str, str], str] = {}
        for row in page:
            this = (row["entity_type"], row["entity_id"])
            if this != entity:
                entity, head = this, None
            own = row_hash({**row, "prev_hash": head}, canonical_json(row["metadata"]))
            filled.append(
                {
                    "of": row["transition_id"],
                    "before": head,
                    "own": own,
                    "about": row["metadata"],
                }
            )
            heads[this] = head = own
        connection.execute(fill, filled)
        _note(connection, heads)


def _pages(connection: sa.Connection) -> Iterator[list[dict[str, Any]]]:
    """The history, entity by entity and in each in its order, some rows at a time."""
    order = (AUDIT.c.entity_type, AUDIT.c.entity_id, AUDIT.c.transition_id)
    last: tuple[Any, ...] = ("", "", 0)
    while True:
        query = sa.select(AUDIT).where(sa.tuple_(*order) > last).order_by(*order).limit(PAGE)
        page = [dict(row) for row in connection.execute(query).mappings()]
        if not page:
            return
        yield page
        last = tuple(page[-1][column.name] for column in order)


def _note(connection: sa.Connection, heads: dict[tuple[str, str], str]) -> None:
    for entity_type, group in groupby(heads, key=lambda one: one[0]):
        if entity_type not in MACHINES:
            continue  # nobody's: `audit verify` reports it
        name, key = MACHINES[entity_type]
        table = sa.table(name, sa.column(key), sa.column("audit_head"))
        note = (
            table.update()
            .where(table.c[key] == sa.bindparam("of"))
            .values(audit_head=sa.bindparam("head"))
        )
        connection.execute(note, [{"of": one[1], "head": heads[one]} for one in group])
