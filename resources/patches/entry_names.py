"""What people call a ledger entry: by its task, by its commit, by the beginning of its id."""

from typing import Any

import sqlalchemy as sa

from state.schema import patch_ledger_entries
from state.store import StateStore

SHORTEST_COMMIT = 7
"""Digits of a commit's name that are taken for one."""


def label_of(store: StateStore, entry: Any) -> str | None:
    """`workstream/task` of a ledger entry; None for one that belongs to no task."""
    if entry.task_id is None:
        return None
    task = store.get("task", entry.task_id)
    stream = store.get("workstream", task.workstream_id)
    return f"{stream.slug or stream.ws_id}/{task.slug or task.task_id}"


def entries_named(store: StateStore, named: str) -> list[Any]:
    """Every ledger entry that a name may mean.

    Args:
        store: the state.
        named: a whole id; or the beginning of one, or of the commit that an entry landed with.
    """
    whole = store.find("patch_ledger", ledger_id=named)
    if whole or not named:
        return whole
    columns = patch_ledger_entries.c
    means = columns.ledger_id.startswith(named, autoescape=True)
    if len(named) >= SHORTEST_COMMIT:
        means |= columns.commit_sha.startswith(named.lower(), autoescape=True)
    query = sa.select(columns.ledger_id).where(means).order_by(columns.ledger_id)
    with store.reading() as connection:
        ids = list(connection.execute(query).scalars())
    return [store.get("patch_ledger", ledger_id) for ledger_id in ids]
