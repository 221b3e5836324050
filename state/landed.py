"""What a workstream's branch consists of, as the ledger has it."""

from state import statements
from state.connection import Row
from state.store import StateStore

ON_THE_BRANCH = ("committed", "rolled_back")
"""Ledger states whose commit is on its workstream's branch for good."""


def landings(store: StateStore, ws_id: str) -> list[Row]:
    """The entries of a workstream whose commit is on its branch, or may be: `verified` ones.

    Only `state, base_commit, commit_sha, candidate_commit`: it is asked for in every attempt.
    """
    wanted = {"the_key": ws_id, "s0": ON_THE_BRANCH[0], "s1": ON_THE_BRANCH[1], "s2": "verified"}
    return store.look(lambda connection: connection.rows(statements.LANDINGS, wanted))
