"""What becomes of a task by what it depends on (decisions T3), and which row of a lineage counts.

In a lineage made by `retry_of` the newest row stands for all of them (decisions T7).
"""

from collections.abc import Mapping, Sequence

from state.machines import MACHINES
from state.propagation.facts import Proposal, TaskFacts

WAITING = frozenset({"pending", "blocked"})
AT_WORK = frozenset({"running", "retrying", "validating"})
LOST = MACHINES["task"].terminal - {"completed"}
"""Ends of a task that no dependent can build upon."""


def newest(tasks: Sequence[TaskFacts]) -> list[TaskFacts]:
    """The newest task of each lineage, in the order of the originals."""
    return list(standing(tasks, lineages(tasks)).values())


def standing(
    tasks: Sequence[TaskFacts], roots: Mapping[str, tuple[str, int]]
) -> dict[str, TaskFacts]:
    """The task that stands for each lineage now, by the id of the original."""
    found: dict[str, TaskFacts] = {}
    for task in tasks:
        root, depth = roots[task.task_id]
        if root not in found or depth >= roots[found[root].task_id][1]:
            found[root] = task
    return found


def lineages(tasks: Sequence[TaskFacts]) -> dict[str, tuple[str, int]]:
    """task_id -> the original that it was made to retry, and over how many rows."""
    by_id = {task.task_id: task for task in tasks}
    known: dict[str, tuple[str, int]] = {}
    for task in tasks:
        way = [task.task_id]
        while way[-1] not in known:
            before = by_id[way[-1]].retry_of
            if before is None or before not in by_id or before in way:
                known[way[-1]] = (way[-1], 0)
            else:
                way.append(before)
        root, depth = known[way.pop()]
        for step, task_id in enumerate(reversed(way), start=1):
            known[task_id] = (root, depth + step)
    return known


def next_of_waiting_task(task: TaskFacts, needs: Sequence[TaskFacts]) -> Proposal | None:
    """The next step of a pending or blocked task, from its dependencies alone (T3).

    Args:
        task: the one that waits.
        needs: for each task that it depends on, the newest of that one's lineage.

    Returns:
        cancelled, blocked, pending, queued (it may be claimed), or None while it goes on waiting.
    """
    unmet = [one for one in needs if one.state != "completed"]
    lost = tuple(one.name for one in unmet if one.state in LOST)
    if lost:
        reason = f"needs {', '.join(lost)}, which did not complete"
        return Proposal("cancelled", "dependency_failed", reason, lost)
    if task.state == "blocked":
        return None if unmet else Proposal("pending", "dependency_satisfied")
    if unmet:
        names = tuple(one.name for one in unmet)
        return Proposal(
            "blocked", "dependency_check_failed", f"waits for {', '.join(names)}", names
        )
    return Proposal("queued", "scheduler_assigned")
