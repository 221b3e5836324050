"""`validate`, `plan add` and `plan list`: plan files before anything runs."""

from pathlib import Path
from typing import Any

import click

from pipeline_defs.cli.output import count, json_option, print_json, print_table
from state.errors import PlanError, PlanProblem
from state.home import Home

PLAN = click.Path(path_type=Path)


@click.command()
@click.argument("plan", type=PLAN)
@json_option
def validate(plan: Path, as_json: bool) -> int:
    """Check the file PLAN: every error and warning with file, line and column.

    Exit code 0 when the plan is good, warnings or not; 2 when it is not.
    """
    from pipeline_defs.plan.report import validate_file

    document = validate_file(plan)
    errors, warnings = document["errors"], document["warnings"]
    if as_json:
        print_json(document)
        return 2 if errors else 0
    for kind, problems in (("Error", errors), ("Warning", warnings)):
        for problem in problems:
            click.echo(f"{kind}: {PlanProblem(**problem)}", err=True)
    if errors:
        click.echo(f"{plan}: {count(len(errors), 'error')}.")
        return 2
    parts = [count(document["workstreams"], "workstream"), count(document["tasks"], "task")]
    click.echo(f"{plan}: plan {document['plan_id']} is good: {', '.join(parts)}.")
    for number, wave in enumerate(document["waves"], start=1):
        click.echo(f"  wave {number}: {', '.join(wave)}")
    return 0


@click.group()
def plan() -> None:
    """Register plans for the Dagster UI; list those registered."""


@plan.command()
@click.argument("plans", type=PLAN, nargs=-1, required=True)
@json_option
def add(plans: tuple[Path, ...], as_json: bool) -> int:
    """Register the files PLANS, so that the Dagster UI shows and launches their jobs.

    All of them are checked first; when one is bad, none is registered.
    """
    from pipeline_defs.plan.loader import LoadedPlan, load_plan
    from pipeline_defs.preflight import check_home
    from pipeline_defs.revisions import register

    loaded: list[LoadedPlan] = []
    problems: list[PlanProblem] = []
    for path in plans:
        try:
            loaded.append(load_plan(path))
        except PlanError as error:
            problems.extend(error.problems)
    if problems:
        raise PlanError(problems)
    home = Home.find()
    check_home(home)
    entries = [_entry(register(home, one)) for one in loaded]
    if as_json:
        print_json({"plans": entries})
        return 0
    for entry in entries:
        click.echo(f"{entry['plan']}: registered as {entry['phase_id']} ({entry['sha256']})")
        click.echo(f"  jobs: {', '.join(entry['jobs'])}")
    return 0


@plan.command("list")
@json_option
def list_plans(as_json: bool) -> int:
    """List the registered plans and their current revisions."""
    from pipeline_defs.revisions import current_revisions

    entries: list[dict[str, Any]] = []
    problems: list[PlanProblem] = []
    for found in current_revisions(Home.find()):
        if isinstance(found, PlanError):
            problems.extend(found.problems)
        else:
            entries.append(_entry(found))
    if as_json:
        print_json({"plans": entries, "errors": [one.as_dict() for one in problems]})
        return 0
    for problem in problems:
        click.echo(f"Warning: left out: {problem}", err=True)
    if entries:
        names = ("plan", "phase_id", "workstreams", "tasks", "source")
        print_table(names, [[entry[name] for name in names] for entry in entries])
    else:
        click.echo("No plan is registered yet. Register one with: patchline plan add PLAN")
    return 0


def _entry(revision: Any) -> dict[str, Any]:
    from pipeline_defs.names import to_dagster, workstream_job

    plan = revision.plan
    alone = [workstream_job(plan.plan, ws.id) for ws in plan.workstreams if ws.enabled]
    return {
        "plan": plan.plan,
        "phase_id": revision.phase_id,
        "sha256": revision.sha256,
        "title": plan.title,
        "source": str(revision.source),
        "workstreams": len(plan.workstreams),
        "tasks": sum(1 for _ in plan.tasks()),
        "jobs": [to_dagster(plan.plan), *alone],
    }
