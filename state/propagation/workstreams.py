"""What becomes of a workstream: by its tasks and patches (W2, W6, W7), or by its dependencies."""

from collections.abc import Iterable, Mapping, Sequence

from state.propagation.dependencies import UNKNOWN, unmet
from state.propagation.facts import LedgerFacts, Proposal, TaskFacts, WorkstreamFacts
from state.propagation.lineages import newest
from state.propagation.quarantine import Health, ledger_health
from state.propagation.skipping import skipped_closure
from state.propagation.tasks import AT_WORK

WAITING = frozenset({"planned", "blocked"})
SKIPPABLE = frozenset({"planned", "ready"})


def derive_workstream(
    tasks: Sequence[TaskFacts],
    ledger: Sequence[LedgerFacts] = (),
    allow_noncritical_failures: bool = False,
) -> Proposal | None:
    """What an executing workstream should become; None while nothing follows yet.

    First match (W2): a critical task failed -> failed; any at work -> executing; all done ->
    validating, once every live ledger entry is verified or committed (W6); all ended but not all
    done -> failed.
    """
    current = newest(tasks)
    failed = [one for one in current if one.is_critical and one.state == "failed"]
    if failed:
        return _failed("critical task failed", failed)
    if any(one.state in AT_WORK for one in current):
        return Proposal("executing", "first_task_started")
    if not current or not all(one.ended for one in current):
        return None
    undone = [one for one in current if not _done(one, allow_noncritical_failures)]
    if undone:
        return _failed("tasks that did not complete", undone)
    return _judge_ledger(tasks, ledger)


def _done(task: TaskFacts, allow: bool) -> bool:
    return task.state == "completed" or (allow and not task.is_critical)


def _failed(what: str, tasks: Sequence[TaskFacts]) -> Proposal:
    names = tuple(task.name for task in tasks)
    return Proposal("failed", "critical_task_failed", f"{what}: {', '.join(names)}", names)


def _judge_ledger(tasks: Sequence[TaskFacts], ledger: Sequence[LedgerFacts]) -> Proposal | None:
    """All tasks are done; what do their patches say?"""
    judged = ledger_health(tasks, ledger)
    if any(health is Health.OPEN for _, health in judged):
        return None
    lost = tuple(entry.ledger_id for entry, health in judged if health is Health.LOST)
    if lost:
        reason = f"patches rolled back and not replaced: {', '.join(lost)}"
        return Proposal("failed", "critical_task_failed", reason, lost)
    return Proposal("validating", "all_tasks_completed")


def next_of_waiting_workstream(
    one: WorkstreamFacts,
    workstreams: Mapping[str, WorkstreamFacts],
    skipped_satisfies: bool = False,
) -> Proposal | None:
    """The next step of a planned or blocked workstream, from its dependencies alone.

    A dependency that can no longer complete cancels what is blocked by it (W4); a planned one
    blocks first. Ask `skipped_workstreams` before: skipping goes before blocking (W5).
    """
    waited = _waited(one, workstreams, skipped_satisfies)
    if not waited:
        trigger = "tasks_created" if one.state == "planned" else "dependencies_met"
        return Proposal("ready", trigger)
    names = tuple(other.name for other in waited)
    if one.state == "planned":
        reason = f"waits for {', '.join(names)}"
        return Proposal("blocked", "dependency_check_failed", reason, names)
    return unreachable(one, workstreams, skipped_satisfies)


def unreachable(
    one: WorkstreamFacts,
    workstreams: Mapping[str, WorkstreamFacts],
    skipped_satisfies: bool = False,
) -> Proposal | None:
    """That a workstream must be cancelled, for it needs one that cannot complete any more (W4)."""
    waited = _waited(one, workstreams, skipped_satisfies)
    lost = tuple(other.name for other in waited if other.ended)
    if not lost:
        return None
    reason = f"needs {', '.join(lost)}, which did not complete"
    return Proposal("cancelled", "dependency_unreachable", reason, lost)


def _waited(
    one: WorkstreamFacts, workstreams: Mapping[str, WorkstreamFacts], skipped_satisfies: bool
) -> list[WorkstreamFacts]:
    needs = (workstreams.get(ws) or WorkstreamFacts(ws, UNKNOWN) for ws in one.depends_on)
    return unmet(needs, skipped_satisfies)


def skipped_workstreams(
    workstreams: Iterable[WorkstreamFacts], skipped_satisfies: bool = False
) -> dict[str, Proposal]:
    """The workstreams that are to be skipped: disabled, or with a skipped dependency (W5)."""
    known = {one.ws_id: one for one in workstreams}
    disabled = {
        ws_id
        for ws_id, one in known.items()
        if one.state == "skipped" or (one.state in SKIPPABLE and not one.enabled)
    }
    planned = {ws_id: one.depends_on for ws_id, one in known.items() if one.state == "planned"}
    skipping = skipped_closure(planned, disabled, skipped_satisfies)
    proposals: dict[str, Proposal] = {}
    for ws_id in (ws_id for ws_id in known if ws_id in skipping):
        one = known[ws_id]
        if one.state == "skipped":
            continue
        names = tuple(known[ws].name for ws in one.depends_on if ws in skipping and ws in known)
        reason = f"depends on skipped {', '.join(names)}" if one.enabled else "disabled in the plan"
        proposals[ws_id] = Proposal("skipped", "disabled", reason, names)
    return proposals
