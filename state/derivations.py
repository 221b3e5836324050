"""What a workstream or run should become, derived from its parts (decisions R2, T3, W2, W4-W6).

Pure functions that propose; the store applies only what is legal. In a lineage made by `retry_of`
the newest row counts.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from state.machines import MACHINES

_BUSY = frozenset({"running", "retrying", "validating"})
_LANDED = frozenset({"verified", "committed"})
_DEAD = frozenset({"quarantined", "rolled_back"})


@dataclass(frozen=True, slots=True)
class Proposal:
    """A transition that the facts call for; `names` lists whom the reason is about."""

    state: str
    trigger: str
    reason: str | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """What counts of a task; given in the order of making."""

    task_id: str
    state: str
    is_critical: bool = True
    retry_of: str | None = None
    slug: str | None = None

    @classmethod
    def of(cls, row: Any) -> "TaskFacts":
        """From a row of `tasks`."""
        return cls(row.task_id, row.state, row.is_critical, row.retry_of, row.slug)

    @property
    def name(self) -> str:
        """What people call it."""
        return self.slug or self.task_id


@dataclass(frozen=True, slots=True)
class LedgerFacts:
    """What counts of a patch's ledger entry; given in the order of making."""

    ledger_id: str
    state: str
    task_id: str | None = None
    replaces: str | None = None

    @classmethod
    def of(cls, row: Any) -> "LedgerFacts":
        """From a row of `patch_ledger_entries`."""
        return cls(row.ledger_id, row.state, row.task_id, row.replaces)


@dataclass(frozen=True, slots=True)
class WorkstreamFacts:
    """What counts of a workstream."""

    ws_id: str
    state: str
    is_critical: bool = True
    enabled: bool = True
    slug: str | None = None
    depends_on: tuple[str, ...] = ()

    @classmethod
    def of(cls, row: Any, depends_on: Iterable[str] = ()) -> "WorkstreamFacts":
        """From a row of `workstreams` and what it depends on (ws_ids)."""
        wanted = tuple(depends_on)
        return cls(row.ws_id, row.state, row.is_critical, row.enabled, row.slug, wanted)

    @property
    def name(self) -> str:
        """What people call it."""
        return self.slug or self.ws_id

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in MACHINES["workstream"].terminal


def newest(tasks: Sequence[TaskFacts]) -> list[TaskFacts]:
    """The newest task of each lineage, in the order of the originals."""
    by_id = {task.task_id: task for task in tasks}
    latest: dict[str, TaskFacts] = {}
    for task in tasks:
        latest[root_of(task, by_id)] = task
    return list(latest.values())


def root_of(task: TaskFacts, by_id: dict[str, TaskFacts]) -> str:
    """The id of the original that this task was made to retry, at the end of the lineage."""
    seen = {task.task_id}
    while task.retry_of is not None and task.retry_of in by_id and task.retry_of not in seen:
        task = by_id[task.retry_of]
        seen.add(task.task_id)
    return task.task_id


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
    if any(one.state in _BUSY for one in current):
        return Proposal("executing", "first_task_started")
    if not current or any(one.state not in MACHINES["task"].terminal for one in current):
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
    by_id = {task.task_id: task for task in tasks}
    roots = {task.task_id: root_of(task, by_id) for task in tasks}
    lost: list[LedgerFacts] = []
    for index, entry in enumerate(ledger):
        if entry.state == "dropped" or entry.state in _LANDED:
            continue
        if entry.state not in _DEAD:
            return None
        # A task that is done has got over its quarantined attempts, or may fail; but a patch
        # rolled back is work undone.
        if entry.state == "rolled_back" and not _replaced(entry, ledger[index + 1 :], roots):
            lost.append(entry)
    if lost:
        names = tuple(entry.ledger_id for entry in lost)
        reason = f"patches rolled back and not replaced: {', '.join(names)}"
        return Proposal("failed", "critical_task_failed", reason, names)
    return Proposal("validating", "all_tasks_completed")


def _replaced(entry: LedgerFacts, later: Sequence[LedgerFacts], roots: dict[str, str]) -> bool:
    lineage = roots.get(entry.task_id or "")
    return any(
        other.state in _LANDED
        and (
            other.replaces == entry.ledger_id
            or (lineage is not None and roots.get(other.task_id or "") == lineage)
        )
        for other in later
    )


def derive_waiting_tasks(
    tasks: Sequence[TaskFacts], depends_on: Mapping[str, Iterable[str]]
) -> list[tuple[str, Proposal]]:
    """The next step of every pending or blocked task, from its dependencies alone (T3).

    Args:
        tasks: all tasks of a workstream, in the order of making.
        depends_on: task_id -> the task_ids it depends on.
    """
    by_id = {task.task_id: task for task in tasks}
    latest = {root_of(task, by_id): task for task in tasks}
    steps: list[tuple[str, Proposal]] = []
    for task in newest(tasks):
        if task.state not in ("pending", "blocked"):
            continue
        wanted = (by_id[one] for one in depends_on.get(task.task_id, ()) if one in by_id)
        unmet = [
            latest[root_of(one, by_id)]
            for one in wanted
            if one.state != "completed" and latest[root_of(one, by_id)].state != "completed"
        ]
        step = _wait_for_tasks(task, unmet)
        if step is not None:
            steps.append((task.task_id, step))
    return steps


