"""Compensation plans as data: what is done, in which order, to make up for what is taken back.

Each ledger entry that is taken back has a list of actions: those that its task declares, or those
of a plan that somebody gives, or the usual ones. `compose` makes one sequence of them. All entries
are reverted by one commit, so `git_revert` is one step; what a list names before it comes before,
what it names after it comes after. Source: decisions P2, design section 5 (`rollback`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from pydantic import Field, model_validator

from resources.specs import Compensation, CompensationAction, Compensations, Spec

DEFAULT_RETRIES = 3
DEFAULT_RETRY_SEC = 1.0
USUAL: Compensations = (
    Compensation(action=CompensationAction.GIT_REVERT),
    Compensation(action=CompensationAction.RUN_GATES),
)
"""What is done about a patch whose task declares nothing."""


class Order(StrEnum):
    """Which of several patches is made up for first."""

    REVERSE = "reverse"
    FORWARD = "forward"


class OnFailure(StrEnum):
    """What a failed action means for those after it."""

    STOP = "stop"
    CONTINUE = "continue"
    RETRY = "retry"


class CompensationPlan(Spec):
    """What somebody wants done about patches that are taken back.

    Attributes:
        order: the newest patch first, or the oldest; the actions of one patch keep their order.
        on_failure: `retry` means as often as `retries` says, then stop.
        retries: how often a failed action is begun again.
        retry_sec: seconds between two tries.
        actions: for each patch, in their order.
    """

    order: Order = Order.REVERSE
    on_failure: OnFailure = OnFailure.STOP
    retries: int = Field(default=DEFAULT_RETRIES, ge=1, le=100)
    retry_sec: float = Field(default=DEFAULT_RETRY_SEC, ge=0, le=3600)
    actions: Compensations = Field(min_length=1)

    @model_validator(mode="after")
    def _retries_are_of_use(self) -> Self:
        usual = {"retries": DEFAULT_RETRIES, "retry_sec": DEFAULT_RETRY_SEC}
        given = [key for key, value in usual.items() if getattr(self, key) != value]
        if given and self.on_failure is not OnFailure.RETRY:
            raise ValueError(
                f"`{given[0]}` means nothing with `on_failure: {self.on_failure.value}`."
                "|say `on_failure: retry`, or leave it out"
            )
        return self


@dataclass(frozen=True)
class Taken:
    """Something that is made up for: a ledger entry, or a task that has none.

    Attributes:
        task: `workstream/task`, for people and placeholders.
        actions: what is done about it.
        task_id: the task's row.
        ledger_id: the entry that is taken back.
        commit: its commit.
    """

    task: str
    actions: Compensations
    task_id: str | None = None
    ledger_id: str | None = None
    commit: str | None = None

    @property
    def place_of_revert(self) -> int | None:
        """Where its list says `git_revert`; None when it does not."""
        kinds = [action.action for action in self.actions]
        revert = CompensationAction.GIT_REVERT
        return kinds.index(revert) if revert in kinds else None


@dataclass(frozen=True)
class Step:
    """One action of a sequence (columns of `compensation_actions`).

    Attributes:
        action: what is done.
        arguments: with what.
        task_id: the task that declared it.
        key: what its commands know it by, where an earlier plan has tried it; None: its own id.
        begun: how often earlier plans began it.
    """

    action: CompensationAction
    arguments: dict[str, Any]
    task_id: str | None = None
    key: str | None = None
    begun: int = 0


def compose(taken: Sequence[Taken], order: Order, *, revert: bool) -> tuple[Step, ...]:
    """One sequence of steps.

    Args:
        taken: what is made up for, the newest first.
        order: which of them comes first.
        revert: whether every entry is reverted, also where its list does not say so: then before
            whatever that lists.
    """
    ordered = taken if order is Order.REVERSE else taken[::-1]
    before: list[Step] = []
    after: list[Step] = []
    for one in ordered:
        place = one.place_of_revert
        before += _steps(one, one.actions[: place or 0])
        after += _steps(one, one.actions[0 if place is None else place + 1 :])
    wanted = [one for one in taken if revert or one.place_of_revert is not None]
    entries = [one.ledger_id for one in wanted if one.ledger_id is not None]
    middle = [Step(CompensationAction.GIT_REVERT, {"ledger_ids": entries})] if entries else []
    return (*_without_repeats(before), *middle, *_without_repeats(after))


def _steps(one: Taken, actions: Iterable[Compensation]) -> list[Step]:
    about = {"task": one.task, "ledger_id": one.ledger_id, "commit": one.commit}
    about = {key: value for key, value in about.items() if value is not None}
    return [
        Step(
            action.action,
            {**action.model_dump(mode="json", exclude={"action"}, exclude_defaults=True), **about},
            one.task_id,
        )
        for action in actions
    ]


def _without_repeats(steps: list[Step]) -> list[Step]:
    """The same gates are run once, after everything else that comes before them anywhere."""
    kept: list[Step] = []
    seen: set[tuple[str, ...]] = set()
    for step in reversed(steps):
        if step.action is CompensationAction.RUN_GATES:
            gates = tuple(step.arguments.get("gates", ()))
            if gates in seen:
                continue
            seen.add(gates)
        kept.append(step)
    return kept[::-1]
