"""Patches that were refused: why, what can be done about them, and how they are discarded."""

from dataclasses import dataclass
from typing import Any

from resources.patches.entry_names import label_of
from resources.patches.ledger import UNLANDED
from state.errors import PatchlineError, PreflightError
from state.machines import MACHINES
from state.store import StateStore

WHAT_TO_DO = {
    "committed": "It has landed. Take it back with: patchline rollback {} --reason WHY",
    "rolled_back": "It was taken back already; nothing is left to do.",
    "dropped": "It was discarded already; nothing is left to do.",
}
UNDER_WAY = "Its run is at work on it. Wait for its end: patchline status"


class NotQuarantined(PatchlineError):
    """Only a quarantined patch can be replaced or discarded."""

    code = "not_quarantined"

    def __init__(self, entry: Any) -> None:
        self.ledger_id, self.state = entry.ledger_id, entry.state
        told = entry.drop_reason or entry.rollback_reason
        why = f" ({told})" if told and entry.state in ("dropped", "rolled_back") else ""
        todo = WHAT_TO_DO.get(entry.state, UNDER_WAY).format(entry.ledger_id)
        super().__init__(
            f"the patch {entry.ledger_id} is {entry.state}{why}, not quarantined. {todo}"
        )


@dataclass(frozen=True)
class Quarantined:
    """A quarantined entry with what a person wants to know of it.

    Attributes:
        entry: its row.
        task: `workstream/task`; None for the patch of a rollback.
        tool: what made it.
        gate: the name of the first gate that refused it; None when a rule or a conflict did.
        run_ended: whether its run has, so that it can be replaced.
    """

    entry: Any
    task: str | None
    tool: str | None
    gate: str | None
    run_ended: bool

    @property
    def next_actions(self) -> tuple[str, ...]:
        """Commands that deal with it, the most harmless first, without the program's name."""
        ledger_id = self.entry.ledger_id
        replace = (f"patch replace {ledger_id} FILE",)
        return (
            f"patch show {ledger_id}",
            *(replace if self.run_ended and self.task else ()),
            f"patch drop {ledger_id} --reason WHY",
        )


def quarantined(store: StateStore, entry: Any) -> Quarantined:
    """What a person wants to know of a quarantined entry."""
    origin = store.get("patch", entry.patch_id).origin if entry.patch_id else None
    gate = failing_gate(store, entry)
    ended = entry.run_id is None or is_ended(store, entry.run_id)
    return Quarantined(entry, label_of(store, entry), origin, gate and gate.name, ended)


def is_ended(store: StateStore, run_id: str) -> bool:
    """Whether a run has ended."""
    return store.get("run", run_id).state in MACHINES["run"].terminal


def half_replaced(store: StateStore, **columns: Any) -> list[Any]:
    """Quarantined entries with a replacement that did not come to its end, oldest first.

    Args:
        store: the state.
        **columns: of the quarantined entries, such as their `run_id`.
    """
    refused = store.find("patch_ledger", state="quarantined", **columns)
    keys = [entry.ledger_id for entry in refused]
    made = store.find("patch_ledger", replaces=keys) if keys else []
    under_way = {one.replaces for one in made if one.state in (*UNLANDED, "committed")}
    return [entry for entry in refused if entry.ledger_id in under_way]


def gates_of(store: StateStore, entry: Any) -> list[Any]:
    """The gate executions that judged an entry, in their order."""
    indexed = {name: getattr(entry, name) for name in ("task_id", "run_id") if getattr(entry, name)}
    rows = store.find("test_gate", ledger_id=entry.ledger_id, **indexed)
    return sorted(rows, key=lambda row: (row.position or 0, row.created_at))


def failing_gate(store: StateStore, entry: Any) -> Any | None:
    """The first gate that refused an entry, or None."""
    failed = (row for row in gates_of(store, entry) if row.state == "FAILED" and row.blocking)
    return next(failed, None)


def refuse_unless_over(store: StateStore, entry: Any) -> None:
    """Make sure that an entry is quarantined and that nobody works on its run any more.

    Raises:
        NotQuarantined: it is in another state.
        PreflightError: its run has not ended.
    """
    if entry.state != "quarantined":
        raise NotQuarantined(entry)
    if entry.run_id is None:
        raise PreflightError(
            f"{entry.ledger_id} belongs to no run, so nothing says what another must pass",
            hint=f"discard it: patchline patch drop {entry.ledger_id} --reason WHY",
        )
    if not is_ended(store, entry.run_id):
        raise PreflightError(
            f"run {entry.run_id} has not ended: its tasks may still be tried again",
            hint=f"wait for it, or go on with it: patchline resume {entry.run_id}",
        )


def drop(store: StateStore, entry: Any, reason: str, operator: str) -> None:
    """quarantined -> dropped: nobody wants the patch any more.

    Raises:
        NotQuarantined: it is in another state; says what to do then.
    """
    if entry.state != "quarantined":
        raise NotQuarantined(entry)
    store.transition("patch_ledger", entry.ledger_id, "dropped", reason=reason, operator=operator)
