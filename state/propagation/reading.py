"""The facts of a run, read at one moment and in few columns: a cascade looks at all of it."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, Select, select

from state.errors import EntityNotFoundError
from state.propagation.facts import (
    Cancellation,
    LedgerFacts,
    RunFacts,
    TaskFacts,
    WorkstreamFacts,
)
from state.schema import (
    patch_ledger_entries,
    runs,
    task_dependencies,
    tasks,
    workstream_dependencies,
    workstreams,
)
from state.store import StateStore


def run_facts(store: StateStore, run_id: str) -> RunFacts:
    """Read what counts of a run, in plan order. Raises EntityNotFoundError when there is none."""
    with store.reading() as connection:
        run = connection.execute(
            select(runs.c.state, runs.c.version, runs.c.metadata).where(runs.c.run_id == run_id)
        ).first()
        if run is None:
            raise EntityNotFoundError("run", run_id)
        return RunFacts(
            run_id=run_id,
            state=run.state,
            workstreams=_workstreams(connection, run_id),
            tasks=_tasks(connection, run_id),
            ledger=_ledger(connection, run_id),
            cancel=Cancellation.of(run.metadata),
            version=run.version,
        )


def _workstreams(connection: Connection, run_id: str) -> list[WorkstreamFacts]:
    row = workstreams.c
    needs = _pairs(
        connection,
        select(workstream_dependencies.c.ws_id, workstream_dependencies.c.depends_on)
        .join(workstreams, row.ws_id == workstream_dependencies.c.ws_id)
        .where(row.run_id == run_id)
        .order_by(workstream_dependencies.c.ws_id, workstream_dependencies.c.depends_on),
    )
    found = connection.execute(
        select(
            row.ws_id,
            row.state,
            row.version,
            row.is_critical,
            row.enabled,
            row.slug,
            row.metadata,
        )
        .where(row.run_id == run_id)
        .order_by(row.position, row.ws_id)
    )
    return [WorkstreamFacts.of(one, needs.get(one.ws_id, ())) for one in found]


def _tasks(connection: Connection, run_id: str) -> list[TaskFacts]:
    row = tasks.c
    under = workstreams.c.run_id == run_id
    needs = _pairs(
        connection,
        select(task_dependencies.c.task_id, task_dependencies.c.depends_on)
        .join(tasks, row.task_id == task_dependencies.c.task_id)
        .join(workstreams, workstreams.c.ws_id == row.workstream_id)
        .where(under)
        .order_by(task_dependencies.c.task_id, task_dependencies.c.depends_on),
    )
    found = connection.execute(
        select(
            row.task_id,
            row.workstream_id,
            row.state,
            row.version,
            row.is_critical,
            row.retry_of,
            row.slug,
            row.created_at,
        )
        .join(workstreams, workstreams.c.ws_id == row.workstream_id)
        .where(under)
        .order_by(workstreams.c.position, row.position, row.created_at, row.task_id)
    )
    return [TaskFacts.of(one, needs.get(one.task_id, ())) for one in found]


def _ledger(connection: Connection, run_id: str) -> dict[str, list[LedgerFacts]]:
    """The entries of the workstreams that they may still mean something for."""
    row, of = patch_ledger_entries.c, workstreams.c
    found = connection.execute(
        select(row.ledger_id, row.state, row.task_id, row.replaces, row.workstream_id)
        .join(workstreams, of.ws_id == row.workstream_id)
        .where(of.run_id == run_id, of.state.in_(("ready", "executing")))
        .order_by(row.created_at, row.ledger_id)
    )
    ledger: dict[str, list[LedgerFacts]] = {}
    for one in found:
        ledger.setdefault(one.workstream_id, []).append(LedgerFacts.of(one))
    return ledger


def _pairs(connection: Connection, query: Select[str, str]) -> Mapping[str, Sequence[str]]:
    """Who depends on what."""
    needs: dict[str, list[str]] = {}
    for who, needed in connection.execute(query):
        needs.setdefault(who, []).append(needed)
    return needs
