"""Replacements of patches: one at work, and those that a process has left half-way."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from pipeline_defs.cli.output import own_command
from pipeline_defs.cli.stops import orderly_stop
from state.home import Home

if TYPE_CHECKING:
    from resources.quarantine.replacement import Replacement
    from resources.quarantine.replacement_orders import Replaced
    from state.store import StateStore


@dataclass(frozen=True)
class Settled:
    """What became of a replacement that a process had left half-way.

    Attributes:
        replaces: the entry that it was for.
        target: the branch.
        landed: it, when it had landed; None when it had not, and was dropped.
    """

    replaces: str
    target: str
    landed: "Replaced | None"


@contextmanager
def replacing(
    store: "StateStore", home: Home, entry: Any, operator: str, reason: str
) -> "Iterator[tuple[Replacement, threading.Event]]":
    """A replacement of an entry whose run nobody else works on, and what Ctrl-C sets."""
    from pipeline_defs.cli.run_lock import executing
    from pipeline_defs.past_runs import repository_of_run, spec_of_run
    from resources.execution.session import RunSession
    from resources.quarantine.entries import refuse_unless_over
    from resources.quarantine.replacement import Replacement
    from resources.quarantine.replacement_orders import Request

    refuse_unless_over(store, entry)
    run = store.get("run", entry.run_id)
    spec = spec_of_run(store, home, run)
    repository = repository_of_run(home, run)
    with executing(home, run.run_id), orderly_stop() as stop:
        session = RunSession(store, home, repository, run.run_id, spec, stop)
        try:
            entry = store.get("patch_ledger", entry.ledger_id)
            yield Replacement(session, Request(entry, operator, reason)), stop
        finally:
            session.close()


def newest_half_replaced(store: "StateStore") -> Any | None:
    """The entry whose replacement was left half-way last, of whichever run; None: there is none."""
    from resources.quarantine.entries import half_replaced

    found = half_replaced(store)
    return found[-1] if found else None


def settle_replacements(store: "StateStore", home: Home, run_id: str) -> list[Settled]:
    """End what processes that are gone have left of replacements in a run. Idempotent."""
    from resources.quarantine.entries import half_replaced

    return [settle_replacement(store, home, entry) for entry in half_replaced(store, run_id=run_id)]


def settle_replacement(store: "StateStore", home: Home, entry: Any) -> Settled:
    """End what a process that is gone has left of an entry's replacement."""
    from resources.quarantine.replacement_orders import requested

    target = store.get("run", entry.run_id).target
    asked = requested(store, entry)
    by = (asked.operator, asked.reason) if asked else ("", "")
    with replacing(store, home, entry, *by) as (one, _):
        return Settled(entry.ledger_id, target, one.finish())


def as_document(settled: Settled) -> dict[str, Any]:
    """For programs: the same keys as those of `patch replace --json`."""
    landed = settled.landed
    return {
        "replaces": settled.replaces,
        "target": settled.target,
        "ledger_id": landed.ledger_id if landed else None,
        "state": "committed" if landed else "not_landed",
        "commit_sha": landed.commit if landed else None,
    }


def tell_settled(home: Home, settled: Settled, *, err: bool = False) -> int:
    """Say for people what became of it, on stdout or stderr; the exit code."""
    if settled.landed is not None:
        for line in landed_words(settled.landed, settled.replaces, settled.target):
            click.echo(line, err=err)
        return 0
    again = own_command(home, "patch", "replace", settled.replaces, "FILE")
    click.echo(f"The replacement of {settled.replaces} had not landed; it is dropped.", err=err)
    click.echo(f"{settled.replaces} stays in quarantine. To replace it: {again}", err=err)
    return 1


def landed_words(landed: "Replaced", replaces: str, target: str) -> list[str]:
    """What is said of a replacement that is on its target."""
    where = f"{landed.ledger_id} has landed on {target} as {landed.commit[:12]}."
    return [where, f"{replaces} is dropped."]
