"""From a launch to an SSOT run: preflight, the rows of a plan, and which run an op belongs to."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pipeline_defs.plan.model import Plan, Workstream
from pipeline_defs.preflight import Fit, check_environment
from pipeline_defs.revisions import Revision
from pipeline_defs.skipping import skipped_workstreams, skips
from resources.execution.recovery import refuse_if_alive
from state.crash_points import crash_point
from state.errors import EntityNotFoundError
from state.home import Home
from state.lost_transactions import redone_when_lost
from state.machines import MACHINES
from state.propagation.facts import Proposal, TaskFacts, WorkstreamFacts
from state.propagation.tasks import next_of_waiting_task
from state.propagation.workstreams import next_of_waiting_workstream
from state.store import StateStore
from state.transaction import Transaction

if TYPE_CHECKING:  # a refused run must not wait for Dagster
    import dagster as dg

RUN_ENDED = MACHINES["run"].terminal
RUN_TAG = "patchline/run_id"


@dataclass(frozen=True)
class Launch:
    """What somebody asked to run. Empty fields mean: as the plan says."""

    revision: Revision
    workstream: str | None = None
    repo: str = ""
    target: str = ""
    base: str = ""
    retry_of: str | None = None


@redone_when_lost
def open_run(
    store: StateStore, home: Home, launch: Launch, max_concurrent: int | None = None
) -> Any:
    """Check the environment and write the rows of a new run, pending, in one transaction.

    Raises:
        PlanError: a task that nobody would test.
        PreflightError: the environment is not fit; nothing was written.
    """
    fit = check_environment(
        home, launch.revision, launch.repo, launch.base, launch.target, launch.workstream
    )
    with store.batch() as tx:
        _register_phase(tx, launch.revision)
        limit = max_concurrent or launch.revision.plan.max_concurrent
        run = _create_rows(tx, launch, fit, limit)
    crash_point("run-opened", "a run has its rows; Dagster knows nothing of it")
    return run


def attach_run(store: StateStore, home: Home, launch: Launch, dagster_run: "dg.DagsterRun") -> Any:
    """The SSOT run that a Dagster run executes, now running.

    The one its tag names; a new one without a tag, or where that one has ended (Dagster copies
    tags when somebody re-executes a run).

    Raises:
        PlanError, PreflightError: as `open_run`; or another live process executes the run.
    """
    run_id = dagster_run.tags.get(RUN_TAG)
    run = store.get("run", run_id) if run_id else open_run(store, home, launch)
    if run.state in RUN_ENDED:
        run = open_run(store, home, replace(launch, retry_of=run.run_id))
    refuse_if_alive(store, run.run_id)
    crash_point("run-found", "Dagster has begun a run; ours does not say which")
    if run.state == "pending":
        store.transition("run", run.run_id, "running", dagster_run_id=dagster_run.run_id)
    elif run.dagster_run_id != dagster_run.run_id:
        store.record("run", run.run_id, "resumed", dagster_run_id=dagster_run.run_id)
    crash_point("run-attached", "a run is running; what an earlier process left is as it was")
    return store.get("run", run.run_id)


def find_run(store: StateStore, dagster_run: "dg.DagsterRun") -> Any:
    """The SSOT run of a Dagster run whose `_start` has been.

    A run that Dagster re-executes without `_start`, also one of a run that was itself re-executed
    so, goes on with the SSOT run of the nearest one before it that had its own. Dagster copies
    the tag that names it.

    Raises:
        EntityNotFoundError: no run of ours belongs to it.
    """
    for column, value in (
        ("dagster_run_id", dagster_run.run_id),
        ("dagster_run_id", dagster_run.parent_run_id),
        ("run_id", dagster_run.tags.get(RUN_TAG)),
        ("dagster_run_id", dagster_run.root_run_id),
    ):
        wanted: dict[str, Any] = {column: value}
        rows = store.find("run", **wanted) if value else []
        if rows:
            return rows[-1]
    raise EntityNotFoundError("run", dagster_run.run_id)


def _register_phase(tx: Transaction, revision: Revision) -> None:
    try:
        tx.get("phase", revision.phase_id)
    except EntityNotFoundError:
        tx.create(
            "phase",
            phase_id=revision.phase_id,
            plan=revision.plan.plan,
            sha256=revision.sha256,
            title=revision.plan.title,
            source=str(revision.source),
            document=revision.path.read_bytes().decode(),
        )


def _create_rows(tx: Transaction, launch: Launch, fit: Fit, max_concurrent: int) -> Any:
    plan = launch.revision.plan
    run = tx.create(
        "run",
        phase_id=launch.revision.phase_id,
        plan=plan.plan,
        repo=str(fit.repository.root),
        target=fit.target,
        base_commit=fit.base_commit,
        max_concurrent=max_concurrent,
        retry_of=launch.retry_of,
        metadata={
            "skipped_satisfies": plan.policy.skipped_satisfies,
            "workstream": launch.workstream,
        },
    )
    made = _create_parts(tx, launch, run.run_id)
    _link(tx, made)
    _settle(tx, plan, made)
    return tx.get("run", run.run_id)


@dataclass
class _Made:
    """The rows of a run's parts with what each depends on, in plan order."""

    workstreams: dict[str, WorkstreamFacts] = field(default_factory=dict[str, WorkstreamFacts])
    tasks: dict[str, TaskFacts] = field(default_factory=dict[str, TaskFacts])


