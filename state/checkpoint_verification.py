"""Whether checkpoints, and the rows under them, are what they were (design section 2)."""

from dataclasses import dataclass

import sqlalchemy as sa

from state.checkpoints import Checkpoint, checkpoints_in, row_hashes
from state.errors import HistoryDamagedError
from state.merkle import MerkleTree
from state.store import StateStore


@dataclass(frozen=True, slots=True)
class CheckpointProblem:
    """Something that is not as it was when a checkpoint was made.

    Attributes:
        code: `checkpoint_chain` (a checkpoint was changed or taken out), `checkpoint_rows` (rows
            under it were changed, put in or taken out), or one of `resources.audit.anchor`.
        checkpoint_id: which checkpoint.
        since: when all was well for the last time as far as this checkpoint tells.
        message: what, where, and since when.
    """

    code: str
    checkpoint_id: int
    since: str
    message: str


def verify_checkpoints(store: StateStore) -> list[CheckpointProblem]:
    """What is wrong with the checkpoints or with the rows under them; nothing when all is well.

    Reads the hashes that stand in the rows: whether these are the rows' own is for the chain of
    each entity to tell. One pass over the rows, none of which is kept.
    """
    problems: list[CheckpointProblem | None] = []
    with store.reading() as connection:
        previous: Checkpoint | None = None
        first: int | None = 1  # row that the next checkpoint begins at, while that can be told
        for one in checkpoints_in(connection):
            problems.append(chain_problem(one, previous))
            if one.sound:
                first = one.first_transition_id if first is None else first
                problems.append(_row_problem(connection, one, first))
            previous, first = one, one.last_transition_id + 1 if one.sound else None
    return [problem for problem in problems if problem]


def chain_problem(one: Checkpoint, previous: Checkpoint | None) -> CheckpointProblem | None:
    """What is wrong with a checkpoint itself, or with its place after `previous` (None: first)."""
    number = previous.checkpoint_id + 1 if previous else 1
    if not one.sound:
        what = "was changed: its hash is not that of its columns"
    elif one.checkpoint_id != number:
        what = f"has no checkpoint {number} before it"
    elif one.prev_hash != (previous.hash if previous else None):
        what = "does not follow the checkpoint before it"
    else:
        return None
    message = f"Checkpoint {one.checkpoint_id} of {one.created_at} {what}."
    return CheckpointProblem("checkpoint_chain", one.checkpoint_id, str(one.created_at), message)


def _row_problem(
    connection: sa.Connection, one: Checkpoint, first: int
) -> CheckpointProblem | None:
    last, tree = one.last_transition_id, MerkleTree()
    try:
        for _, entry in row_hashes(connection, first, last):
            tree.append(entry)
    except HistoryDamagedError as damage:
        what = damage.what.rstrip(".")
    else:
        if tree.root().hex() == one.root and tree.size == one.entries:
            return None
        counted = f"{tree.size} rows are there, {one.entries} were"
        what = "a row was changed" if tree.size == one.entries else counted
    message = (
        f"The audit rows {first} to {last} are not what they were when checkpoint "
        f"{one.checkpoint_id} was made at {one.created_at}: {what}."
    )
    return CheckpointProblem("checkpoint_rows", one.checkpoint_id, one.created_at, message)
