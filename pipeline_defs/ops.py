"""The ops of a plan: each a few lines over one function of a lower room.

An op decides nothing: it asks the state what is to be done, does it through the task path or the
workstream path, and tells Dagster how it ended. A failure that the plan tolerates gives no output
instead of a failed step, so that Dagster goes on where the state goes on.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from pydantic import Field

from pipeline_defs.names import to_dagster
from pipeline_defs.orders import run_spec
from pipeline_defs.plan.model import Plan, Task, Workstream
from pipeline_defs.revisions import Revision
from pipeline_defs.runs import Launch, attach_run, find_run
from resources.execution.outcomes import Cancelled, Completed, Failed, Interrupted, Retry
from resources.execution.session import RunSession
from resources.execution.task_path import TaskPath
from resources.execution.workstream_merge import Landed
from resources.execution.workstream_path import WorkstreamPath
from resources.specs import RunSpec
from state.errors import PlanError, PreflightError

RESOURCES = {"state", "session", "rollback"}
NEVER_THE_LIMIT = 10_000
"""Dagster's own cap on retries; the plan's `max_retries` in the state is the one that counts."""

AFTER = {"after": dg.In(dg.Nothing, description="Order only: commits travel on branches.")}
DONE = {"result": dg.Out(dg.Nothing, is_required=False)}


class LaunchConfig(dg.Config):
    """Where a run works. Empty fields mean: as the plan says."""

    repo: str = Field(default="", description="Folder of the git repository.")
    target: str = Field(default="", description="Branch that completed workstreams land on.")
    base: str = Field(default="", description="Revision to start from.")


def definition_name(plan: str, *ids: str, role: str = "") -> str:
    """Name of an op or graph definition, which must be unique among all plans of a location.

    Args:
        plan: the plan's id.
        ids: ids of the workstream and the task, where there are any.
        role: what a definition that stands for no task is for; capitalised, as no id is.
    """
    parts = [to_dagster(part) for part in (plan, *ids)]
    return "__".join([*parts, role] if role else parts)


def start_op(revision: Revision, workstream: str | None) -> dg.OpDefinition:
    """The first op: checks that the environment is fit, and opens or takes over the run."""
    plan = revision.plan

    @dg.op(
        name=definition_name(plan.plan, *([workstream] if workstream else []), role="Start"),
        description="Check repository, target, tools and gates; open the run.",
        required_resource_keys=RESOURCES,
        out=dg.Out(dg.Nothing),
    )
    def start(context: dg.OpExecutionContext, config: LaunchConfig) -> None:
        launch = Launch(revision, workstream, config.repo, config.target, config.base)
        state = context.resources.state
        try:
            run = attach_run(state.store(), state.place(), launch, context.run)
        except (PlanError, PreflightError) as error:
            raise dg.Failure(description=str(error), allow_retries=False) from error
        context.log.info(f"patchline run {run.run_id} on {run.repo}, target {run.target}")
        context.instance.add_run_tags(context.run_id, {"patchline/run_id": run.run_id})
        _session(context, revision).recovery.take_over()
        _make_up_for_failures(context, revision)

    return start


def open_op(revision: Revision, ws: Workstream) -> dg.OpDefinition:
    """The first op of a workstream: its branch."""

    @dg.op(
        name=definition_name(revision.plan.plan, ws.id, role="Open"),
        description=f"Make the branch of {ws.title or ws.id}.",
        required_resource_keys=RESOURCES,
        ins=AFTER,
        out=DONE,
    )
    def open_workstream(context: dg.OpExecutionContext) -> Iterator[dg.Output[None]]:
        session = _session(context, revision)
        ws_id = session.workstream_id(ws.id)
        if ws_id is None:
            context.log.info(f"{ws.id} is not part of this run")
        elif not WorkstreamPath(session).open(ws_id):
            row = session.store.get("workstream", ws_id)
            context.log.warning(f"{ws.id} is {row.state}: {row.reason}")
        yield dg.Output(None)

    return open_workstream


def task_op(revision: Revision, ws: Workstream, task: Task) -> dg.OpDefinition:
    """The op of a task."""
    name = f"{ws.id}/{task.id}"
    resolved = revision.plan.resolve(ws, task)

    @dg.op(
        name=definition_name(revision.plan.plan, ws.id, task.id),
        description=task.prompt or task.title or name,
        required_resource_keys=RESOURCES,
        ins=AFTER,
        out=DONE,
        retry_policy=dg.RetryPolicy(max_retries=resolved.max_retries),
        tags={"patchline/task": name, "patchline/tool": resolved.tool_id},
    )
    def run_task(context: dg.OpExecutionContext) -> Iterator[dg.Output[None]]:
        session = _session(context, revision)
        task_id = session.task_id(ws.id, task.id)
        if task_id is None:
            context.log.info(f"{name} is not part of this run")
            return
        outcome = TaskPath(session).run(task_id, session.spec.tasks[name])
        match outcome:
            case Completed(commit):
                about = {"commit": commit or "nothing to change", "task": task_id}
                yield dg.Output(None, metadata=about)
            case Retry(delay, reason):
                context.log.warning(f"{name}: {reason}; next attempt in {delay:.1f} s")
                raise dg.RetryRequested(max_retries=NEVER_THE_LIMIT, seconds_to_wait=delay)
            case Failed(reason) | Cancelled(reason) | Interrupted(reason):
                _make_up_for_failures(context, revision)
                tolerated = _tolerated(revision.plan, ws, resolved.critical)
                _end(context, name, reason, tolerated and not isinstance(outcome, Interrupted))

    return run_task


def land_op(revision: Revision, ws: Workstream) -> dg.OpDefinition:
    """The last op of a workstream: its gates on the merge with the target, then the target."""

    @dg.op(
        name=definition_name(revision.plan.plan, ws.id, role="Land"),
        description=f"Validate {ws.title or ws.id} and land it on the target.",
        required_resource_keys=RESOURCES,
        ins=AFTER,
        out=DONE,
    )
    def land_workstream(context: dg.OpExecutionContext) -> Iterator[dg.Output[None]]:
        session = _session(context, revision)
        ws_id = session.workstream_id(ws.id)
        if ws_id is None:
            return
        result = WorkstreamPath(session).land(ws_id, session.spec.workstreams[ws.id])
        if isinstance(result, Landed):
            yield dg.Output(None, metadata={"commit": result.commit or "nothing to land"})
        elif result.state == "skipped":
            context.log.info(f"{ws.id} is skipped")
        else:
            _make_up_for_failures(context, revision)
            tolerated = _tolerated(revision.plan, ws, ws.critical) and not result.interrupted
            _end(context, ws.id, f"{result.state}: {result.reason}", tolerated)

    return land_workstream


def finish_op(revision: Revision) -> dg.OpDefinition:
    """The last op of a run: Dagster's verdict is the state's."""

    @dg.op(
        name=definition_name(revision.plan.plan, role="Finish"),
        description="Say how the run ended.",
        required_resource_keys=RESOURCES,
        ins=AFTER,
        out=dg.Out(dg.Nothing),
    )
    def finish(context: dg.OpExecutionContext) -> None:
        session = _session(context, revision)
        session.progress.settle()
        run = session.store.get("run", session.run_id)
        if run.state != "succeeded":
            _end(context, f"run {run.run_id}", f"{run.state}: {run.reason}", tolerated=False)

    return finish


def _session(context: dg.OpExecutionContext, revision: Revision) -> RunSession:
    def describe() -> tuple[Any, RunSpec]:
        run = find_run(context.resources.state.store(), context.run)
        return run, run_spec(revision.plan, revision.source.parent)

    session: RunSession = context.resources.session.session(context.run_id, describe)
    return session


def _make_up_for_failures(context: dg.OpExecutionContext, revision: Revision) -> None:
    """Do what the tasks of workstreams that have failed declare; how it went is in the state."""
    manager = context.resources.rollback.manager(_session(context, revision))
    for report in manager.make_up_for_failures():
        told = "; ".join(f"{one['action']} {one['status']}" for one in report.actions)
        context.log.warning(f"{report.plan_id} makes up for a failure on {report.target}: {told}")


def _tolerated(plan: Plan, ws: Workstream, critical: bool) -> bool:
    """Whether the run may succeed although this failed (decisions R2, W2)."""
    return plan.policy.allow_noncritical_failures and not (critical and ws.critical)


def _end(context: dg.OpExecutionContext, name: str, reason: str, tolerated: bool) -> Any:
    if not tolerated:
        raise dg.Failure(description=f"{name}: {reason}", allow_retries=False)
    context.log.error(f"{name}: {reason} (tolerated: not critical)")
