"""The work that is measured: lives of tasks, and claims of a queue. By the store, to be recorded.

A life is the four changes of state of a task: queued, running, validating, completed, with what
each needs (a worker that holds it, an attempt, the token). A claim is what a worker of the product
does for a task: take it (task running, worker busy, an attempt) in one transaction, end it (task
validating and completed, worker idle, the attempt's end) in another. Every change has its audit
row.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recording import RecordingStore, Script
from teams import Go, Spent

from state.store import StateStore

CHANGES = 4
"""Changes of state in a life."""

LIVES_IN_A_BATCH = 25
"""A batch is 100 changes of state in one transaction."""

ROWS_OF_A_CLAIM = 5
"""Audit rows from a queued task to a completed one: three of the task, two of its worker."""

_PAGE = 500
Share = tuple[str, list[str]]
"""A worker, and the tasks that are its own."""


def parts(total: int, processes: int) -> list[int]:
    """A number in nearly equal parts."""
    return [total // processes + (place < total % processes) for place in range(processes)]


# Lives


def make_lives(url: str, events: Path, lives: int, processes: int) -> list[Share]:
    """For each process a worker that is idle and pending tasks of its own."""
    with StateStore.open(url, events=events) as store:
        workstream = _workstream(store)
        return [
            (_idle_worker(store), _tasks(store, workstream, count))
            for count in parts(lives, processes)
        ]


def live(tx: Any, worker: str, task: str) -> None:
    """The life of one task; `tx` is a store (a transaction a change) or a batch."""
    tx.transition("task", task, "queued")
    token = tx.transition("task", task, "running", worker_id=worker).metadata["attempt_id"]
    tx.transition("task", task, "validating", token=token)
    tx.transition("task", task, "completed")


def store_lives(go: Go, url: str, events: str, share: Share, batched: bool) -> Spent:
    """A process's share through the store, each change alone or a hundred in a transaction."""
    worker, tasks = share
    with StateStore.open(url, events=events) as store:
        started = go()
        if batched:
            for first in range(0, len(tasks), LIVES_IN_A_BATCH):
                with store.batch() as tx:
                    for task in tasks[first : first + LIVES_IN_A_BATCH]:
                        live(tx, worker, task)
        else:
            for task in tasks:
                live(store, worker, task)
        ended = time.monotonic()
    return Spent(started, ended, len(tasks) * CHANGES)


def record_lives(url: str, events: Path, shares: Sequence[Share]) -> list[list[Script]]:
    """The scripts of every process's share, a change of state each."""
    with RecordingStore(url, events) as store:
        recorded: list[list[Script]] = []
        for worker, tasks in shares:
            before = len(store.scripts)
            for task in tasks:
                live(store, worker, task)
            recorded.append(store.scripts[before:])
        return recorded


def in_batches(scripts: list[Script]) -> list[Script]:
    """The same statements, a hundred changes of state in a transaction."""
    size = LIVES_IN_A_BATCH * CHANGES
    return [
        [statement for script in scripts[first : first + size] for statement in script]
        for first in range(0, len(scripts), size)
    ]


# Claims


def make_queue(url: str, events: Path, tasks: int, workers: int) -> list[str]:
    """Queued tasks, and workers that are idle; the workers' ids."""
    with StateStore.open(url, events=events) as store:
        workstream = _workstream(store)
        enqueue(store, workstream, tasks)
        return [_idle_worker(store) for _ in range(workers)]


def enqueue(store: StateStore, workstream: str, tasks: int) -> None:
    """Make tasks and queue them, a hundred in a transaction, with their audit rows."""
    for first in range(0, tasks, 100):
        with store.batch() as tx:
            for number in range(first, min(first + 100, tasks)):
                task = tx.create("task", workstream_id=workstream, position=number)
                tx.transition("task", task.task_id, "queued")


def store_claims(go: Go, url: str, events: str, worker: str) -> Spent:
    """Claim and end tasks through the store until none is left."""
    latencies: list[float] = []
    with StateStore.open(url, events=events) as store:
        started = go()
        while True:
            began = time.monotonic()
            claim = store.claim_task(worker)
            if claim is None:
                break
            latencies.append(time.monotonic() - began)
            finish(store, worker, claim.task_id, claim.token)
        ended = time.monotonic()
    return Spent(started, ended, len(latencies), latencies)


def finish(store: StateStore, worker: str, task: str, token: str) -> None:
    """End a claimed task, and set its worker free."""
    with store.batch() as tx:
        tx.transition("task", task, "validating", token=token)
        tx.transition("task", task, "completed")
        tx.transition("worker", worker, "idle")


def record_claims(
    url: str, events: Path, workers: Sequence[str]
) -> tuple[list[list[tuple[str, Script, Script]]], dict[str, str]]:
    """For each worker its claims (task, claim, end) when all take turns; the tasks' audit heads."""
    with RecordingStore(url, events) as store:
        heads = {row.task_id: row.audit_head for row in store.find("task", state="queued")}
        recorded: list[list[tuple[str, Script, Script]]] = [[] for _ in workers]
        for turn in range(len(heads)):
            place = turn % len(workers)
            claim = store.claim_task(workers[place])
            if claim is None:
                raise RuntimeError(f"only {turn} of {len(heads)} tasks could be claimed")
            finish(store, workers[place], claim.task_id, claim.token)
            recorded[place].append((claim.task_id, store.scripts[-2], store.scripts[-1]))
        return recorded, heads


# Parts


def _workstream(store: StateStore) -> str:
    run = store.create("run").run_id
    return store.create("workstream", run_id=run, slug="bench").ws_id


def _idle_worker(store: StateStore) -> str:
    worker = store.create("worker").worker_id
    store.transition("worker", worker, "idle")
    return worker


def _tasks(store: StateStore, workstream: str, count: int) -> list[str]:
    made: list[str] = []
    while len(made) < count:
        with store.batch() as tx:
            for _ in range(min(_PAGE, count - len(made))):
                made.append(tx.create("task", workstream_id=workstream).task_id)
    return made
