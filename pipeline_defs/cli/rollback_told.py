"""What `rollback` says: what it would do, what is in the way, how it went."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from pipeline_defs.cli.output import count, own_command, print_json
from pipeline_defs.cli.terminal_text import visible
from state.home import Home

if TYPE_CHECKING:
    from resources.rollback.compensation import CompensationPlan, Step
    from resources.rollback.manager import RollbackManager
    from resources.rollback.report import RollbackReport
    from resources.rollback.survey import RollbackBlocked

FAILED, INTERRUPTED = 1, 130


def going_on(plan: Any) -> str:
    """What is done about a rollback that did not come to a good end."""
    if plan.outcome is None:
        return f"Goes on with {plan.plan_id}, as it was asked for then."
    return f"{plan.plan_id} has failed. What has not succeeded is tried again, and nothing else."


# -- without doing it ----------------------------------------------------------------------------


def rehearse(
    home: Home,
    manager: "RollbackManager",
    ledger_id: str,
    given: "CompensationPlan | None",
    cascade: bool,
    as_json: bool,
) -> int:
    """Say what would be done.

    Raises:
        RollbackBlocked: it would be refused.
    """
    begun = manager.begun(ledger_id)
    if begun is not None:
        instead = manager.instead(ledger_id, given) if given else None
        return _tell_begun(home, begun, instead, as_json)
    survey = manager.survey(ledger_id, given)
    survey.refuse_blocked(cascade=cascade)
    if as_json:
        print_json(survey.report("dry_run").as_document())
        return 0
    click.echo(f"On {survey.branch} at {survey.head[:12]} this would take back:")
    for row in survey.entries:
        click.echo(f"  {row.ledger_id}  {row.commit_sha[:12]}")
    click.echo(f"By: {', '.join(step.action.value for step in survey.steps)}.")
    return 0


def _tell_begun(
    home: Home, report: "RollbackReport", instead: "tuple[Step, ...] | None", as_json: bool
) -> int:
    """A rollback that has begun is not rehearsed: it can only be gone on with.

    `instead` are the steps that a given plan has for what is left.
    """
    if as_json:
        print_json(report.as_document())
        return 0
    how = "is under way" if report.outcome == "open" else "has not succeeded in all"
    click.echo(f"{report.plan_id} {how} on {report.target}.")
    for line in _actions(report):
        click.echo(visible(line))
    again = own_command(home, "rollback", report.ledger_id or "")
    if instead is None:
        click.echo(f"Go on with: {again}")
    else:
        left = ", ".join(step.action.value for step in instead) or "nothing"
        click.echo(f"By the given plan, in the place of what is left: {left}.")
        click.echo(f"Go on with: {again} --plan FILE")
    return 0


def tell_blocked(blocked: "RollbackBlocked", as_json: bool) -> int:
    """Say who is in the way. Nothing has changed."""
    if as_json:
        print_json(blocked.report.as_document())
    click.echo(visible(f"Refused, and nothing has changed: {blocked}."), err=True)
    return FAILED


# -- when it is done -----------------------------------------------------------------------------


def tell(home: Home, report: "RollbackReport", *, run_id: str = "", err: bool = False) -> int:
    """Say for people how it went, on stdout or stderr; the exit code.

    Args:
        home: the home.
        report: how it went.
        run_id: the run, where a failure was made up for that nobody had asked for.
        err: on stderr.
    """
    words = ("rollback", report.ledger_id) if report.ledger_id else ("resume", run_id)
    again = own_command(home, *words)
    for line in _summary(home, report, again):
        click.echo(visible(line), err=err)
    if report.outcome == "open":
        click.echo(f"Stopped before its end. Go on with: {again}", err=True)
        return INTERRUPTED
    return 0 if report.outcome == "done" else FAILED


def _summary(home: Home, report: "RollbackReport", again: str) -> Iterator[str]:
    revert = report.revert or {}
    commit = (revert.get("commit_sha") or "")[:12]
    if report.rolled_back:
        many = count(len(report.rolled_back), "patch")
        yield f"Took {many} back on {report.target} by {commit}:"
        yield from (f"  {ledger_id}" for ledger_id in report.rolled_back)
    else:
        yield f"Nothing was taken back; {report.target} is at {(report.head or 'none')[:12]}."
    yield from _actions(report)
    if revert.get("state") == "quarantined":
        yield f"What the gates said: {own_command(home, 'patch', 'show', revert['ledger_id'])}"
    if report.outcome == "failed":
        yield f"Mend what failed, then try it again; what is done is not repeated: {again}"
    elif report.rolled_back:
        undo = own_command(home, "rollback", revert["ledger_id"], "--reason WHY")
        yield f"To look at it: git show {commit}"
        yield f"To have it again: {undo}"


def _actions(report: "RollbackReport") -> Iterator[str]:
    for one in report.actions:
        about = f" of {one['task']}" if one["task"] else ""
        reason = f": {one['reason']}" if one["reason"] else ""
        yield f"  {one['status']:8} {one['action']}{about}{reason}"
