"""What a workstream's branch consists of, as the ledger has it."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, select

from state.schema import patch_ledger_entries
from state.store import StateStore

ON_THE_BRANCH = ("committed", "rolled_back")
"""Ledger states whose commit is on its workstream's branch for good."""


def landings(store: StateStore, ws_id: str) -> Sequence[Row[*tuple[Any, ...]]]:
    """The entries of a workstream whose commit is on its branch, or may be: `verified` ones.

    Only `state, base_commit, commit_sha, candidate_commit`: it is asked for in every attempt.
    """
    columns = patch_ledger_entries.c
    chosen = select(
        columns.state, columns.base_commit, columns.commit_sha, columns.candidate_commit
    ).where(columns.workstream_id == ws_id, columns.state.in_((*ON_THE_BRANCH, "verified")))
    with store.reading() as connection:
        return connection.execute(chosen).all()
