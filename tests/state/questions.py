"""What the product asks of its database, each with the indexes that must serve it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from state import guards, statements
from state.analysis.durations import time_in_state, time_in_states
from state.analysis.failures import failure_patterns
from state.analysis.past import state_at
from state.analysis.rates import overrides, transition_rates
from state.analysis.stuck import stuck
from state.checkpoints import checkpoint_over, row_hashes
from state.connection import Connection
from state.machines import MACHINES
from state.propagation.reading import run_facts
from state.queries import (
    LISTS,
    count_by_state,
    history,
    list_entities,
    run_summary,
    transitions_since,
)
from state.run_view import run_view, workstream_history
from state.schema import tasks, test_gates
from state.store import StateStore
from tests.state.big_database import key

RUN, STREAM, TASK = key("run", 25), key("workstream", 500), key("task", 50_000)
LEDGER, GATE, WORKER = key("patch_ledger", 50_000), key("test_gate", 50_000), key("worker", 101)
HOUR_AGO, NOW = "2026-01-19T19:00:00.000000Z", "2026-01-20T12:00:00.000000Z"

FEW = 250
"""Rows that a question may look at when it is about few."""

OF_A_RUN = 12_000
"""The same of all that is under one run: 2,000 tasks, with what belongs to each."""

UNFINISHED = sorted(set(MACHINES["task"].states) - MACHINES["task"].terminal)


@dataclass(frozen=True)
class Question:
    """Something that the product asks.

    Attributes:
        ask: it, of a store.
        by: the indexes that must serve it, besides primary keys.
        rows: how many rows of big tables the database may look at; None when it is about all.
        walks: the big table that it goes through by its key, from one end to a limit.
    """

    ask: Callable[[StateStore], object]
    by: tuple[str, ...] = ()
    rows: int | None = FEW
    walks: str | None = None


def rows_of(
    kind: str, *by: str, rows: int = FEW, limit: int | None = None, **by_value: Any
) -> Question:
    return Question(lambda store: store.find(kind, limit=limit, **by_value), by, rows)


def listed(name: str, *by: str, rows: int = FEW, **filters: Any) -> Question:
    return Question(lambda store: list_entities(store, name, filters, limit=51), by, rows)


def looked(work: Callable[[Connection], object], *by: str) -> Question:
    return Question(lambda store: store.look(work), by)


def read(work: Callable[[sa.Connection], object]) -> Question:
    def ask(store: StateStore) -> object:
        with store.reading() as connection:
            return work(connection)

    return Question(ask)


def claimable(**wanted: Any) -> Callable[[Connection], object]:
    names = ("run_id", "task_id", "workstream_id")
    query = statements.claimable_task(*(name in wanted for name in names))
    return lambda connection: connection.first(query, {**wanted, "skills": []})


def landings(connection: Connection) -> object:
    states = {"s0": "committed", "s1": "verified", "s2": "applied"}
    return connection.rows(statements.LANDINGS, {statements.KEY: STREAM, **states})


def held_task(connection: Connection) -> object:
    return connection.first(statements.HELD_TASK, {statements.KEY: WORKER})


STATE = {entity: f"ix_{MACHINES[entity].table}_state" for entity in MACHINES}
AUDIT, LEDGERS, GATES = "ix_state_transitions", "ix_patch_ledger_entries", "ix_test_gates"
LISTED = {
    name: STATE[entity] for name, entity in LISTS.items() if name not in ("events", "breakers")
}

QUESTIONS: dict[str, Question] = {
    # What the task path looks for
    "a row by its key": rows_of("task", task_id=TASK),
    "rows by their keys": rows_of("task", task_id=[key("task", n) for n in range(100)]),
    "tasks of a workstream": rows_of("task", "ix_tasks_workstream_id", workstream_id=STREAM),
    "a task by its name": rows_of("task", "ix_tasks_workstream_id", workstream_id=STREAM, slug="x"),
    "a lost task": rows_of(
        "task",
        "ix_tasks_workstream_id",
        workstream_id=STREAM,
        state=["failed", "cancelled"],
        limit=1,
    ),
    "a task left": rows_of(
        "task", "ix_tasks_workstream_id", workstream_id=STREAM, state=UNFINISHED, limit=1
    ),
    "done tasks of a workstream": rows_of(
        "task", "ix_tasks_workstream_id", workstream_id=STREAM, state="completed", limit=1
    ),
    "tasks of several workstreams": rows_of(
        "task",
        "ix_tasks_workstream_id",
        workstream_id=[key("workstream", n) for n in range(500, 520)],
        rows=OF_A_RUN,
    ),
    "tasks a worker runs": rows_of(
        "task", "ix_tasks_worker_id", worker_id=WORKER, state="running", limit=1
    ),
    "the task a worker holds": looked(held_task, "ix_tasks_worker_id"),
    "the oldest queued tasks": rows_of("task", STATE["task"], state="queued", limit=100),
    "the oldest done tasks": rows_of("task", STATE["task"], state="completed", limit=100),
    "the oldest ended tasks": rows_of(
        "task", STATE["task"], state=["completed", "failed", "cancelled"], limit=50
    ),
    "the oldest tasks": rows_of("task", STATE["task"], limit=20),
    "workstreams of a run": rows_of("workstream", "ix_workstreams_run_id", run_id=RUN),
    "a workstream by its name": rows_of(
        "workstream", "ix_workstreams_run_id", run_id=RUN, slug="x"
    ),
    "workstreams left": rows_of(
        "workstream", "ix_workstreams_run_id", run_id=RUN, state=["planned", "completed"], limit=1
    ),
    "a run by Dagster's": rows_of("run", "ix_runs_dagster_run_id", dagster_run_id="dagster-7"),
    "workers of a run": rows_of("worker", "ix_workers_run_id", run_id=RUN),
    "sandboxes of a run": rows_of("uet_worker", "ix_uet_workers_run_id", run_id=RUN),
    "patches of a task": rows_of("patch_ledger", f"{LEDGERS}_task_id", task_id=TASK),
    "the landed patch of a task": rows_of(
        "patch_ledger", f"{LEDGERS}_task_id", task_id=TASK, state="committed"
    ),
    "patches of a workstream": rows_of(
        "patch_ledger", f"{LEDGERS}_workstream_id", workstream_id=STREAM
    ),
    "patches of a run": rows_of("patch_ledger", f"{LEDGERS}_run_id", run_id=RUN, rows=OF_A_RUN),
    "what has landed of a workstream": looked(landings, f"{LEDGERS}_workstream_id"),
    "entry gates of a task": rows_of(
        "test_gate", f"{GATES}_task_id", task_id=TASK, role="entry", name="unit"
    ),
    "gates of a workstream": rows_of("test_gate", f"{GATES}_workstream_id", workstream_id=STREAM),
    "gates of a run at work": rows_of(
        "test_gate", f"{GATES}_run_id", run_id=RUN, state="RUNNING", rows=OF_A_RUN
    ),
    "gates of a run that passed": rows_of(
        "test_gate", f"{GATES}_run_id", run_id=RUN, state="PASSED", limit=9, rows=OF_A_RUN
    ),
    "dependencies of a task": looked(lambda c: guards.unmet_dependencies(c, "task", TASK)),
    "dependencies of a workstream": looked(
        lambda c: guards.unmet_dependencies(c, "workstream", STREAM)
    ),
    "the newest of a task's lineage": looked(
        lambda c: guards.newest_of_lineage(c, tasks, "task_id", key("task", 48)),
        "ix_tasks_retry_of",
    ),
    "the newest of a gate's lineage": looked(
        lambda c: guards.newest_of_lineage(c, test_gates, "gate_id", key("test_gate", 48)),
        f"{GATES}_retry_of",
    ),
    "entry gates that are not passed": looked(lambda c: guards.unpassed_entry_gates(c, TASK)),
    "a task to claim": looked(claimable(), "ix_tasks_queue"),
    "a task of a run to claim": Question(
        lambda store: store.look(claimable(run_id=key("run", 0))), rows=OF_A_RUN
    ),
    "a task of a workstream to claim": looked(claimable(workstream_id=STREAM)),
    "a named task to claim": looked(claimable(task_id=TASK)),
    # What lists, the summary and the cascade read
    **{f"the newest {name}": listed(name, index) for name, index in LISTED.items()},
    **{
        f"the newest {name} in a state": listed(name, index, state=[MACHINES[LISTS[name]].initial])
        for name, index in LISTED.items()
    },
    "the newest breakers": listed("breakers"),
    "the newest ended tasks": listed("tasks", STATE["task"], state=["completed", "cancelled"]),
    "tasks of a run": listed("tasks", "ix_tasks_workstream_id", run_id=RUN, rows=OF_A_RUN),
    "done tasks of a run": listed(
        "tasks", "ix_tasks_workstream_id", run_id=RUN, state=["completed"], rows=OF_A_RUN
    ),
    "patches of a run in a state": listed(
        "patches", f"{LEDGERS}_run_id", run_id=RUN, state=["quarantined"], rows=OF_A_RUN
    ),
    "the newest events": Question(
        lambda store: list_entities(store, "events", limit=51), walks="state_transitions"
    ),
    "the newest events of a run": listed("events", f"{AUDIT}_run_id", run_id=RUN),
    "events since": Question(lambda store: transitions_since(store, 150_000, limit=100)),
    "events of a run since": Question(
        lambda store: transitions_since(store, 1, run_id=RUN, limit=100), (f"{AUDIT}_run_id",)
    ),
    "the last events of a run since": Question(
        lambda store: transitions_since(store, 250_000, run_id=RUN), (f"{AUDIT}_run_id",), 3_000
    ),
    "a summary": Question(
        lambda store: run_summary(store, RUN),
        ("ix_workstreams_run_id", "ix_tasks_workstream_id", f"{LEDGERS}_run_id"),
        OF_A_RUN,
    ),
    "the newest run": Question(lambda store: run_summary(store), (), OF_A_RUN),
    "a run with all under it": Question(
        lambda store: run_view(store, RUN),
        ("ix_workstreams_run_id", "ix_tasks_workstream_id"),
        OF_A_RUN,
    ),
    "the facts of a run": Question(
        lambda store: run_facts(store, key("run", 0)),
        ("ix_workstreams_run_id", "ix_tasks_workstream_id"),
        OF_A_RUN,
    ),
    "how many are in each state": Question(
        lambda store: count_by_state(store, "tasks"), (STATE["task"],), None
    ),
    # The history
    "the checkpoint over an event": read(lambda connection: checkpoint_over(connection, 150_000)),
    "the rows under a checkpoint": read(lambda connection: list(row_hashes(connection, 601, 700))),
    "history of an entity": Question(
        lambda store: history(store, "task", TASK), (f"{AUDIT}_entity",)
    ),
    "history of a workstream": Question(
        lambda store: workstream_history(store, STREAM), (f"{AUDIT}_run_id",), OF_A_RUN
    ),
    "time in state": Question(
        lambda store: time_in_state(store, "task", TASK), (f"{AUDIT}_entity",)
    ),
    "times in a run": Question(
        lambda store: time_in_states(store, "task", run_id=RUN),
        (STATE["task"], f"{AUDIT}_entity"),
        None,
    ),
    "times of late": Question(
        lambda store: time_in_states(store, "task", since=HOUR_AGO),
        (STATE["task"], f"{AUDIT}_entity", f"{AUDIT}_at"),
        None,
    ),
    "failures of late": Question(
        lambda store: failure_patterns(store, since=HOUR_AGO), (f"{AUDIT}_at",), OF_A_RUN
    ),
    "failures of a run": Question(
        lambda store: failure_patterns(store, run_id=RUN), (f"{AUDIT}_run_id",), OF_A_RUN
    ),
    "rates of late": Question(
        lambda store: transition_rates(store, HOUR_AGO, NOW, 60), (f"{AUDIT}_at",), OF_A_RUN
    ),
    "overrides": Question(lambda store: overrides(store, HOUR_AGO, NOW), (f"{AUDIT}_operator",)),
    "what is stuck": Question(
        stuck, (STATE["task"], STATE["uet_worker"], f"{AUDIT}_entity"), 2 * OF_A_RUN
    ),
    "the past of an entity": Question(
        lambda store: state_at(store, NOW, entity_type="task", entity_id=TASK), (f"{AUDIT}_entity",)
    ),
    "the past of a run": Question(
        lambda store: state_at(store, NOW, run_id=RUN), (f"{AUDIT}_run_id",), None
    ),
}
