"""Compensation plans in the state: recorded whole before any of their actions is begun."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from resources.rollback.compensation import USUAL, CompensationPlan, OnFailure, Step
from state.crash_points import crash_point
from state.errors import PreflightError
from state.lost_transactions import redone_when_lost
from state.store import StateStore
from state.transaction import Transaction

REQUESTED = "rollback_requested"
"""The audit row of an entry that somebody wants taken back."""
STARTED = "compensation_started"
"""The audit row of a failed workstream whose work is made up for."""
RETRIED = "compensation_retried"
"""The audit row of either, where what has not succeeded is tried again and nothing reverted."""


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
        given: whether somebody gave the plan, instead of what the tasks declare.
        earlier: failed plans that it goes on from.
        revert_ledger_id: the entry that has taken the others back already.
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
    given: bool = False
    earlier: tuple[str, ...] = ()
    revert_ledger_id: str | None = None

    @property
    def trigger(self) -> str:
        """What the history calls it."""
        if self.revert_ledger_id is not None or (self.earlier and self.ledger_id is None):
            return RETRIED
        return STARTED if self.ledger_id is None else REQUESTED

    @property
    def whole_document(self) -> dict[str, Any]:
        """What is kept of it besides its columns."""
        plan = self.plan
        return {
            "order": plan.order.value,
            "retries": plan.retries if plan.on_failure is OnFailure.RETRY else 0,
            "retry_sec": plan.retry_sec,
            "given": plan.model_dump(mode="json", exclude_defaults=True) if self.given else None,
            "earlier": list(self.earlier),
            **self.document,
        }


@redone_when_lost
def record_plan(store: StateStore, new: NewPlan) -> str:
    """Keep a plan with its actions, and tell the history of it, in one transaction; says its id.

    Raises:
        PreflightError: somebody else has begun to take the same back meanwhile.
    """
    with store.batch() as tx:
        row = tx.create(
            "compensation_plan",
            run_id=new.run_id,
            workstream_id=new.workstream_id,
            ledger_id=new.ledger_id,
            entries=list(new.entries),
            reason=new.reason,
            operator=new.operator,
            on_failure=new.plan.on_failure.value,
            document=new.whole_document,
            revert_ledger_id=new.revert_ledger_id,
        )
        for position, step in enumerate(new.steps):
            _keep(tx, row.plan_id, position, step)
        _tell(tx, row.plan_id, new)  # and locks the entries, so that two cannot both begin
        _refuse_second(tx, row.plan_id, new)
    crash_point("compensation-planned", "a compensation is recorded; nothing of it is done")
    return row.plan_id


def _keep(tx: Transaction, plan_id: str, position: int, step: Step) -> None:
    tx.create(
        "compensation_action",
        plan_id=plan_id,
        position=position,
        task_id=step.task_id,
        action=step.action.value,
        arguments=step.arguments,
        status="pending",
        metadata={"key": step.key, "begun": step.begun} if step.key else {},
    )


def _tell(tx: Transaction, plan_id: str, new: NewPlan) -> None:
    kind, keys = "patch_ledger", new.entries
    if new.ledger_id is None:
        kind, keys = "workstream", (new.workstream_id,)
    about = {"plan_id": plan_id, **({"earlier": list(new.earlier)} if new.earlier else {})}
    for key in keys:
        tx.record(
            *(kind, key, new.trigger), reason=new.reason, operator=new.operator, metadata=about
        )


def _refuse_second(tx: Transaction, plan_id: str, new: NewPlan) -> None:
    """Nothing is taken back by two plans at once, or tried again by two that saw it fail."""
    for other in tx.find("compensation_plan"):
        known = other.plan_id in (plan_id, *new.earlier)
        if known or other.ledger_id is None or not {*other.entries} & {*new.entries}:
            continue
        if other.outcome is None or {*other.document.get("earlier", ())} & {*new.earlier}:
            raise PreflightError(
                f"{other.plan_id} has been recorded to take {other.ledger_id} back",
                hint=f"go on with it first: patchline rollback {other.ledger_id}",
            )


def plans_of(store: StateStore, *, open_only: bool = False, **columns: Any) -> list[Any]:
    """Plans by their columns, oldest first; those that have not ended, or all."""
    rows = store.find("compensation_plan", **columns)
    return [row for row in rows if not open_only or row.outcome is None]


def actions_of(store: StateStore, plan_id: str) -> list[Any]:
    """The actions of a plan, in the order in which they are carried out."""
    rows = store.find("compensation_action", plan_id=plan_id)
    return sorted(rows, key=lambda row: row.position)


def recorded_plan(plan: Any) -> tuple[CompensationPlan, bool]:
    """How the failures of a recorded plan are taken, by its row; and whether somebody gave it."""
    given = plan.document.get("given")
    if given is None:
        return CompensationPlan(actions=USUAL), False
    return CompensationPlan.model_validate(given), True


def key_of(action: Any) -> str:
    """What an action's commands know it by: the same for as often as it is tried."""
    return action.metadata.get("key", action.action_id)


def begun_before(action: Any) -> int:
    """How often earlier plans began an action."""
    return action.metadata.get("begun", 0)
