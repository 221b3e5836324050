"""Replacing a patch: who asks for what, whether that can be, and how it can end."""

from dataclasses import dataclass
from typing import Any

from resources.execution.session import RunSession
from resources.patch_policy import Reason
from resources.patches.check import Checked
from resources.patches.entry_names import label_of
from resources.quarantine.entries import refuse_unless_over
from state.errors import PatchlineError
from state.queries import history
from state.store import StateStore

REQUESTED = "replacement_requested"
"""The audit row of an entry that somebody wants replaced."""


@dataclass(frozen=True)
class Replaced:
    """The new patch is on the target, the old entry dropped."""

    ledger_id: str
    commit: str


@dataclass(frozen=True)
class Rejected:
    """The new patch may not do what it does; nothing was recorded."""

    checked: Checked

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Every reason."""
        return self.checked.reasons


@dataclass(frozen=True)
class NotLanded:
    """The new patch was recorded and did not land; the old entry is quarantined as before."""

    ledger_id: str
    reason: str
    feedback: str = ""
    interrupted: bool = False


Outcome = Replaced | Rejected | NotLanded


class CannotBeReplaced(PatchlineError):
    """Nothing can land in the place of this entry."""

    code = "cannot_be_replaced"


@dataclass(frozen=True)
class Request:
    """Who wants what replaced, and why.

    Attributes:
        entry: the quarantined ledger entry.
        operator: who.
        reason: why.
    """

    entry: Any
    operator: str
    reason: str


def requested(store: StateStore, entry: Any) -> Request | None:
    """The newest request to replace an entry, as the history has it; None when there is none."""
    rows = history(store, "patch_ledger", entry.ledger_id)
    asked = [row for row in rows if row.trigger == REQUESTED]
    return Request(entry, asked[-1].operator or "", asked[-1].reason or "") if asked else None


def replaceable(session: RunSession, entry: Any) -> str:
    """`workstream/task` of an entry that can be replaced.

    Raises:
        NotQuarantined: it is in another state.
        PreflightError: its run has not ended.
        CannotBeReplaced: it is no task's, or its task has landed.
    """
    store = session.store
    refuse_unless_over(store, entry)
    label = label_of(store, entry)
    if label is None or label not in session.spec.tasks:
        raise CannotBeReplaced(
            f"{entry.ledger_id} is the patch of no task, so nothing says what another must pass; "
            f"discard it: patchline patch drop {entry.ledger_id} --reason WHY"
        )
    landed = store.find("patch_ledger", task_id=entry.task_id, state="committed")
    if landed:
        raise CannotBeReplaced(
            f"the task {label} has landed with {landed[-1].ledger_id} "
            f"({landed[-1].commit_sha[:12]}); discard this one: "
            f"patchline patch drop {entry.ledger_id} --reason WHY"
        )
    return label
