"""Claiming a task: it starts, its worker is busy, an attempt begins: all in one transaction.

One statement decides who gets which task. On PostgreSQL it locks the row that it finds and passes
over those that others are claiming; on SQLite claims take turns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from state import statements
from state.entities import KINDS
from state.errors import TaskAlreadyAssignedError

if TYPE_CHECKING:
    from state.transaction import Transaction


_WORKER, _TASK = KINDS["worker"], KINDS["task"]


@dataclass(frozen=True, slots=True)
class Claim:
    """A task that a worker now holds. `token` fences every later write of this attempt."""

    task_id: str
    token: str
    attempt: int


def claim(
    tx: Transaction,
    worker_id: str,
    *,
    task_id: str | None,
    capabilities: frozenset[str],
    workstream_id: str | None,
) -> Claim | None:
    """Take a queued task for an idle worker: queued -> running, idle -> busy.

    The worker's capabilities are its row's and those given; a task is taken only when they cover
    what it needs. Tasks of held or ended runs are not handed out, a worker of one run takes only
    that run's, and a worker that is draining or already holds a task takes none.

    Returns:
        The claim, or None when there is nothing to take or another took it first.

    Raises:
        EntityNotFoundError: no such worker, or no such task.
        TaskAlreadyAssignedError: the named task is held by another worker.
    """
    worker = tx.locked(_WORKER, worker_id)
    found = None
    if worker["state"] == "idle" and not worker["drain"] and not _holds_a_task(tx, worker_id):
        wanted = {"run_id": worker["run_id"], "task_id": task_id, "workstream_id": workstream_id}
        query = statements.claimable_task(*(value is not None for value in wanted.values()))
        values = {name: value for name, value in wanted.items() if value is not None}
        values["skills"] = sorted(capabilities | set(worker["capabilities"]))
        found = tx.connection.first(query, values)
    if found is not None:
        return _take(tx, worker_id, tx.hold(_TASK, found))
    if task_id is not None:
        named = tx.get("task", task_id)
        if named.state == "running" and named.worker_id != worker_id:
            raise TaskAlreadyAssignedError(task_id, named.worker_id)
    return None


def _holds_a_task(tx: Transaction, worker_id: str) -> bool:
    """A worker that recovered from silence is idle while its task still runs (decisions K2)."""
    return tx.connection.first(statements.HELD_TASK, {statements.KEY: worker_id}) is not None


def _take(tx: Transaction, worker_id: str, task: Mapping[str, Any]) -> Claim:
    tx.free_workers.add(worker_id)
    record = tx.transition("task", task["task_id"], "running", worker_id=worker_id)
    tx.free_workers.remove(worker_id)
    # The first heartbeat of the attempt comes with the claim (decisions K1).
    beat = tx.now()
    tx.transition("worker", worker_id, "busy", task_id=task["task_id"], heartbeat_at=beat)
    about = record.metadata
    return Claim(task["task_id"], about["attempt_id"], about["attempt"])
