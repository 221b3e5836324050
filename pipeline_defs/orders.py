"""What a plan asks of the lower rooms: its model turned into the specs that a run works with."""

from pathlib import Path
from textwrap import shorten

from pipeline_defs.plan.model import Plan, ResolvedTask, Workstream
from resources.specs import RunSpec, TaskSpec, WorkstreamSpec

SUBJECT_LENGTH = 72


def run_spec(plan: Plan, plan_dir: Path) -> RunSpec:
    """The spec of a run of `plan`; `plan_dir` is the folder its file lies in."""
    tasks = [_task_spec(task) for task in plan.resolved_tasks()]
    return RunSpec(
        plan=plan.plan,
        plan_dir=str(plan_dir),
        policy=plan.policy,
        gates=dict(plan.gates),
        workstreams={ws.id: _workstream_spec(plan, ws) for ws in plan.workstreams},
        tasks={task.id: task for task in tasks},
        capabilities=frozenset[str]().union(*(task.capabilities for task in plan.resolved_tasks())),
        max_concurrent=plan.max_concurrent,
        merge=plan.merge,
    )


def _task_spec(task: ResolvedTask) -> TaskSpec:
    return TaskSpec(
        id=task.name,
        title=task.task.title or _subject(task.task.prompt) or task.name,
        prompt=task.task.prompt,
        tool_id=task.tool_id,
        tool=task.tool,
        scope=task.scope,
        create=task.create,
        gates=task.gates,
        entry_gates=task.entry_gates,
        timeout_sec=task.timeout_sec,
        retry=task.retry,
        on_no_change=task.on_no_change,
        env=task.env,
        compensation=task.task.compensation,
    )


def _subject(prompt: str) -> str:
    """The first line of a prompt, short enough for a commit's subject."""
    first = next((line for line in prompt.splitlines() if line.strip()), "")
    return shorten(first, SUBJECT_LENGTH, placeholder=" ...")


def _workstream_spec(plan: Plan, workstream: Workstream) -> WorkstreamSpec:
    names = [name for task in workstream.tasks for name in plan.exit_gates(workstream, task)]
    gates = workstream.gates or tuple(dict.fromkeys(names))
    return WorkstreamSpec(id=workstream.id, title=workstream.title or workstream.id, gates=gates)
