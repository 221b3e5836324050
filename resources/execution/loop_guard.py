"""Does a task go round in circles? A patch that was refused is not tried for ever.

A tool that answers a refusal with the same diff again, or goes back and forth between two, will do
so as often as it is asked. Only what speaks against the diff itself counts: the policy, and gates
that said no. An attempt that was interrupted, crashed, met a conflict, or whose gate ran into its
deadline or was killed says nothing about its patch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from state.store import StateStore

CONFLICT = "conflict"
SHELL_SIGNAL = 128
"""A shell ends with this and the signal's number when what it ran was killed."""
KILLS = frozenset({9, 15})
BACK_AND_FORTH = "attempts go back and forth between two patches"


@dataclass(frozen=True)
class Refusal:
    """A patch that was judged and refused: in which attempt, its diff's SHA-256, and why."""

    attempt: int
    sha256: str
    reason: str


def find_loop(store: StateStore, task_id: str, token: str) -> str | None:
    """Why another attempt would only repeat what was refused; None when it may still help.

    Args:
        store: what was refused.
        task_id: the task.
        token: its attempt that has just failed.
    """
    refusals = _refusals(store, task_id)
    numbers = {row.attempt_id: row.number for row in store.find("task_attempt", task_id=task_id)}
    if not refusals or refusals[-1].attempt != numbers.get(token):
        return None  # this attempt failed for another reason
    return loop_in(refusals)


def loop_in(refusals: Sequence[Refusal]) -> str | None:
    """What is wrong with a series of refusals, oldest first, if its last one is a repetition."""
    *earlier, last = refusals
    same = [one for one in earlier if one.sha256 == last.sha256]
    if not same:
        return None
    between = [one for one in earlier if one.attempt > same[-1].attempt]
    if len(between) == 1:
        numbers = f"{same[-1].attempt} and {last.attempt}, {between[0].attempt} between them"
        return f"{BACK_AND_FORTH} (attempts {numbers}): {last.reason}"
    return f"the same patch as in attempt {same[-1].attempt} was refused before: {same[-1].reason}"


def _refusals(store: StateStore, task_id: str) -> list[Refusal]:
    """The refused patches of a task, the oldest first."""
    entries = store.find("patch_ledger", task_id=task_id, state="quarantined")
    entries = [one for one in entries if one.patch_id and one.attempt_id]
    if not entries:
        return []
    ids = list({one.patch_id for one in entries})
    shas = {row.patch_id: row.sha256 for row in store.find("patch", patch_id=ids)}
    numbers = {row.attempt_id: row.number for row in store.find("task_attempt", task_id=task_id)}
    found = [
        Refusal(numbers[one.attempt_id], shas[one.patch_id], one.quarantine_reason or "")
        for one in entries
        if one.attempt_id in numbers and _speaks_against_the_patch(store, one)
    ]
    return sorted(found, key=lambda one: one.attempt)


def _speaks_against_the_patch(store: StateStore, entry: Any) -> bool:
    if entry.reasons:
        return any(reason.get("code") != CONFLICT for reason in entry.reasons)
    rows = {"task_id": entry.task_id, "ledger_id": entry.ledger_id}
    gates = store.find("test_gate", **rows, state="FAILED")
    return any(gate.blocking and not _was_cut_off(gate) for gate in gates)


def _was_cut_off(gate: Any) -> bool:
    """Whether a gate was ended before it could say anything."""
    code = gate.exit_code or 0
    return gate.timed_out or code < 0 or code - SHELL_SIGNAL in KILLS
