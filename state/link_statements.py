"""The statements about rows that join others, each built once (see `state.statements`):
dependencies, lineages made by `retry_of`, and the roles of gates."""

from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, bindparam, exists, or_, select

from state.entities import Kind
from state.schema import (
    patch_ledger_entries,
    runs,
    task_dependencies,
    task_gates,
    tasks,
    test_gates,
    workstream_dependencies,
    workstreams,
)
from state.statements import KEY

TOKEN = "the_token"


@cache
def link(table: Table) -> Any:
    """A row of a link table, by all its columns (`want_<column>`)."""
    wanted = [column == bindparam(f"want_{column.name}") for column in table.c]
    return select(table).where(*wanted)


@cache
def new_link(table: Table) -> Any:
    """A new row of a link table."""
    return table.insert()


def _retried(table: Table, key: str) -> ColumnElement[bool]:
    """Whether a row is one of a lineage, so that another may stand for it."""
    successor = table.alias()
    made_again = exists().where(successor.c.retry_of == table.c[key])
    return or_(table.c.retry_of.is_not(None), made_again).label("retried")


@cache
def lineage(table: Table, key: str) -> Select[*tuple[Any, ...]]:
    """Every row of the lineage that the one with the key `the_key` belongs to."""
    row, before, after = table.c, table.alias().c, table.alias().c
    up = (
        select(row[key].label("key"), row.retry_of)
        .where(row[key] == bindparam(KEY))
        .cte("up", recursive=True)
    )
    up = up.union(select(before[key], before.retry_of).where(before[key] == up.c.retry_of))
    down = select(up.c.key).where(up.c.retry_of.is_(None)).cte("down", recursive=True)
    down = down.union(select(after[key]).where(after.retry_of == down.c.key))
    blocking = [row.blocking] if "blocking" in row else []
    columns = (row[key].label("key"), row.state, row.retry_of, row.created_at, *blocking)
    return select(*columns).where(row[key].in_(select(down.c.key)))


@cache
def gates_of(role: str) -> Select[*tuple[Any, ...]]:
    """The gates that have a role for the task `the_key`.

    Exit gates judge the patch of the attempt at work (`the_token`): what they said of an earlier
    attempt's is over with that patch.
    """
    query = (
        select(
            task_gates.c.gate_id.label("key"),
            test_gates.c.state,
            test_gates.c.blocking,
            _retried(test_gates, "gate_id"),
        )
        .outerjoin(test_gates, test_gates.c.gate_id == task_gates.c.gate_id)
        .where(task_gates.c.task_id == bindparam(KEY), task_gates.c.role == role)
        .order_by(task_gates.c.gate_id)
    )
    if role == "entry":
        return query
    entry = patch_ledger_entries.c
    return query.outerjoin(patch_ledger_entries, entry.ledger_id == test_gates.c.ledger_id).where(
        or_(entry.attempt_id.is_(None), entry.attempt_id == bindparam(TOKEN))
    )


_ENDS = {
    "task": select(tasks.c.task_id.label("key"), runs.c.run_id)
    .join(workstreams, workstreams.c.ws_id == tasks.c.workstream_id)
    .join(runs, runs.c.run_id == workstreams.c.run_id)
    .where(tasks.c.task_id.in_([bindparam("one"), bindparam("other")]))
    .with_for_update(of=runs, key_share=True),
    "workstream": select(workstreams.c.ws_id.label("key"), runs.c.run_id)
    .join(runs, runs.c.run_id == workstreams.c.run_id)
    .where(workstreams.c.ws_id.in_([bindparam("one"), bindparam("other")]))
    .with_for_update(of=runs, key_share=True),
}


def runs_of(kind: Kind) -> Select[*tuple[Any, ...]]:
    """The runs of two tasks or workstreams (`one`, `other`), held until the transaction ends.

    So two that make each other wait at the same moment take turns, and the second sees the first.
    """
    return _ENDS[kind.name]


@cache
def needs_of(table: Table) -> Select[*tuple[Any, ...]]:
    """Everything that the row `the_key` waits for, at any distance: who waits for whom."""
    who, needed = table.c
    edges = select(who.label("who"), needed.label("needed")).where(who == bindparam(KEY))
    reached = edges.cte("reached", recursive=True)
    reached = reached.union(select(who, needed).where(who == reached.c.needed))
    return select(reached.c.who, reached.c.needed)


TASK_DEPENDENCIES = (
    select(task_dependencies.c.depends_on.label("key"), tasks.c.state, _retried(tasks, "task_id"))
    .outerjoin(tasks, tasks.c.task_id == task_dependencies.c.depends_on)
    .where(task_dependencies.c.task_id == bindparam(KEY))
    .order_by(task_dependencies.c.depends_on)
)
_needed = workstreams.alias()
WORKSTREAM_DEPENDENCIES = (
    select(workstream_dependencies.c.depends_on.label("key"), _needed.c.state, runs.c["metadata"])
    .join(workstreams, workstreams.c.ws_id == workstream_dependencies.c.ws_id)
    .join(runs, runs.c.run_id == workstreams.c.run_id)
    .outerjoin(_needed, _needed.c.ws_id == workstream_dependencies.c.depends_on)
    .where(workstream_dependencies.c.ws_id == bindparam(KEY))
    .order_by(workstream_dependencies.c.depends_on)
)
