"""What failed compensations have left to do. What has succeeded is never done again.

A plan that has failed is history. Asked for the same again, a new plan goes on from it: with the
actions that did not succeed, under the keys that their commands know them by.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from resources.rollback.compensation import Step
from resources.rollback.compensation_record import (
    NewPlan,
    actions_of,
    begun_before,
    key_of,
    plans_of,
    recorded_plan,
)
from resources.specs import CompensationAction
from state.store import StateStore

REVERT, GATES = CompensationAction.GIT_REVERT, CompensationAction.RUN_GATES


def unfinished_rollback(store: StateStore, entry: Any) -> Any | None:
    """The plan that goes on, or is gone on from, when an entry is to be taken back.

    Args:
        store: the state.
        entry: the ledger entry.

    Returns:
        One that has not ended; or else the newest, when it has failed and nobody has had the entry
        again since.
    """
    plans = rollbacks_of(store, (entry.ledger_id,))
    under_way = [plan for plan in plans if plan.outcome is None]
    if under_way or not plans:
        return under_way[0] if under_way else None
    newest = plans[-1]
    return newest if newest.outcome == "failed" and _is_still_so(store, entry, newest) else None


def rollbacks_of(store: StateStore, entries: Collection[str]) -> list[Any]:
    """The rollbacks that somebody has asked for and that have to do with some entries.

    Of whichever run: a cascade takes back what later runs have landed on the same lines.
    """
    return [
        plan
        for plan in plans_of(store)
        if plan.ledger_id is not None and not {*plan.entries}.isdisjoint(entries)
    ]


def _is_still_so(store: StateStore, entry: Any, plan: Any) -> bool:
    """Whether an entry has landed, or is taken back by a plan, and not had again since."""
    if entry.state != "rolled_back":
        return entry.state == "committed"
    if entry.reverted_by != plan.revert_ledger_id:
        return False
    return store.get("patch_ledger", entry.reverted_by).state == "committed"


# -- what is left --------------------------------------------------------------------------------


def left_of(actions: Iterable[Any]) -> tuple[Step, ...]:
    """The actions of one plan that have not succeeded, to be tried again."""
    return tuple(
        _again(
            Step(CompensationAction(action.action), action.arguments, action.task_id),
            action,
        )
        for action in actions
        if action.status != "done"
    )


def without_done(steps: Iterable[Step], actions: Iterable[Any]) -> tuple[Step, ...]:
    """Steps of a new plan without those that have succeeded in earlier ones.

    Args:
        steps: the new plan's. Their revert stays: what was taken back is not planned for again.
            So do gates, which judged another tree.
        actions: of the earlier plans, the oldest first.
    """
    tried = list({key_of(action): action for action in actions}.values())
    left: list[Step] = []
    for step in steps:
        action = next((one for one in tried if _is_same(step, one)), None)
        if action is not None:
            tried.remove(action)
        if action is None:
            left.append(step)
        elif action.status != "done":
            left.append(_again(step, action))
    return tuple(left)


def _is_same(step: Step, action: Any) -> bool:
    wanted = (step.action, step.arguments, step.task_id)
    return step.action not in (REVERT, GATES) and wanted == (
        *(action.action, action.arguments, action.task_id),
    )


def _again(step: Step, action: Any) -> Step:
    return replace(step, key=key_of(action), begun=begun_before(action) + action.attempts)


# -- the plan of it ------------------------------------------------------------------------------


def retry_of(store: StateStore, plan: Any, operator: str | None) -> NewPlan:
    """The plan that tries again what a failed one has left, with nothing to revert by it.

    Args:
        store: the state.
        plan: the failed one.
        operator: who asks; None where nobody does.
    """
    how, given = recorded_plan(plan)
    return NewPlan(
        run_id=plan.run_id,
        workstream_id=plan.workstream_id,
        entries=plan.entries,
        steps=left_of(actions_of(store, plan.plan_id)),
        plan=how,
        reason=plan.reason,
        document={name: plan.document[name] for name in ("task", "branch", "on_target", "head")},
        ledger_id=plan.ledger_id,
        operator=operator,
        given=given,
        earlier=(*plan.document.get("earlier", ()), plan.plan_id),
        revert_ledger_id=plan.revert_ledger_id,
    )