def _wait_for_tasks(task: TaskFacts, unmet: Sequence[TaskFacts]) -> Proposal | None:
    names = tuple(one.name for one in unmet)
    lost = tuple(one.name for one in unmet if one.state in MACHINES["task"].terminal)
    if lost:
        reason = f"depends on {', '.join(lost)}, which did not complete"
        return Proposal("cancelled", "dependency_failed", reason, lost)
    if task.state == "blocked":
        return None if unmet else Proposal("pending", "dependency_satisfied")
    if unmet:
        reason = f"waits for {', '.join(names)}"
        return Proposal("blocked", "dependency_check_failed", reason, names)
    return Proposal("queued", "scheduler_assigned")


def derive_run(
    workstreams: Sequence[WorkstreamFacts], allow_noncritical_failures: bool = False
) -> Proposal | None:
    """How a running run ends, once all its workstreams have ended (R2); None before."""
    if not workstreams or not all(one.ended for one in workstreams):
        return None
    undone = [one for one in workstreams if one.state not in ("completed", "skipped")]
    names = tuple(one.name for one in undone)
    if not undone:
        return Proposal("succeeded", "all_workstreams_completed")
    critical = tuple(one.name for one in undone if one.is_critical and one.state == "failed")
    if critical:
        reason = f"critical workstream failed: {', '.join(critical)}"
        return Proposal("failed", "critical_workstream_failed", reason, critical)
    if allow_noncritical_failures and not any(one.is_critical for one in undone):
        reason = f"allowed failures: {', '.join(names)}"
        return Proposal("succeeded", "all_workstreams_completed", reason, names)
    return Proposal("failed", "critical_workstream_failed", "noncritical_incomplete", names)


def derive_waiting(
    workstreams: Sequence[WorkstreamFacts], skipped_satisfies: bool = False
) -> list[tuple[str, Proposal]]:
    """The next step of every planned or blocked workstream, from its dependencies alone.

    Skipping is decided first and cascades before anything blocks (W5); a dependency that can no
    longer complete cancels its dependents (W4). Apply, then ask again, until nothing is proposed.
    """
    states = {one.ws_id: one for one in workstreams}
    skipping = _skipped(workstreams, skipped_satisfies)
    steps: list[tuple[str, Proposal]] = []
    for one in workstreams:
        if one.state not in ("planned", "blocked"):
            continue
        if one.ws_id in skipping and one.state == "planned":
            reason = None if one.enabled else "disabled in the plan"
            reason = reason or f"depends on skipped {_names(one, states, skipping)}"
            steps.append((one.ws_id, Proposal("skipped", "disabled", reason)))
            continue
        step = _wait(one, states, skipped_satisfies)
        if step is not None:
            steps.append((one.ws_id, step))
    return steps


def _skipped(workstreams: Sequence[WorkstreamFacts], skipped_satisfies: bool) -> set[str]:
    """Workstreams that are skipped or should be, dependents included."""
    skipping = {
        one.ws_id
        for one in workstreams
        if one.state == "skipped" or (one.state == "planned" and not one.enabled)
    }
    grew = not skipped_satisfies
    while grew:
        more = {
            one.ws_id
            for one in workstreams
            if one.state == "planned" and skipping.intersection(one.depends_on)
        }
        grew = not more <= skipping
        skipping |= more
    return skipping


def _names(one: WorkstreamFacts, states: dict[str, WorkstreamFacts], among: set[str]) -> str:
    return ", ".join(
        states[ws].name if ws in states else ws for ws in one.depends_on if ws in among
    )


def _wait(
    one: WorkstreamFacts, states: dict[str, WorkstreamFacts], skipped_satisfies: bool
) -> Proposal | None:
    met = {"completed", "skipped"} if skipped_satisfies else {"completed"}
    wanted = [states[ws] for ws in one.depends_on if ws in states]
    unmet = [other for other in wanted if other.state not in met]
    if not unmet:
        trigger = "tasks_created" if one.state == "planned" else "dependencies_met"
        return Proposal("ready", trigger)
    names = tuple(other.name for other in unmet)
    if one.state == "planned":
        reason = f"waits for {', '.join(names)}"
        return Proposal("blocked", "dependency_check_failed", reason, names)
    ended = tuple(f"{other.name} ({other.state})" for other in unmet if other.ended)
    if ended:
        reason = f"can no longer be reached: {', '.join(ended)}"
        return Proposal("cancelled", "dependency_unreachable", reason, names)
    return None
