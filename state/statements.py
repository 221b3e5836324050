"""The statements of transitions and claims, each built once: `state.connection` keeps what it
compiled by the statement's identity."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    Select,
    Table,
    bindparam,
    func,
    literal_column,
    select,
    union_all,
)
from sqlalchemy.sql.dml import ReturningInsert, ReturningUpdate, Update

from state.entities import KINDS, Kind
from state.json_lists import covers
from state.machines import MACHINES
from state.schema import (
    patch_ledger_entries,
    runs,
    state_transitions,
    task_attempts,
    tasks,
    workers,
    workstreams,
)

KEY = "the_key"
STATE = "the_state"
VERSION = "the_version"


@cache
def by_key(entity_type: str) -> Select[*tuple[Any, ...]]:
    """The row whose key is the parameter `the_key`."""
    kind = KINDS[entity_type]
    return select(kind.table).where(kind.table.c[kind.key] == bindparam(KEY))


@cache
def locked(entity_type: str) -> Select[*tuple[Any, ...]]:
    """The row whose key is the parameter `the_key`, held until the transaction ends.

    SQLite has no such words, and needs none: its writers take turns.
    """
    return by_key(entity_type).with_for_update()


@cache
def search(entity_type: str, shape: tuple[tuple[str, int | None], ...], limited: bool) -> Any:
    """Rows by equality, oldest first.

    Args:
        entity_type: of the rows.
        shape: for each column filtered by: how many values it may have, None for being null.
            The parameters are `<column>_<number>`, and `the_limit`.
        limited: whether there is a limit.
    """
    kind = KINDS[entity_type]
    chosen = [name for name, _ in shape]
    limit: ColumnElement[Any] = bindparam("the_limit")
    if limited and in_order_by_state(kind, chosen) and ("state", None) not in shape:
        counts = dict(shape)
        return first_by_state(kind, _choice(kind, "state", counts.get("state")), limit)
    query = select(kind.table)
    for name, count in shape:
        column = comparable(kind, name, chosen)
        if count is None:
            query = query.where(column.is_(None))
        elif count == 1:
            query = query.where(column == bindparam(f"{name}_0"))
        else:
            query = query.where(column.in_(_choice(kind, name, count)))
    query = query.order_by(*_order(kind))
    return query.limit(limit) if limited else query


def _choice(kind: Kind, name: str, count: int | None) -> Sequence[ColumnElement[Any]]:
    """The parameters of one filter; every state of the machine for none."""
    if count is None:
        return every_state(kind)
    return [bindparam(f"{name}_{place}", type_=kind.table.c[name].type) for place in range(count)]


def _order(kind: Kind) -> list[ColumnElement[Any]]:
    made = kind.table.c.get("created_at")
    return [*([] if made is None else [made]), kind.table.c[kind.key]]


def comparable(kind: Kind, name: str, chosen: Sequence[str]) -> ColumnElement[Any]:
    """A column to filter by; a state beside something narrower as a value that has no index.

    Nearly all rows are in the same few states, which a planner without statistics (SQLite's) cannot
    know: it would go through all of them, since they come in the wanted order.

    Args:
        kind: of the rows.
        name: of the column.
        chosen: all columns that are filtered by.
    """
    column = kind.table.c[name]
    narrow = {next(iter(index.columns)).name for index in kind.table.indexes} | {kind.key}
    beside = any(one in narrow for one in chosen if one != "state")
    return column.concat(literal_column("''")) if name == "state" and beside else column


def in_order_by_state(kind: Kind, chosen: Sequence[str]) -> bool:
    """Whether rows filtered by these columns come in the order of making, one state at a time."""
    indexed = any(str(index.name).endswith("_state") for index in kind.table.indexes)
    return indexed and set(chosen) <= {"state"}


def every_state(kind: Kind) -> Sequence[ColumnElement[Any]]:
    """All states of its machine, which a CHECK holds the rows to."""
    return [literal_column(f"'{state}'") for state in kind.machine_of().states]


def first_by_state(
    kind: Kind, states: Sequence[ColumnElement[Any]], limit: Any, *, newest: bool = False
) -> Select[*tuple[Any, ...]]:
    """The first rows that are in one of these states, by time of making; so many at most.

    Of each state so many are taken from the index on `state, created_at` and its key, and the first
    among those are wanted: nothing else is looked at, however many rows there are.
    """
    columns = kind.table.c
    made, key = columns.created_at, columns[kind.key]
    order = _directed([made, key], newest)
    firsts = [
        select(made, key).where(columns.state == state).order_by(*order).limit(limit).subquery()
        for state in states
    ]
    found = union_all(*[select(one) for one in firsts]).subquery()
    ranked = [found.c[made.name], found.c[key.name]]
    page = select(ranked[-1]).order_by(*_directed(ranked, newest)).limit(limit)
    return select(kind.table).where(key.in_(page)).order_by(*order)


def _directed(order: Sequence[ColumnElement[Any]], newest: bool) -> list[ColumnElement[Any]]:
    return [one.desc() if newest else one for one in order]


@cache
def swap(entity_type: str) -> Update:
    """Compare-and-swap on key, state and version; the columns come with the parameters."""
    kind = KINDS[entity_type]
    columns = kind.table.c
    return kind.table.update().where(
        columns[kind.key] == bindparam(KEY),
        columns.state == bindparam(STATE),
        columns.version == bindparam(VERSION),
    )


@cache
def insert(entity_type: str) -> ReturningInsert[*tuple[Any, ...]]:
    """A new row, given back as it was stored."""
    table = KINDS[entity_type].table
    return table.insert().returning(*table.c)


@cache
def change(entity_type: str) -> ReturningUpdate[*tuple[Any, ...]]:
    """Change the columns that come with the parameters, and give the row back."""
    kind = KINDS[entity_type]
    table = kind.table
    return table.update().where(table.c[kind.key] == bindparam(KEY)).returning(*table.c)


@cache
def present(table: Table, column: str) -> Select[*tuple[Any, ...]]:
    """Whether a value stands in a column."""
    return select(table.c[column]).where(table.c[column] == bindparam(KEY)).limit(1)


@cache
def state_of(table: Table, key: str) -> Select[*tuple[Any, ...]]:
    """The state of the row with that key."""
    return select(table.c.state).where(table.c[key] == bindparam(KEY))


@cache
def claimable_task(of_run: bool, named: bool, of_workstream: bool) -> Select[*tuple[Any, ...]]:
    """The first task in plan order that may be claimed and that nobody else is claiming; held.

    Parameters: `skills`, and as chosen `run_id, task_id, workstream_id`. Leans on the index
    `ix_tasks_queue`.
    """
    query = (
        select(tasks)
        .join(workstreams, workstreams.c.ws_id == tasks.c.workstream_id)
        .join(runs, runs.c.run_id == workstreams.c.run_id)
        .where(
            # Written out, since an index of some rows is used only for the very same words.
            tasks.c.state == literal_column("'queued'"),
            covers(bindparam("skills", type_=JSON), tasks.c.capabilities),
            runs.c.held.is_(False),
            *(runs.c.state != ended for ended in sorted(MACHINES["run"].terminal)),
        )
        .order_by(tasks.c.position, tasks.c.created_at, tasks.c.task_id)
        .limit(literal_column("1"))
        .with_for_update(of=tasks, skip_locked=True)
    )
    if of_run:
        query = query.where(runs.c.run_id == bindparam("run_id"))
    if named:
        query = query.where(tasks.c.task_id == bindparam("task_id"))
    if of_workstream:
        query = query.where(tasks.c.workstream_id == bindparam("workstream_id"))
    return query


LIVE_TOKEN = select(tasks.c.token).where(tasks.c.task_id == bindparam(KEY))
HELD_TASK = select(tasks.c.task_id).where(tasks.c.worker_id == bindparam(KEY)).limit(1)
WORKSTREAM_OF_TASK = select(tasks.c.workstream_id).where(tasks.c.task_id == bindparam(KEY))
RUN_OF_WORKSTREAM = select(workstreams.c.run_id).where(workstreams.c.ws_id == bindparam(KEY))
PHASE_OF_RUN = select(runs.c.phase_id).where(runs.c.run_id == bindparam(KEY))
BEAT = workers.update().where(workers.c.worker_id == bindparam(KEY))
BEGIN_ATTEMPT = task_attempts.insert()
END_ATTEMPT = task_attempts.update().where(task_attempts.c.attempt_id == bindparam(KEY))
LANDINGS = select(
    patch_ledger_entries.c.state,
    patch_ledger_entries.c.base_commit,
    patch_ledger_entries.c.commit_sha,
    patch_ledger_entries.c.candidate_commit,
).where(
    patch_ledger_entries.c.workstream_id == bindparam(KEY),
    comparable(KINDS["patch_ledger"], "state", ["state", "workstream_id"]).in_(
        [bindparam("s0"), bindparam("s1"), bindparam("s2")]
    ),
)
LAST_AUDIT_ROW = select(func.max(state_transitions.c.transition_id).label("last"))
