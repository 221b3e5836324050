"""A plan as Dagster graphs and jobs: workstream -> nested graph and job, task -> op.

Pure functions of the plan: no store, no git, no files. Every edge is a `Nothing` edge, because
what flows between tasks are commits on branches. Frame ops stand around the tasks:

    _start -> [workstream: _open -> tasks -> _land] -> ... -> _finish

`_open` and `_land` take `_start` resp. `_open` as a further input, so that Dagster never skips
them when a tolerated failure upstream gave no output: the state decides what they do.
Source: design section 3, issue 2 item 5.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

from pipeline_defs.executor import threaded_executor
from pipeline_defs.names import (
    FINISH,
    LAND,
    OPEN,
    START,
    to_dagster,
    workstream_job,
)
from pipeline_defs.ops import definition_name, finish_op, land_op, open_op, start_op, task_op
from pipeline_defs.plan.model import Plan, Workstream
from pipeline_defs.revisions import Revision
from resources.configurable import default_resources

Edge = dg.MultiDependencyDefinition
Resources = Mapping[str, Any]


class PlanGraphs:
    """The graphs and jobs of one plan revision.

    A code location knows each op and graph definition by its name, so the plan's job and the jobs
    of its workstreams are made of the same definitions.
    """

    def __init__(self, revision: Revision) -> None:
        self._revision = revision
        self._workstreams = {
            ws.id: _workstream_graph(revision, ws) for ws in revision.plan.workstreams
        }
        self._finish = finish_op(revision)

    def graph(self, workstream: str | None = None) -> dg.GraphDefinition:
        """The graph of the plan, or of one of its workstreams alone, with its frame ops."""
        plan = self._revision.plan
        chosen = [ws for ws in plan.workstreams if workstream in (None, ws.id)]
        graphs = {ws.id: self._workstreams[ws.id] for ws in chosen}
        start = start_op(self._revision, workstream)
        dependencies: dict[Any, dict[str, Any]] = {dg.NodeInvocation(start.name, alias=START): {}}
        for ws in chosen:
            upstream = [to_dagster(other) for other in ws.depends_on if other in graphs]
            dependencies[dg.NodeInvocation(graphs[ws.id].name, alias=to_dagster(ws.id))] = {
                "after": _after(START, *((name, "landed") for name in upstream))
            }
        dependencies[dg.NodeInvocation(self._finish.name, alias=FINISH)] = {
            "after": _after(START, *((to_dagster(ws.id), "landed") for ws in chosen))
        }
        name = workstream_job(plan.plan, workstream) if workstream else to_dagster(plan.plan)
        return dg.GraphDefinition(
            name=name,
            description=_describe(plan, chosen),
            node_defs=[start, *graphs.values(), self._finish],
            dependencies=dependencies,
        )

    def job(
        self, workstream: str | None = None, resources: Resources | None = None
    ) -> dg.JobDefinition:
        """The job of the plan, or of one of its workstreams alone.

        Args:
            workstream: its id; the whole plan without one.
            resources: those of the home that the environment names without any.
        """
        plan = self._revision.plan
        tags = {"patchline/plan": plan.plan, "patchline/revision": self._revision.sha256}
        if workstream:
            tags["patchline/workstream"] = workstream
        return self.graph(workstream).to_job(
            executor_def=_executor(plan.max_concurrent),
            resource_defs=resources or default_resources(),
            tags=tags,
        )


def build_graph(revision: Revision, workstream: str | None = None) -> dg.GraphDefinition:
    """The graph of a plan, or of one of its workstreams alone."""
    return PlanGraphs(revision).graph(workstream)


def build_job(revision: Revision, workstream: str | None = None) -> dg.JobDefinition:
    """The job of a plan, or of one of its workstreams alone."""
    return PlanGraphs(revision).job(workstream)


def build_jobs(revision: Revision, resources: Resources | None = None) -> list[dg.JobDefinition]:
    """Every job of a plan: the plan's own, then one for each enabled workstream."""
    graphs = PlanGraphs(revision)
    enabled = [ws.id for ws in revision.plan.workstreams if ws.enabled]
    return [graphs.job(workstream, resources) for workstream in (None, *enabled)]


def _workstream_graph(revision: Revision, ws: Workstream) -> dg.GraphDefinition:
    opening, landing = open_op(revision, ws), land_op(revision, ws)
    tasks = {task.id: task_op(revision, ws, task) for task in ws.tasks}
    dependencies: dict[Any, dict[str, Any]] = {dg.NodeInvocation(opening.name, alias=OPEN): {}}
    for task in ws.tasks:
        upstream = [to_dagster(other) for other in task.depends_on]
        dependencies[dg.NodeInvocation(tasks[task.id].name, alias=to_dagster(task.id))] = {
            "after": _after(OPEN, *((name, "result") for name in upstream))
        }
    dependencies[dg.NodeInvocation(landing.name, alias=LAND)] = {
        "after": _after(OPEN, *((to_dagster(task.id), "result") for task in ws.tasks))
    }
    return dg.GraphDefinition(
        name=definition_name(revision.plan.plan, ws.id, role="Workstream"),
        description=f"{ws.title or ws.id}: {len(ws.tasks)} tasks on a branch of their own.",
        node_defs=[opening, *tasks.values(), landing],
        dependencies=dependencies,
        input_mappings=[
            dg.InputMapping(
                graph_input_name="after", mapped_node_name=OPEN, mapped_node_input_name="after"
            )
        ],
        output_mappings=[
            dg.OutputMapping(
                graph_output_name="landed", mapped_node_name=LAND, mapped_node_output_name="result"
            )
        ],
    )


def _after(frame: str, *others: tuple[str, str]) -> Edge:
    first = dg.DependencyDefinition(frame, "result")
    return Edge([first, *(dg.DependencyDefinition(node, output) for node, output in others)])


def _executor(max_concurrent: int) -> dg.ExecutorDefinition:
    """The threaded executor with the plan's own limit as its default."""
    field = dg.Field(
        int, default_value=max_concurrent, description="How many tasks may run at the same time."
    )
    return threaded_executor.configured(
        lambda config: {"max_concurrent": config["max_concurrent"]},
        name="threaded",
        config_schema={"max_concurrent": field},
    )


def _describe(plan: Plan, workstreams: Sequence[Workstream]) -> str:
    lines: Iterable[str] = (
        f"- **{ws.title or ws.id}**: {len(ws.tasks)} tasks" for ws in workstreams
    )
    return "\n".join([plan.title or plan.plan, "", *lines])
