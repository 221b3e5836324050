"""`run` and `resume`: a plan to its end in this process."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline_defs.cli.output import json_option
from state.errors import EntityNotFoundError, PreflightError
from state.home import Home
from state.machines import MACHINES

if TYPE_CHECKING:
    from state.store import StateStore

RUN_ENDED = MACHINES["run"].terminal


@click.command()
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--repo", default="", metavar="DIR", help="The repository, instead of the plan's.")
@click.option(
    "--target", default="", metavar="BRANCH", help="The branch to land on, instead of the plan's."
)
@click.option(
    "--base", default="", metavar="REV", help="The revision to start from, instead of the plan's."
)
@click.option(
    "--max-concurrent",
    type=click.IntRange(min=1, max=1000),
    metavar="N",
    help="How many tasks at the same time, instead of the plan's number.",
)
@click.option(
    "--dry-run", is_flag=True, help="Check everything and say what would run; run nothing."
)
@json_option
def run(
    plan: Path,
    repo: str,
    target: str,
    base: str,
    max_concurrent: int | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Run the file PLAN to its end, with live progress on stderr.

    Exit code 0 when the run succeeded, 1 when it failed or was canceled, 2 for a bad plan, 3 when
    the environment is not fit (nothing was started), 130 after Ctrl-C (`patchline resume` goes on).
    """
    from pipeline_defs.cli.rehearsal import rehearse
    from pipeline_defs.plan.loader import load_plan
    from pipeline_defs.plan.report import check_tested
    from pipeline_defs.preflight import check_home

    loaded = load_plan(plan)
    check_tested(loaded.plan, loaded.data, str(plan))
    home = Home.find()
    check_home(home)
    home.create()
    if dry_run:
        return rehearse(home, loaded, repo, target, base, max_concurrent, as_json)

    from pipeline_defs.cli.execution import execute_and_report
    from pipeline_defs.revisions import register
    from pipeline_defs.runs import Launch, open_run
    from state.store import StateStore

    revision = register(home, loaded)
    launch = Launch(revision, repo=repo, target=target, base=base)
    with StateStore.open(home.database_url, events=home.events) as store:
        row = open_run(store, home, launch, max_concurrent)
        return execute_and_report(store, home, revision, row, as_json=as_json)


@click.command()
@click.argument("run", required=False)
@json_option
def resume(run: str | None, as_json: bool) -> int:
    """Go on with RUN, or with the newest run that has not ended.

    Needs neither the plan file nor --repo: the run keeps to the revision it began with. What is
    committed stays; what was half-way is rolled back and done again.
    """
    from pipeline_defs.cli.run_lock import is_executed
    from pipeline_defs.cli.stores import existing_store
    from pipeline_defs.revisions import open_revision
    from state.whole_files import write_whole

    home = Home.find()
    with existing_store(home) as store:
        if store is None:
            raise EntityNotFoundError("run", run)
        row = store.get("run", run) if run else _newest_open(store)
        if row.state in RUN_ENDED:
            _clear_up(store, home, row)
            done = _take_back_what_is_owed(store, home, row, as_json)
            if done is not None:
                return done
            raise click.UsageError(
                f"Run {row.run_id} has ended: it {row.state}. Ended runs are never reopened;"
                " start a new one with: patchline run PLAN"
            )
        if is_executed(store, home, row.run_id):
            raise PreflightError(
                f"run {row.run_id} is being executed by another process",
                hint="wait for it, or stop it with Ctrl-C there, then resume",
            )
        phase = store.get("phase", row.phase_id)
        path = home.plans / phase.plan / f"{phase.sha256}.yaml"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, phase.document.encode())
        revision = open_revision(path, phase.source)
        from pipeline_defs.cli.execution import execute_and_report

        return execute_and_report(store, home, revision, row, as_json=as_json, resumed=True)


def _clear_up(store: "StateStore", home: Home, row: Any) -> None:
    """Remove what a process has left that died behind the last change of its run's state."""
    from pipeline_defs.cli.run_lock import executing, is_executed
    from resources.execution.recovery import Recovery
    from resources.git.repository import Repository

    if is_executed(store, home, row.run_id) or not Path(row.repo).is_dir():
        return  # its process is about to end, or there is nothing that it could have left in git
    with executing(home, row.run_id):
        repository = Repository.open(Path(row.repo), home.root)
        Recovery(store, home, repository, row.run_id).take_over()


def _take_back_what_is_owed(store: "StateStore", home: Home, row: Any, as_json: bool) -> int | None:
    """Go on with rollbacks of an ended run, and with making up for its failures."""
    from pipeline_defs.cli.rollback import take_up

    return take_up(store, home, row, as_json)


def _newest_open(store: "StateStore") -> Any:
    """The newest run that has not ended; or else that of a rollback or replacement half-way."""
    rows = [row for row in store.find("run") if row.state not in RUN_ENDED]
    if rows:
        return rows[-1]
    from pipeline_defs.cli.patch_settling import newest_half_replaced
    from resources.rollback.compensation_record import plans_of

    plans = plans_of(store, open_only=True)
    left = plans[-1] if plans else newest_half_replaced(store)
    if left is None:
        raise click.UsageError("There is no run to go on with: all have ended.")
    return store.get("run", left.run_id)
