"""What was taken back of a run, and made up for, as lines of its summary."""

from collections.abc import Iterator, Sequence
from typing import Any

from pipeline_defs.cli.output import count, own_command, shorten
from pipeline_defs.cli.terminal_text import visible
from state.home import Home
from state.store import StateStore


def taken_back(store: StateStore, home: Home, run_id: str) -> Iterator[str]:
    """Rollbacks of a run's patches, and compensations of its failed workstreams."""
    entries = {row.ledger_id: row for row in store.find("patch_ledger", run_id=run_id)}
    rolled_back = [row for row in entries.values() if row.state == "rolled_back"]
    if rolled_back:
        yield f"Rolled back since: {count(len(rolled_back), 'patch')}."
    for row in rolled_back:
        by = entries.get(row.reverted_by or "")
        commit = f" by commit {by.commit_sha[:12]}" if by is not None and by.commit_sha else ""
        yield f"  {row.ledger_id}{commit}: {shorten(visible(row.rollback_reason or ''))}"
    for plan in store.find("compensation_plan", run_id=run_id):
        actions = store.find("compensation_action", plan_id=plan.plan_id)
        if plan.outcome is None:
            yield from _under_way(home, plan, run_id)
        elif plan.ledger_id is None:
            yield from _made_up_for(store, plan, actions)


def _under_way(home: Home, plan: Any, run_id: str) -> Iterator[str]:
    words = ("rollback", plan.ledger_id) if plan.ledger_id else ("resume", run_id)
    what = f"The rollback of {plan.ledger_id}" if plan.ledger_id else "A compensation"
    yield f"{what} has stopped before its end. Go on with: {own_command(home, *words)}"


def _made_up_for(store: StateStore, plan: Any, actions: Sequence[Any]) -> Iterator[str]:
    slug = store.get("workstream", plan.workstream_id).slug
    done = sum(action.status == "done" for action in actions)
    yield f"Made up for {slug}: {done} of {count(len(actions), 'action')} done."
    for action in sorted(actions, key=lambda row: row.position):
        if action.status != "done":
            yield f"  {action.status} {action.action}: {shorten(visible(action.reason or ''))}"
