"""`patch drop`, `patch replace`, `patch show`: what becomes of a patch that was refused."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline_defs.cli.entries import operator_option
from pipeline_defs.cli.output import json_option, own_command, print_json
from pipeline_defs.cli.patch_names import named_patch
from pipeline_defs.cli.patch_settling import landed_words, replacing, settle_replacement
from pipeline_defs.cli.patch_show import show
from pipeline_defs.cli.stores import required_store
from pipeline_defs.cli.terminal_text import visible
from state.home import Home

if TYPE_CHECKING:
    from resources.quarantine.replacement_orders import NotLanded, Outcome, Rejected

__all__ = ["drop", "replace", "show"]

INTERRUPTED = 130
FEEDBACK_LINES = 40


@click.command()
@click.argument("ledger")
@click.option("--reason", required=True, metavar="WHY", help="Why nobody wants it.")
@operator_option
@json_option
def drop(ledger: str, reason: str, operator: str, as_json: bool) -> int:
    """Discard the quarantined patch LEDGER. It stays readable with `patch show`.

    Exit code 1 when it is not quarantined, 2 when there is no such patch.
    """
    from resources.quarantine.entries import drop as drop_entry
    from resources.quarantine.entries import half_replaced

    home = Home.find()
    with required_store(home) as store:
        entry = named_patch(store, ledger)
        if half_replaced(store, ledger_id=entry.ledger_id):
            settle_replacement(store, home, entry)  # it may have landed, which drops the entry too
            entry = store.get("patch_ledger", entry.ledger_id)
        drop_entry(store, entry, reason, operator)
        entry = store.get("patch_ledger", entry.ledger_id)
    if as_json:
        print_json({"ledger_id": entry.ledger_id, "state": entry.state, "reason": reason})
    else:
        click.echo(f"{entry.ledger_id} is dropped.")
    return 0


@click.command()
@click.argument("ledger")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--reason", default="replaced by hand", metavar="WHY", help="For the history.")
@operator_option
@json_option
def replace(ledger: str, file: Path, reason: str, operator: str, as_json: bool) -> int:
    """Land the patch in FILE on the target, in the place of the quarantined patch LEDGER.

    FILE is held to what the task's own patch was held to: the policy and scope of its plan, and
    then the task's gates and its workstream's on exactly the tree that lands. It must fit the
    target branch as it is now. What it replaces is dropped.

    Exit code 0 when it has landed, 1 when it was rejected or a gate failed (LEDGER stays in
    quarantine), 2 for bad input, 3 when the run still works or the environment is not fit. After a
    crash, ask again.
    """
    home = Home.find()
    with required_store(home) as store:
        entry = named_patch(store, ledger)
        with replacing(store, home, entry, operator, reason) as (one, stop):
            outcome = one.land(file, stop)
        target = store.get("run", entry.run_id).target
    return _report(home, entry.ledger_id, target, outcome, as_json)


# -- saying --------------------------------------------------------------------------------------


def _report(home: Home, replaced: str, target: str, outcome: "Outcome", as_json: bool) -> int:
    from resources.quarantine.replacement_orders import NotLanded, Rejected, Replaced

    document: dict[str, Any] = {"replaces": replaced, "target": target}
    match outcome:
        case Replaced(ledger_id, commit):
            document |= {"ledger_id": ledger_id, "state": "committed", "commit_sha": commit}
            words, code = landed_words(outcome, replaced, target), 0
        case Rejected():
            document |= {"ledger_id": None, "state": "rejected", "commit_sha": None}
            document["reasons"] = [reason.to_json() for reason in outcome.reasons]
            words, code = _rejected(outcome, replaced), 1
        case NotLanded(ledger_id, reason):
            document |= {"ledger_id": ledger_id, "state": "not_landed", "commit_sha": None}
            document |= {"reason": reason, "feedback": outcome.feedback}
            words = _not_landed(home, outcome, replaced)
            code = INTERRUPTED if outcome.interrupted else 1
    if as_json:
        print_json(document)
    else:
        for line in words:
            click.echo(visible(line))
    return code


def _rejected(outcome: "Rejected", replaced: str) -> list[str]:
    reasons = [f"  {one.code}: {one.message}" for one in outcome.reasons]
    return ["The patch is rejected:", *reasons, f"Nothing landed; {replaced} stays in quarantine."]


def _not_landed(home: Home, outcome: "NotLanded", replaced: str) -> list[str]:
    lines = outcome.feedback.rstrip("\n").split("\n")
    said = {"", *outcome.reason.split("; ")}  # gates without output say nothing but the reason
    tail = [] if said.issuperset(lines) else lines[-FEEDBACK_LINES:]
    more = own_command(home, "patch", "show", outcome.ledger_id)
    return [
        f"The patch did not land: {outcome.reason}",
        *(f"  {line}" for line in tail),
        f"{replaced} stays in quarantine. More: {more}",
    ]
