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
    plans = store.find("compensation_plan", run_id=run_id)
    for plan in plans:
        if plan.outcome is None:
            yield from _under_way(home, plan)
    yield from _failed_rollbacks(store, home, plans)
    after_failures = [plan for plan in plans if plan.ledger_id is None and plan.outcome is not None]
    for ws_id in dict.fromkeys(plan.workstream_id for plan in after_failures):
        yield from _made_up_for(
            store, home, [plan for plan in after_failures if plan.workstream_id == ws_id]
        )


def _under_way(home: Home, plan: Any) -> Iterator[str]:
    words = ("rollback", plan.ledger_id) if plan.ledger_id else ("resume", plan.run_id)
    what = f"The rollback of {plan.ledger_id}" if plan.ledger_id else "A compensation"
    yield f"{what} has stopped before its end. Go on with: {own_command(home, *words)}"


def _failed_rollbacks(store: StateStore, home: Home, plans: Sequence[Any]) -> Iterator[str]:
    """Rollbacks of which something has failed, and nobody has tried it again with success."""
    from resources.rollback.compensation_record import actions_of
    from resources.rollback.retrying import unfinished_rollback

    failed = (plan for plan in plans if plan.ledger_id and plan.outcome == "failed")
    for key in dict.fromkeys(plan.ledger_id for plan in failed):
        newest = unfinished_rollback(store, store.get("patch_ledger", key))
        if newest is None or newest.outcome is None or newest.ledger_id != key:
            continue
        yield f"The rollback of {key} has not succeeded in all:"
        yield from _not_done(actions_of(store, newest.plan_id))
        yield f"  Mend that, then try it again: {own_command(home, 'rollback', key)}"


def _made_up_for(store: StateStore, home: Home, plans: Sequence[Any]) -> Iterator[str]:
    """What became of the actions for one failed workstream, however often they were tried."""
    from resources.rollback.compensation_record import actions_of, key_of

    slug = store.get("workstream", plans[0].workstream_id).slug
    tried = [action for plan in plans for action in actions_of(store, plan.plan_id)]
    actions = list({key_of(action): action for action in tried}.values())
    done = sum(action.status == "done" for action in actions)
    yield f"Made up for {slug}: {done} of {count(len(actions), 'action')} done."
    yield from _not_done(actions)
    if done < len(actions):
        again = own_command(home, "resume", plans[0].run_id)
        yield f"  Mend that, then try it again: {again}"


def _not_done(actions: Sequence[Any]) -> Iterator[str]:
    for action in actions:
        if action.status != "done":
            yield f"  {action.status} {action.action}: {shorten(visible(action.reason or ''))}"
