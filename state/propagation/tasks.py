"""What becomes of a task by what it depends on (decisions T3)."""

from collections.abc import Sequence

from state.machines import MACHINES
from state.propagation.dependencies import unmet
from state.propagation.facts import Proposal, TaskFacts

WAITING = frozenset({"pending", "blocked"})
AT_WORK = frozenset({"running", "retrying", "validating"})
LOST = MACHINES["task"].terminal - {"completed"}
"""Ends of a task that no dependent can build upon."""


def next_of_waiting_task(task: TaskFacts, needs: Sequence[TaskFacts]) -> Proposal | None:
    """The next step of a pending or blocked task, from its dependencies alone (T3).

    Args:
        task: the one that waits.
        needs: for each task that it depends on, the newest of that one's lineage.

    Returns:
        cancelled, blocked, pending, queued (it may be claimed), or None while it goes on waiting.
    """
    waited = unmet(needs)
    lost = tuple(one.name for one in waited if one.state in LOST)
    if lost:
        reason = f"needs {', '.join(lost)}, which did not complete"
        return Proposal("cancelled", "dependency_failed", reason, lost)
    if task.state == "blocked":
        return None if waited else Proposal("pending", "dependency_satisfied")
    if waited:
        names = tuple(one.name for one in waited)
        return Proposal(
            "blocked", "dependency_check_failed", f"waits for {', '.join(names)}", names
        )
    return Proposal("queued", "scheduler_assigned")
