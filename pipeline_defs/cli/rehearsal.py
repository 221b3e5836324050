"""`run --dry-run`: every check of a run, and what it would do; no rows, no tools."""

from typing import Any

import click

from pipeline_defs.cli.output import count, print_json
from pipeline_defs.plan.graph import waves
from pipeline_defs.plan.loader import LoadedPlan
from pipeline_defs.plan.model import Plan, Workstream
from pipeline_defs.preflight import check_environment
from pipeline_defs.revisions import Revision
from state.home import Home


def rehearse(
    home: Home,
    loaded: LoadedPlan,
    repo: str,
    target: str,
    base: str,
    max_concurrent: int | None,
    as_json: bool,
) -> int:
    """Check a run and print what it would do.

    Raises:
        PlanError: a task that nobody would test.
        PreflightError: the environment is not fit.
    """
    plan = loaded.plan
    # Not registered: the plan file itself stands for the copy that a run would make of it.
    revision = Revision(plan, loaded.sha256, loaded.path, loaded.path)
    fit = check_environment(home, revision, repo, base, target)
    document = {
        "plan_id": plan.plan,
        "phase_id": revision.phase_id,
        "repo": str(fit.repository.root),
        "base": base or plan.base,
        "base_commit": fit.base_commit,
        "target": fit.target,
        "max_concurrent": max_concurrent or plan.max_concurrent,
        "waves": waves(plan),
        "workstreams": [_workstream(plan, ws) for ws in plan.workstreams],
    }
    if as_json:
        print_json(document)
    else:
        _print(document)
    return 0


def _workstream(plan: Plan, ws: Workstream) -> dict[str, Any]:
    tasks = [plan.resolve(ws, task) for task in ws.tasks]
    return {
        "id": ws.id,
        "title": ws.title,
        "enabled": ws.enabled,
        "depends_on": list(ws.depends_on),
        "gates": list(ws.gates),
        "tasks": [
            {
                "id": task.name,
                "depends_on": [f"{ws.id}/{other}" for other in task.task.depends_on],
                "tool": task.tool_id,
                "command": list(task.tool.command),
                "file": task.tool.file,
                "files_scope": list(task.scope),
                "files_create": list(task.create),
                "gates": list(task.gates),
                "critical": task.critical,
                "attempts": task.max_retries + 1,
                "timeout_sec": task.timeout_sec,
            }
            for task in tasks
        ],
    }


def _print(document: dict[str, Any]) -> None:
    click.echo(
        f"Plan {document['plan_id']} is fit to run on {document['repo']}: from {document['base']}"
        f" ({document['base_commit'][:12]}) to {document['target']},"
        f" at most {count(document['max_concurrent'], 'task')} at a time."
    )
    streams = {ws["id"]: ws for ws in document["workstreams"]}
    for number, wave in enumerate(document["waves"], start=1):
        click.secho(f"wave {number}", bold=True)
        for ws in (streams[name] for name in wave):
            after = f" after {', '.join(ws['depends_on'])}" if ws["depends_on"] else ""
            off = "" if ws["enabled"] else " (disabled: would be skipped)"
            click.echo(f"  {ws['id']}{after}{off}")
            for task in ws["tasks"]:
                does = f"the patch {task['file']}" if task["file"] else " ".join(task["command"])
                click.echo(f"    {task['id']}: {does}")
                needs = [other.rpartition("/")[2] for other in task["depends_on"]]
                order = f"after {', '.join(needs)}; " if needs else ""
                click.echo(f"      {order}judged by {', '.join(task['gates'])}")
    click.echo("Nothing was run. Leave --dry-run out to run it.")