def _create_parts(tx: Transaction, launch: Launch, run_id: str) -> _Made:
    """The workstreams and their tasks; one that does not run has none."""
    plan, made = launch.revision.plan, _Made()
    chosen = [ws for ws in plan.workstreams if launch.workstream in (None, ws.id)]
    skipped, ids = skipped_workstreams(plan), dict[str, str]()
    for position, ws in enumerate(chosen):
        row = tx.create(
            "workstream",
            run_id=run_id,
            slug=ws.id,
            title=ws.title or ws.id,
            position=position,
            is_critical=ws.critical,
            enabled=ws.enabled,
        )
        ids[ws.id] = row.ws_id
        made.workstreams[row.ws_id] = WorkstreamFacts.of(row)
        if ws.id not in skipped:
            made.tasks |= _create_tasks(tx, plan, ws, row.ws_id, len(made.tasks))
    for ws in chosen:
        needs = tuple(ids[other] for other in ws.depends_on if other in ids)
        made.workstreams[ids[ws.id]] = replace(made.workstreams[ids[ws.id]], depends_on=needs)
    return made


def _create_tasks(
    tx: Transaction, plan: Plan, ws: Workstream, ws_id: str, first: int
) -> dict[str, TaskFacts]:
    """The tasks of a workstream; their places are counted through the whole run."""
    ids: dict[str, str] = {}
    rows: list[Any] = []
    for position, task in enumerate(ws.tasks, first):
        resolved = plan.resolve(ws, task)
        row = tx.create(
            "task",
            workstream_id=ws_id,
            slug=task.id,
            title=task.title or task.prompt or task.id,
            position=position,
            is_critical=resolved.critical,
            tool_id=resolved.tool_id,
            max_retries=resolved.max_retries,
            timeout_sec=resolved.timeout_sec,
            capabilities=sorted(resolved.capabilities),
        )
        ids[task.id] = row.task_id
        rows.append(row)
    return {
        row.task_id: TaskFacts.of(row, [ids[other] for other in task.depends_on])
        for row, task in zip(rows, ws.tasks, strict=True)
    }


def _link(tx: Transaction, made: _Made) -> None:
    """Write who waits for whom: the last first, so that what is looked at for circles is short."""
    for ws_id in reversed(made.workstreams):
        for other in made.workstreams[ws_id].depends_on:
            tx.add_dependency("workstream", ws_id, other)
    for task_id in reversed(made.tasks):
        for other in made.tasks[task_id].depends_on:
            tx.add_dependency("task", task_id, other)


def _settle(tx: Transaction, plan: Plan, made: _Made) -> None:
    """Skip and block what cannot begin, by the same rules as ever after (T3, W4, W5)."""
    streams, skipped = made.workstreams, skips(plan)
    for ws_id, one in streams.items():
        if one.name in skipped:
            _apply(tx, "workstream", ws_id, skipped[one.name])
            streams[ws_id] = replace(one, state="skipped")
    for ws_id, one in streams.items():
        if one.state == "planned":
            satisfies = plan.policy.skipped_satisfies
            _apply(tx, "workstream", ws_id, next_of_waiting_workstream(one, streams, satisfies))
    for task_id, task in made.tasks.items():
        needs = [made.tasks[other] for other in task.depends_on]
        _apply(tx, "task", task_id, next_of_waiting_task(task, needs))


def _apply(tx: Transaction, kind: str, key: str, proposal: Proposal | None) -> None:
    """What is proposed, unless it opens work: that is for those who do it."""
    if proposal is not None and proposal.state not in ("ready", "queued"):
        trigger, reason = proposal.trigger, proposal.reason
        tx.transition(kind, key, proposal.state, trigger=trigger, reason=reason, **proposal.columns)
