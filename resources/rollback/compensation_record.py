"""Compensation plans in the state: recorded whole before any of their actions is begun."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from resources.rollback.compensation import CompensationPlan, OnFailure, Step
from state.crash_points import crash_point
from state.lost_transactions import redone_when_lost
from state.store import StateStore

REQUESTED = "rollback_requested"
"""The audit row of an entry that somebody wants taken back."""
STARTED = "compensation_started"
"""The audit row of a failed workstream whose work is made up for."""


@dataclass(frozen=True)
class NewPlan:
    """A plan to be recorded.

    Attributes:
        run_id: the run whose work it is about.
        workstream_id: the workstream.
        entries: what is taken back, the newest first.
        steps: what is done.
        plan: how failures are taken.
        reason: why, in words.
        document: the branch and whatever else the actions need to know.
        ledger_id: the entry that was asked for; None after a failure.
        operator: who asked; None after a failure.
    """

    run_id: str
    workstream_id: str
    entries: Sequence[str]
    steps: Sequence[Step]
    plan: CompensationPlan
    reason: str
    document: dict[str, Any] = field(default_factory=dict[str, Any])
    ledger_id: str | None = None
    operator: str | None = None


@redone_when_lost
def record_plan(store: StateStore, new: NewPlan) -> str:
    """Keep a plan with its actions, and tell the history of it, in one transaction; says its id."""
    plan = new.plan
    retries = plan.retries if plan.on_failure is OnFailure.RETRY else 0
    about = {"order": plan.order.value, "retries": retries, "retry_sec": plan.retry_sec}
    with store.batch() as tx:
        row = tx.create(
            "compensation_plan",
            run_id=new.run_id,
            workstream_id=new.workstream_id,
            ledger_id=new.ledger_id,
            entries=list(new.entries),
            reason=new.reason,
            operator=new.operator,
            on_failure=plan.on_failure.value,
            document={**about, **new.document},
        )
        for position, step in enumerate(new.steps):
            tx.create(
                "compensation_action",
                plan_id=row.plan_id,
                position=position,
                task_id=step.task_id,
                action=step.action.value,
                arguments=step.arguments,
                status="pending",
            )
        kind, keys, trigger = "patch_ledger", new.entries, REQUESTED
        if new.ledger_id is None:
            kind, keys, trigger = "workstream", (new.workstream_id,), STARTED
        for key in keys:
            tx.record(
                *(kind, key, trigger),
                reason=new.reason,
                operator=new.operator,
                metadata={"plan_id": row.plan_id},
            )
    crash_point("compensation-planned", "a compensation is recorded; nothing of it is done")
    return row.plan_id


def plans_of(store: StateStore, *, open_only: bool = False, **columns: Any) -> list[Any]:
    """Plans by their columns, oldest first; those that have not ended, or all."""
    rows = store.find("compensation_plan", **columns)
    return [row for row in rows if not open_only or row.outcome is None]
