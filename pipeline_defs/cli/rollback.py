"""`rollback`: take back a patch that has landed, and what it led to."""

import threading
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline_defs.cli.entries import named_entry, operator_option
from pipeline_defs.cli.output import count, json_option, own_command, print_json
from pipeline_defs.cli.stops import orderly_stop
from pipeline_defs.cli.terminal_text import visible
from state.errors import PatchlineError
from state.home import Home

if TYPE_CHECKING:
    from resources.rollback.manager import RollbackManager
    from resources.rollback.report import RollbackReport
    from resources.rollback.survey import Survey
    from state.store import StateStore

FAILED, INTERRUPTED = 1, 130


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
    """Take LEDGER back: a ledger entry, the beginning of its id, or its commit.

    Its change is reverted by a three-way merge, so that what landed later stays; the result must
    pass the gates that the change had to pass, and lands as a commit of its own. Asked again after
    a crash, it goes on (and needs no --reason).

    Exit code 0 when it is taken back, 1 when it cannot be or an action failed, 2 for bad input, 3
    when the environment is not fit (local changes in the target's checkout, say), 130 after Ctrl-C.
    """
    from pipeline_defs.cli.run_lock import executing, is_executed
    from pipeline_defs.cli.stores import required_store
    from resources.rollback.survey import RollbackBlocked
    from state.errors import PreflightError

    home = Home.find()
    with required_store(home) as store, orderly_stop() as stop:
        entry = named_entry(store, ledger)
        manager = manager_for(store, home, entry.run_id, stop)
        under_way = manager.open_rollback(entry.ledger_id)
        if under_way is None and not (reason and reason.strip()) and not dry_run:
            raise click.UsageError("Say why with --reason; it is kept in the history.")
        given = _given(store, home, entry.run_id, plan_file)
        if dry_run and under_way is not None:
            return _under_way(store, home, under_way, as_json)
        if dry_run:
            return _rehearse(manager.survey(entry.ledger_id, given), cascade, as_json)
        if is_executed(store, home, entry.run_id):
            raise PreflightError(
                f"run {entry.run_id} is being executed by another process",
                hint="wait for it, or stop it with Ctrl-C there",
            )
        with executing(home, entry.run_id):
            manager.take_over()
            if under_way is not None:
                blockers, plan_id = (), under_way.plan_id
                click.echo(f"Goes on with {plan_id}, as it was asked for then.", err=True)
            else:
                survey = manager.survey(entry.ledger_id, given)
                try:
                    plan_id = manager.request(
                        survey,
                        reason=reason or "",
                        operator=operator,
                        cascade=cascade,
                    )
                except RollbackBlocked as refused:
                    return _refused(survey, refused, as_json)
                blockers = survey.closure.blockers
            report = manager.carry_out(plan_id, blockers)
        if as_json:
            print_json(report.as_document())
        return tell(home, report, err=as_json)


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
    """Go on with what is left to be taken back or made up for in a run that has ended.

    Args:
        store: the state.
        home: the home.
        row: the run.
        as_json: print a JSON document, a list with one report for each.

    Returns:
        The exit code; None when nothing is left.
    """
    from pipeline_defs.cli.run_lock import executing

    if row.phase_id is None or not Path(row.repo).is_dir():
        return None
    with orderly_stop() as stop:
        manager = manager_for(store, home, row.run_id, stop)
        if not manager.has_unfinished():
            return None
        with executing(home, row.run_id):
            manager.take_over()
            reports = manager.finish()
    if as_json:
        print_json([one.as_document() for one in reports])
    codes = [tell(home, one, err=as_json) for one in reports]
    return max(codes, default=0)


def _given(store: "StateStore", home: Home, run_id: str, path: Path | None) -> Any:
    if path is None:
        return None
    from pipeline_defs.compensation_file import load_compensation_plan
    from pipeline_defs.past_runs import spec_of_run

    return load_compensation_plan(path, spec_of_run(store, home, store.get("run", run_id)).gates)


# -- saying --------------------------------------------------------------------------------------


def _rehearse(survey: "Survey", cascade: bool, as_json: bool) -> int:
    """What would be done; exit code 1 when it would be refused."""
    from resources.rollback.survey import RollbackBlocked

    try:
        survey.refuse_blocked(cascade=cascade)
    except RollbackBlocked as refused:
        return _refused(survey, refused, as_json)
    if as_json:
        print_json(survey.report("dry_run").as_document())
        return 0
    click.echo(f"On {survey.branch} at {survey.head[:12]} this would take back:")
    for row in survey.entries:
        click.echo(f"  {row.ledger_id}  {row.commit_sha[:12]}")
    click.echo(f"By: {', '.join(step.action.value for step in survey.steps)}.")
    return 0


def _under_way(store: "StateStore", home: Home, plan: Any, as_json: bool) -> int:
    """A rollback that has begun is not rehearsed: it can only be gone on with."""
    from resources.rollback.report import report_of

    if as_json:
        print_json(report_of(store, plan.plan_id, None).as_document())
        return 0
    again = own_command(home, "rollback", plan.ledger_id)
    click.echo(f"{plan.plan_id} is under way on {plan.document['branch']}. Go on with: {again}")
    return 0


def _refused(survey: "Survey", refused: PatchlineError, as_json: bool) -> int:
    """Say who is in the way. Nothing has changed."""
    if as_json:
        print_json(survey.report("refused").as_document())
    click.echo(visible(f"Refused, and nothing has changed: {refused}."), err=True)
    return FAILED


def tell(home: Home, report: "RollbackReport", *, err: bool = False) -> int:
    """Say for people how it went, on stdout or stderr; the exit code."""
    for line in _summary(home, report):
        click.echo(visible(line), err=err)
    if report.outcome == "open":
        again = own_command(home, "rollback", report.ledger_id or "LEDGER")
        click.echo(f"Stopped before its end. Go on with: {again}", err=True)
        return INTERRUPTED
    return 0 if report.outcome == "done" else FAILED


def _summary(home: Home, report: "RollbackReport") -> Iterator[str]:
    revert = report.revert or {}
    commit = (revert.get("commit_sha") or "")[:12]
    if report.rolled_back:
        many = count(len(report.rolled_back), "patch")
        yield f"Took {many} back on {report.target} by {commit}:"
        yield from (f"  {ledger_id}" for ledger_id in report.rolled_back)
    else:
        yield f"Nothing was taken back; {report.target} is at {(report.head or 'none')[:12]}."
    for one in report.actions:
        about = f" of {one['task']}" if one["task"] else ""
        reason = f": {one['reason']}" if one["reason"] else ""
        yield f"  {one['status']:8} {one['action']}{about}{reason}"
    if revert.get("state") == "quarantined":
        yield f"What the gates said: {own_command(home, 'patch', 'show', revert['ledger_id'])}"
    if report.outcome == "failed" and not report.rolled_back:
        yield "Mend what failed, then ask again."
    elif report.outcome == "failed":
        yield "The patches are taken back; what failed after that is for you to do."
    elif report.rolled_back:
        again = own_command(home, "rollback", revert["ledger_id"], "--reason WHY")
        yield f"To look at it: git show {commit}"
        yield f"To have it again: {again}"
