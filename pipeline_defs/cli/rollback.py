"""`rollback`: take back a patch that has landed, and what it led to."""

import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline_defs.cli.entries import operator_option
from pipeline_defs.cli.output import json_option, own_command, print_json
from pipeline_defs.cli.patch_names import named_patch
from pipeline_defs.cli.rollback_told import going_on, rehearse, tell, tell_blocked
from pipeline_defs.cli.stops import orderly_stop
from state.home import Home

if TYPE_CHECKING:
    from resources.rollback.manager import RollbackManager
    from resources.rollback.report import RollbackReport
    from state.store import StateStore


@click.command()
@click.argument("ledger")
@click.option("--reason", metavar="TEXT", help="Why; kept in the history.")
@click.option(
    "--plan",
    "plan_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A compensation plan, instead of what the tasks declare.",
)
@click.option(
    "--cascade",
    is_flag=True,
    help="Take later patches that changed the same lines back too, the newest first.",
)
@operator_option
@click.option("--dry-run", is_flag=True, help="Say what would be taken back; change nothing.")
@json_option
def rollback(
    ledger: str,
    reason: str | None,
    plan_file: Path | None,
    cascade: bool,
    operator: str,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Take LEDGER back: a ledger entry, the beginning of its id, or any name of its commit.

    Its change is reverted by a three-way merge, so that what landed later stays; the result must
    pass the gates that the change had to pass, and lands as a commit of its own. Asked again after
    a crash, it goes on; after a failure, it tries what has not succeeded again and repeats nothing
    that has. Neither needs --reason.

    Exit code 0 when it is taken back, 1 when it cannot be or an action failed, 2 for bad input, 3
    when the environment is not fit (local changes in the target's checkout, say), 130 after Ctrl-C.
    """
    from pipeline_defs.cli.run_lock import executing
    from pipeline_defs.cli.stores import required_store
    from resources.rollback.report import RollbackFailed
    from resources.rollback.survey import RollbackBlocked

    home = Home.find()
    with required_store(home) as store, orderly_stop() as stop:
        entry = named_patch(store, ledger)
        key, run_id = entry.ledger_id, entry.run_id
        manager = manager_for(store, home, run_id, stop)
        _refuse_moved_name(home, manager, ledger, entry)
        earlier = manager.unfinished(key)
        if earlier is None and not (reason and reason.strip()) and not dry_run:
            raise click.UsageError("Say why with --reason; it is kept in the history.")
        given = _given(store, home, run_id, plan_file)
        try:
            if dry_run:
                return rehearse(home, manager, key, given, cascade, as_json)
            with executing(home, run_id):
                manager.take_over()
                if earlier is not None:
                    click.echo(going_on(earlier), err=True)
                report = manager.roll_back(
                    key, reason=reason or "", operator=operator, given=given, cascade=cascade
                )
        except RollbackBlocked as blocked:
            return tell_blocked(blocked, as_json)
        except RollbackFailed as failed:
            report = failed.report
    if as_json:
        print_json(report.as_document())
    return tell(home, report, err=as_json)


def _refuse_moved_name(home: Home, manager: "RollbackManager", named: str, entry: Any) -> None:
    """`HEAD` was the bad change; since then it is the rollback that has not succeeded in all.

    Raises:
        click.UsageError: with the name that does not move.
    """
    if entry.ledger_id.startswith(named) or (entry.commit_sha or "").startswith(named):
        return
    unfinished = manager.unfinished_by(entry.ledger_id)
    if unfinished is not None:
        again = own_command(home, "rollback", unfinished.ledger_id)
        raise click.UsageError(
            f"{named!r} is now the rollback of {unfinished.ledger_id}, which has not succeeded in "
            f"all. To go on with it: {again}; to have the patch again, name {entry.ledger_id}."
        )


def manager_for(
    store: "StateStore", home: Home, run_id: str, stop: threading.Event
) -> "RollbackManager":
    """The manager of a run of this store; every run keeps to the plan that it followed."""
    from pipeline_defs.past_runs import repository_of_run, spec_of_run
    from resources.rollback.manager import RollbackManager

    run = store.get("run", run_id)
    specs = lru_cache(lambda one: spec_of_run(store, home, store.get("run", one)))
    repository = repository_of_run(home, run)
    return RollbackManager(store, home, repository, run_id, specs, stop)


def take_up(store: "StateStore", home: Home, row: Any, as_json: bool) -> int | None:
    """Go on with what a run that has ended has left: replacements, rollbacks, compensations.

    Args:
        store: the state.
        home: the home.
        row: the run.
        as_json: print a JSON document, a list with one part for each.

    Returns:
        The exit code; None when nothing is left.
    """
    from pipeline_defs.cli.patch_settling import as_document, settle_replacements, tell_settled
    from pipeline_defs.cli.run_lock import executing

    if row.phase_id is None or not Path(row.repo).is_dir():
        return None
    settled = settle_replacements(store, home, row.run_id)
    reports: tuple[RollbackReport, ...] = ()
    with orderly_stop() as stop:
        manager = manager_for(store, home, row.run_id, stop)
        owed = manager.has_unfinished()
        if owed:
            with executing(home, row.run_id):
                manager.take_over()
                reports = manager.finish()
    if not settled and not owed:
        return None
    if as_json:
        print_json([*map(as_document, settled), *(one.as_document() for one in reports)])
    codes = [tell_settled(home, one, err=as_json) for one in settled]
    codes += [tell(home, one, run_id=row.run_id, err=as_json) for one in reports]
    return max(codes, default=0)


def _given(store: "StateStore", home: Home, run_id: str, path: Path | None) -> Any:
    if path is None:
        return None
    from pipeline_defs.compensation_file import load_compensation_plan
    from pipeline_defs.past_runs import spec_of_run

    return load_compensation_plan(path, spec_of_run(store, home, store.get("run", run_id)).gates)
