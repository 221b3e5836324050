"""What people and programs read: the summary of a run, lists, and what happened since."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, func, literal, select, tuple_

from state import statements
from state.audit import TransitionRecord
from state.connection import Row
from state.entities import kind_of
from state.errors import EntityNotFoundError, StoreUsageError
from state.event_rows import read_records
from state.schema import patch_ledger_entries, runs, state_transitions, tasks, workstreams
from state.store import StateStore

LISTS: Mapping[str, str] = {
    "runs": "run",
    "workstreams": "workstream",
    "tasks": "task",
    "workers": "worker",
    "patches": "patch_ledger",
    "gates": "test_gate",
    "breakers": "circuit_breaker",
    "events": "",
}
"""What `list_entities` lists, and the entity type behind each name."""


def run_summary(store: StateStore, run_id: str | None = None) -> dict[str, Any]:
    """The document of `run --json` and `status --json` (design section 6); the newest run for None.

    Workstreams, tasks and patches come in plan order; a successor follows its original.

    Raises:
        EntityNotFoundError: there is no such run, or no run at all.
    """
    with store.reading() as connection:
        run = _find_run(connection, run_id)
        ws_rows = _of_run(connection, workstreams, run.run_id)
        task_rows = _tasks_of_run(connection, run.run_id)
        ledger = _of_run(connection, patch_ledger_entries, run.run_id)
    names = {row.ws_id: row.slug or row.ws_id for row in ws_rows}
    ordered = _lineage_order(task_rows)
    places = {row.task_id: place for place, row in enumerate(ordered)}
    ledger.sort(key=lambda row: places.get(row.task_id, len(places)))
    return {
        "run_id": run.run_id,
        "dagster_run_id": run.dagster_run_id,
        "plan": run.plan,
        "state": run.state,
        "started_at": run.started_at,
        "completed_at": run.completed_at,
        "target": run.target,
        "head": run.head_commit,
        "workstreams": [_workstream(row) for row in ws_rows],
        "tasks": [_task(row, names[row.workstream_id]) for row in ordered],
        "patches": [_patch(row) for row in ledger],
    }


def _find_run(connection: Connection, run_id: str | None) -> Row:
    query = select(runs)
    if run_id is not None:
        query = query.where(runs.c.run_id == run_id)
    newest = query.order_by(runs.c.created_at.desc(), runs.c.run_id.desc()).limit(1)
    row = connection.execute(newest).first()
    if row is None:
        raise EntityNotFoundError("run", run_id)
    return row


def _of_run(connection: Connection, table: Table, run_id: str) -> list[Row]:
    order = [table.c[name] for name in ("position", "created_at") if name in table.c]
    query = select(table).where(table.c.run_id == run_id)
    key = next(iter(table.primary_key.columns))
    return list(connection.execute(query.order_by(*order, key)).all())


def _tasks_of_run(connection: Connection, run_id: str) -> list[Row]:
    query = (
        select(tasks)
        .join(workstreams, workstreams.c.ws_id == tasks.c.workstream_id)
        .where(workstreams.c.run_id == run_id)
        .order_by(
            workstreams.c.position,
            workstreams.c.created_at,
            workstreams.c.ws_id,
            tasks.c.position,
            tasks.c.created_at,
            tasks.c.task_id,
        )
    )
    return list(connection.execute(query).all())


def _lineage_order(rows: Sequence[Row]) -> list[Row]:
    """Originals in their order, each followed by what was made to retry it."""
    known = {row.task_id for row in rows}
    successors: dict[str, list[Row]] = {}
    for row in rows:
        if row.retry_of in known:
            successors.setdefault(row.retry_of, []).append(row)
    ordered: list[Row] = []
    waiting = [row for row in reversed(rows) if row.retry_of not in known]
    while waiting:
        row = waiting.pop()
        ordered.append(row)
        waiting.extend(reversed(successors.get(row.task_id, [])))
    return ordered


def _workstream(row: Row) -> dict[str, Any]:
    return {
        "ws_id": row.ws_id,
        "id": row.slug or row.ws_id,
        "state": row.state,
        "branch": row.branch,
        "reason": row.reason,
    }


def _task(row: Row, workstream: str) -> dict[str, Any]:
    return {
        "task_id": row.task_id,
        "id": f"{workstream}/{row.slug or row.task_id}",
        "state": row.state,
        "attempts": row.attempts,
        "reason": row.reason,
    }


def _patch(row: Row) -> dict[str, Any]:
    return {
        "ledger_id": row.ledger_id,
        "task_id": row.task_id,
        "state": row.state,
        "commit_sha": row.commit_sha,
        "reason": row.rollback_reason
        or row.drop_reason
        or row.quarantine_reason
        or row.failure_reason,
    }


def list_entities(
    store: StateStore,
    kind: str,
    filters: Mapping[str, Any] | None = None,
    limit: int | None = None,
) -> list[dict[str, Any]]:
    """Rows of one list as JSON-ready dictionaries by column, the newest first.

    Args:
        store: to read.
        kind: a name of `LISTS`; `events` gives canonical events.
        filters: column -> value, a list meaning one of these. `run_id` also works for tasks.
        limit: how many at most.

    Raises:
        StoreUsageError: there is no such list or column.
    """
    if kind not in LISTS:
        raise StoreUsageError(f"There is no list {kind!r}. There are: {', '.join(LISTS)}.")
    wanted = dict(filters or {})
    query = _events(wanted, limit) if kind == "events" else _entities(kind, wanted, limit)
    with store.reading() as connection:
        if kind == "events":
            return [record.as_event() for record in read_records(connection, query)]
        found = connection.execute(query).mappings().all()
    return [{str(name): value for name, value in row.items()} for row in found]


def _events(wanted: Mapping[str, Any], limit: int | None) -> Select[Any]:
    """Without a run they are looked through from the newest, along the primary key."""
    columns = state_transitions.c
    query = select(state_transitions)
    for name, value in wanted.items():
        if name not in columns:
            raise StoreUsageError(f"events have no column {name!r}.")
        if name == "run_id" and isinstance(value, str):
            query = query.where(*_of_run_after(value, 0)).order_by(columns.run_id.desc())
        else:
            query = query.where(_equals(columns[name], value))
    return query.order_by(columns.transition_id.desc()).limit(limit)


def _of_run_after(run_id: str, transition_id: int) -> tuple[ColumnElement[bool], ...]:
    """That an audit row is one of a run, after another one; to be ordered by both columns.

    Spelled as a part of ix_state_transitions_run_id: told that the run equals one, PostgreSQL now
    and then goes through the rows of all runs by the primary key instead.
    """
    place = tuple_(state_transitions.c.run_id, state_transitions.c.transition_id)
    return place > (run_id, transition_id), place <= (run_id, _LAST)


_LAST = 2**63 - 1
"""No `transition_id` is greater."""


def _entities(name: str, wanted: Mapping[str, Any], limit: int | None) -> Select[Any]:
    kind = kind_of(LISTS[name])
    columns = kind.table.c
    chosen = ["workstream_id" if one == "run_id" and name == "tasks" else one for one in wanted]
    for one in chosen:
        if one not in columns:
            raise StoreUsageError(f"{name} have no column {one!r}.")
    if limit is not None and statements.in_order_by_state(kind, chosen):
        states = _states(wanted["state"]) if "state" in wanted else statements.every_state(kind)
        return statements.first_by_state(kind, states, limit, newest=True)
    query = select(kind.table)
    for one, value in wanted.items():
        if one == "run_id" and name == "tasks":
            inside = select(workstreams.c.ws_id).where(workstreams.c.run_id == value)
            query = query.where(columns.workstream_id.in_(inside))
        else:
            query = query.where(_equals(statements.comparable(kind, one, chosen), value))
    return query.order_by(columns.created_at.desc(), columns[kind.key].desc()).limit(limit)


def _states(wanted: Any) -> Sequence[ColumnElement[Any]]:
    several = isinstance(wanted, list | tuple | set | frozenset)
    given: list[Any] = list(dict.fromkeys(wanted)) if several else [wanted]  # pyright: ignore[reportUnknownArgumentType]
    return [literal(state) for state in given]


def _equals(column: ColumnElement[Any], value: Any) -> ColumnElement[bool]:
    if isinstance(value, list | tuple | set | frozenset):
        return column.in_(value)  # pyright: ignore[reportUnknownArgumentType]
    return column == value


def transitions_since(
    store: StateStore, transition_id: int = 0, run_id: str | None = None, limit: int = 1000
) -> list[TransitionRecord]:
    """Audit rows after that one, oldest first; of one run when named."""
    query = select(state_transitions)
    if run_id is None:
        query = query.where(state_transitions.c.transition_id > transition_id)
    else:
        query = query.where(*_of_run_after(run_id, transition_id))
        query = query.order_by(state_transitions.c.run_id)
    query = query.order_by(state_transitions.c.transition_id).limit(limit)
    with store.reading() as connection:
        return read_records(connection, query)


def history(store: StateStore, entity_type: str, entity_id: str) -> list[TransitionRecord]:
    """Every audit row of one entity, oldest first."""
    columns = state_transitions.c
    query = (
        select(state_transitions)
        .where(columns.entity_type == entity_type, columns.entity_id == entity_id)
        .order_by(columns.transition_id)
    )
    with store.reading() as connection:
        return read_records(connection, query)


def count_by_state(store: StateStore, kind: str) -> dict[str, int]:
    """How many rows of a list are in each state."""
    table = kind_of(LISTS[kind]).table
    query = select(table.c.state, func.count()).group_by(table.c.state)
    with store.reading() as connection:
        return {state: count for state, count in connection.execute(query).all()}
