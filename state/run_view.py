"""A run with everything under it, read at one moment: what the propagation rules look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Select, select

from state.connection import Row
from state.schema import (
    runs,
    state_transitions,
    task_dependencies,
    tasks,
    workstream_dependencies,
    workstreams,
)
from state.store import StateStore


@dataclass(frozen=True)
class RunView:
    """Rows of one run by id, in plan order, and who waits for whom.

    `successors` maps a task to the task made to retry it (decisions T7).
    """

    run: Row
    workstreams: Mapping[str, Row]
    tasks: Mapping[str, Row]
    workstream_needs: Mapping[str, Sequence[str]]
    task_needs: Mapping[str, Sequence[str]]
    successors: Mapping[str, str]

    def tasks_of(self, ws_id: str) -> list[Row]:
        """The tasks of a workstream, successors included."""
        return [task for task in self.tasks.values() if task.workstream_id == ws_id]

    def newest(self, task_id: str) -> Row:
        """The task that stands for this one now: itself, or the last made to retry it."""
        while task_id in self.successors:
            task_id = self.successors[task_id]
        return self.tasks[task_id]


def run_view(store: StateStore, run_id: str) -> RunView:
    """Read a run. Raises EntityNotFoundError when there is none."""
    store.get("run", run_id)
    with store.reading() as connection:
        run = connection.execute(select(runs).where(runs.c.run_id == run_id)).one()
        of_run = workstreams.c.run_id == run_id
        streams = connection.execute(
            select(workstreams).where(of_run).order_by(workstreams.c.position, workstreams.c.ws_id)
        ).all()
        found = connection.execute(
            select(tasks)
            .join(workstreams, workstreams.c.ws_id == tasks.c.workstream_id)
            .where(of_run)
            .order_by(workstreams.c.position, tasks.c.position, tasks.c.task_id)
        ).all()
        return RunView(
            run=run,
            workstreams={row.ws_id: row for row in streams},
            tasks={row.task_id: row for row in found},
            workstream_needs=_needs(connection, _WORKSTREAM_NEEDS.where(of_run)),
            task_needs=_needs(connection, _TASK_NEEDS.where(of_run)),
            successors={row.retry_of: row.task_id for row in found if row.retry_of},
        )


def workstream_history(store: StateStore, ws_id: str) -> Sequence[Row]:
    """Every transition of a workstream and of what is under it, in order.

    They are found among those of its run: an index on the workstream would cost every write.
    """
    columns = state_transitions.c
    run = select(workstreams.c.run_id).where(workstreams.c.ws_id == ws_id).scalar_subquery()
    query = (
        select(state_transitions)
        .where(columns.run_id == run, columns.workstream_id == ws_id)
        .order_by(columns.transition_id)
    )
    with store.reading() as connection:
        return connection.execute(query).all()


_WORKSTREAM_NEEDS = (
    select(workstream_dependencies.c.ws_id, workstream_dependencies.c.depends_on)
    .join(workstreams, workstreams.c.ws_id == workstream_dependencies.c.ws_id)
    .order_by(workstream_dependencies.c.ws_id, workstream_dependencies.c.depends_on)
)
_TASK_NEEDS = (
    select(task_dependencies.c.task_id, task_dependencies.c.depends_on)
    .join(tasks, tasks.c.task_id == task_dependencies.c.task_id)
    .join(workstreams, workstreams.c.ws_id == tasks.c.workstream_id)
    .order_by(task_dependencies.c.task_id, task_dependencies.c.depends_on)
)


def _needs(connection: Connection, query: Select[str, str]) -> dict[str, list[str]]:
    needs: dict[str, list[str]] = {}
    for who, needed in connection.execute(query):
        needs.setdefault(who, []).append(needed)
    return needs
