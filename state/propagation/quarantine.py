"""What patches that came to nothing mean for their workstream (decisions W6, W7)."""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from state.propagation.facts import LedgerFacts, TaskFacts
from state.propagation.lineages import lineages, standing

LANDED = frozenset({"verified", "committed"})
DEAD = frozenset({"quarantined", "rolled_back"})


class Health(StrEnum):
    """What a ledger entry says about the workstream that it belongs to."""

    SOUND = "sound"
    """Landed, discarded, replaced, or got over: nothing is missing."""
    OPEN = "open"
    """Under way, or its task may still make another patch."""
    LOST = "lost"
    """Work is missing that nobody will do again: the workstream fails."""


def ledger_health(
    tasks: Sequence[TaskFacts], ledger: Sequence[LedgerFacts]
) -> list[tuple[LedgerFacts, Health]]:
    """The health of every ledger entry of a workstream.

    A quarantined patch is lost only when its task is critical and has failed: one with an attempt
    left tries again, and one that is done has got over it (W7). A patch rolled back is work
    undone, whatever its task says, until another of the same task has landed (W6).

    Args:
        tasks: all tasks of the workstream, in the order of making.
        ledger: its entries, in the order of making.
    """
    deep = lineages(tasks)
    current = standing(tasks, deep)
    roots = {task_id: root for task_id, (root, _) in deep.items()}
    return [
        (entry, _health(entry, ledger[index + 1 :], roots, current))
        for index, entry in enumerate(ledger)
    ]


def _health(
    entry: LedgerFacts,
    later: Sequence[LedgerFacts],
    roots: Mapping[str, str],
    current: Mapping[str, TaskFacts],
) -> Health:
    if entry.state == "dropped" or entry.state in LANDED:
        return Health.SOUND
    if entry.state not in DEAD:
        return Health.OPEN
    if _replaced(entry, later, roots):
        return Health.SOUND
    task = current.get(roots.get(entry.task_id or "", ""))
    if entry.state == "rolled_back":
        return Health.LOST if task is None or task.ended else Health.OPEN
    if task is None or (task.ended and not (task.is_critical and task.state == "failed")):
        return Health.SOUND
    return Health.LOST if task.ended else Health.OPEN


def _replaced(entry: LedgerFacts, later: Sequence[LedgerFacts], roots: Mapping[str, str]) -> bool:
    lineage = roots.get(entry.task_id or "")
    return any(
        other.state in LANDED
        and (
            other.replaces == entry.ledger_id
            or (lineage is not None and roots.get(other.task_id or "") == lineage)
        )
        for other in later
    )
