"""Attempts of a task: each start has its row, closed when the task leaves running (T6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from state import statements
from state.connection import Connection
from state.entities import KINDS
from state.rules import Change, Request

if TYPE_CHECKING:
    from state.transaction import Transaction

ATTEMPT_PREFIX = "att_"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A start of a task; its id is the fencing token that rides on every later write."""

    attempt_id: str
    number: int
    worker_id: str


def plan(
    tx: Transaction, request: Request, change: Change, about: dict[str, Any]
) -> Attempt | None:
    """The attempt that begins or ends with this change; notes it in the audit metadata."""
    if request.machine.name != "task":
        return None
    if request.target == "running":
        number = request.row["attempts"] + 1
        worker = change.columns["worker_id"]
        attempt = Attempt(tx.settings.ids.new(ATTEMPT_PREFIX), number, worker)
        change.columns.update(token=attempt.attempt_id, attempts=number)
    elif request.source == "running":
        row = request.row
        attempt = Attempt(row["token"], row["attempts"], row["worker_id"])
    else:
        return None
    about.update(attempt_id=attempt.attempt_id, attempt=attempt.number, worker_id=attempt.worker_id)
    return attempt


def apply(
    connection: Connection, request: Request, change: Change, attempt: Attempt | None
) -> None:
    """Write the attempt's row: a new one, or its end.

    Raises:
        connection.broken_rule: somebody has taken the row of the attempt away. It is said as the
            database says what it refuses, so that nothing of the transaction is kept.
    """
    if attempt is None:
        return
    if request.target == "running":
        values = {
            **{name: default() for name, default in KINDS["task_attempt"].defaults.items()},
            "attempt_id": attempt.attempt_id,
            "task_id": request.entity_id,
            "number": attempt.number,
            "worker_id": attempt.worker_id,
            "started_at": change.at,
        }
        connection.write(statements.BEGIN_ATTEMPT, values)
        return
    ended: dict[str, Any] = {"ended_at": change.at, "outcome": request.target}
    if change.reason is not None:
        ended["reason"] = change.reason
    if request.columns.get("exit_code") is not None:
        ended["exit_code"] = request.columns["exit_code"]
    given = {**ended, statements.KEY: attempt.attempt_id}
    if connection.write(statements.END_ATTEMPT, given) != 1:
        raise connection.broken_rule(
            f"patchline:no_attempt: the row of its attempt {attempt.attempt_id} is not in the "
            "database, which the store never leaves so; patchline audit verify says more"
        )
