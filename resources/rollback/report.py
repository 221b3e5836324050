"""How a rollback stands, for programs and people."""

from dataclasses import asdict, dataclass
from typing import Any

from resources.rollback.compensation import Step
from resources.rollback.compensation_record import actions_of
from resources.rollback.reverting import Blocker
from state.errors import CompensationFailedError
from state.store import StateStore


@dataclass(frozen=True)
class RollbackReport:
    """How a compensation plan stands (design section 5: what `rollback --json` prints).

    Attributes:
        plan_id: the plan; None when nothing was recorded.
        ledger_id: the entry that was asked for; None after a failed workstream.
        state: that entry's state.
        outcome: `done`, `failed`, `open`, `refused` or `dry_run`.
        rolled_back: entries that it has taken back.
        revert: `{ledger_id, commit_sha, tree, state, reason}` of the patch that does; None while
            there is none.
        target: the branch.
        head: the commit at it.
        actions: `{action, task, status, attempts, exit_code, reason}`, in order.
        blockers: later patches and commits in the way, or that are taken back too.
    """

    plan_id: str | None
    ledger_id: str | None
    state: str | None
    outcome: str
    target: str
    head: str | None
    rolled_back: tuple[str, ...] = ()
    revert: dict[str, Any] | None = None
    actions: tuple[dict[str, Any], ...] = ()
    blockers: tuple[Blocker, ...] = ()

    def as_document(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


class RollbackFailed(CompensationFailedError):
    """An action did not succeed; the state says which, and asking again tries it again.

    Attributes:
        report: how everything stands.
    """

    code = "rollback_failed"

    def __init__(self, report: RollbackReport) -> None:
        self.report = report
        failed = [one for one in report.actions if one["status"] == "failed"]
        told = "; ".join(f"{one['action']}: {one['reason']}" for one in failed)
        super().__init__(report.ledger_id or "", told)


def report_of(store: StateStore, plan_id: str, head: str | None) -> RollbackReport:
    """How a recorded plan stands.

    Args:
        store: the state.
        plan_id: the plan.
        head: the commit at its branch.
    """
    plan = store.get("compensation_plan", plan_id)
    asked = store.get("patch_ledger", plan.ledger_id) if plan.ledger_id else None
    entries = [store.get("patch_ledger", key) for key in plan.entries or ()]
    return RollbackReport(
        plan_id=plan_id,
        ledger_id=plan.ledger_id,
        state=asked.state if asked else None,
        outcome=plan.outcome or "open",
        target=plan.document["branch"],
        head=head,
        rolled_back=tuple(
            one.ledger_id
            for one in entries
            if one.state == "rolled_back" and one.reverted_by == plan.revert_ledger_id
        ),
        revert=_revert(store, plan.revert_ledger_id),
        actions=tuple(_action(row) for row in actions_of(store, plan_id)),
    )


def _action(row: Any) -> dict[str, Any]:
    return {
        "action": row.action,
        "task": row.arguments.get("task"),
        "status": row.status,
        "attempts": row.attempts,
        "exit_code": row.exit_code,
        "reason": row.reason,
    }


def planned(step: Step) -> dict[str, Any]:
    """An action that is not recorded, in the words of those that are."""
    return {
        "action": step.action.value,
        "task": step.arguments.get("task"),
        "status": "planned",
        "attempts": 0,
        "exit_code": None,
        "reason": None,
    }


def _revert(store: StateStore, ledger_id: str | None) -> dict[str, Any] | None:
    if ledger_id is None:
        return None
    entry = store.get("patch_ledger", ledger_id)
    return {
        "ledger_id": ledger_id,
        "state": entry.state,
        "commit_sha": entry.commit_sha,
        "tree": entry.candidate_tree,
        "reason": entry.quarantine_reason or entry.drop_reason,
    }
