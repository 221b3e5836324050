"""Checkpoints of the audit history, and proofs that an event is under one (design section 2).

A checkpoint is a Merkle root over the hashes of the audit rows since the one before it, in the
order of `transition_id`, and chained to that one. Whoever keeps a checkpoint outside of the
database (`resources.audit_anchor`) can tell later that not one of the rows below it was changed,
put in or cut off. `state.proofs` shows that an event is among them.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self, cast

import sqlalchemy as sa

from state.canonical import canonical_json
from state.errors import EntityExistsError, PatchlineError, StoreUsageError
from state.merkle import MerkleTree
from state.schema import audit_checkpoints, state_transitions
from state.store import StateStore

_PAGE = 2000


class HistoryDamagedError(PatchlineError):
    """The audit rows are not what they were when they were written or checkpointed."""

    code = "history_damaged"

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"{what} Find out what was changed: patchline audit verify.")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A row of `audit_checkpoints`: what the audit rows of a range were at a moment.

    Attributes:
        checkpoint_id: 1, 2, 3... without a gap.
        first_transition_id: of the first row under it.
        last_transition_id: of the last row under it.
        entries: how many rows; fewer than the range is wide where a number was never used.
        root: of the Merkle tree over the rows' hashes, hexadecimal.
        prev_hash: `hash` of the checkpoint before; None for the first.
        hash: SHA-256 over the canonical JSON of all the above and `created_at`, hexadecimal.
        created_at: when it was made.
    """

    checkpoint_id: int
    first_transition_id: int
    last_transition_id: int
    entries: int
    root: str
    prev_hash: str | None
    hash: str
    created_at: str

    def as_document(self) -> dict[str, Any]:
        """What is anchored and handed out."""
        return {name: getattr(self, name) for name in _FIELDS}

    @classmethod
    def from_document(cls, document: Any) -> Self:
        """The checkpoint of such a document.

        Raises:
            StoreUsageError: it is no checkpoint.
        """
        return cls(**checked(document, _FIELDS, "checkpoint"))

    @classmethod
    def from_row(cls, row: sa.RowMapping) -> Self:
        """The checkpoint in a row of its table."""
        return cls(**{str(name): value for name, value in row.items()})

    @property
    def sound(self) -> bool:
        """Whether its hash is the one of its columns."""
        try:  # SQLite keeps anything in any column
            values = checked(self.as_document(), _FIELDS, "checkpoint")
        except StoreUsageError:
            return False
        return self.hash == _hash_of(values)


_FIELDS: Mapping[str, tuple[type, ...]] = {
    "checkpoint_id": (int,),
    "first_transition_id": (int,),
    "last_transition_id": (int,),
    "entries": (int,),
    "root": (str,),
    "prev_hash": (str, type(None)),
    "hash": (str,),
    "created_at": (str,),
}


@dataclass(frozen=True, slots=True)
class CheckpointProblem:
    """Something that is not as it was when a checkpoint was made.

    Attributes:
        code: `checkpoint_chain` (a checkpoint was changed or taken out), `checkpoint_rows` (rows
            under it were changed, put in or taken out), or one of `resources.audit_anchor`.
        checkpoint_id: which checkpoint.
        since: when all was well for the last time as far as this checkpoint tells.
        message: what, where, and since when.
    """

    code: str
    checkpoint_id: int
    since: str
    message: str


def checkpoint(store: StateStore) -> Checkpoint | None:
    """Put the audit rows since the last checkpoint under a new one; None when there are none.

    The tree is built while others write on. Whoever makes a checkpoint at the same time gets one
    over other rows, or none.

    Raises:
        HistoryDamagedError: a row has no hash, or the last checkpoint was changed.
        StoreUnavailableError: the database cannot be written.
        StoreUsageError: this thread is inside a batch.
    """
    if store.database.writes_here:
        raise StoreUsageError("A checkpoint cannot be made inside a batch: end the batch first.")
    while True:
        previous = _newest(store)
        values = _measured(store, previous)
        if values is None:
            return None
        made = Checkpoint(**values, hash=_hash_of(values))
        try:
            with store.batch() as tx:
                tx.add_checkpoint({**made.as_document(), "metadata": {}})
        except EntityExistsError:
            if _newest(store) == previous:
                raise
            continue  # somebody else made this one: what is left goes under the next
        return made


def checkpoints(store: StateStore) -> list[Checkpoint]:
    """All checkpoints, the first one first."""
    with store.reading() as connection:
        return _all(connection)


def verify_checkpoints(store: StateStore) -> list[CheckpointProblem]:
    """What is wrong with the checkpoints or with the rows under them; nothing when all is well.

    Reads the hashes that stand in the rows: whether these are the rows' own is for the chain of
    each entity to tell. One pass over the rows, none of which is kept.
    """
    problems: list[CheckpointProblem | None] = []
    with store.reading() as connection:
        previous: Checkpoint | None = None
        first: int | None = 1  # row that the next checkpoint begins at, while that can be told
        for one in _all(connection):
            problems.append(chain_problem(one, previous))
            if one.sound:
                first = one.first_transition_id if first is None else first
                problems.append(_row_problem(connection, one, first))
            previous, first = one, one.last_transition_id + 1 if one.sound else None
    return [problem for problem in problems if problem]


def checkpoint_over(connection: sa.Connection, transition_id: int) -> Checkpoint | None:
    """The checkpoint that the audit row is under; None when there is none yet."""
    columns = audit_checkpoints.c
    over = _select().where(columns.last_transition_id >= transition_id)
    row = connection.execute(over.order_by(columns.checkpoint_id).limit(1)).mappings().first()
    return Checkpoint.from_row(row) if row else None


def row_hashes(connection: sa.Connection, first: int, last: int) -> Iterator[tuple[int, bytes]]:
    """Number and hash of each audit row of a range, in order; none is kept.

    Raises:
        HistoryDamagedError: a row has no hash.
    """
    columns = state_transitions.c
    query = (
        sa.select(columns.transition_id, columns.hash)
        .where(columns.transition_id.between(first, last))
        .order_by(columns.transition_id)
        .execution_options(yield_per=_PAGE)
    )
    with connection.execute(query) as rows:
        for number, digest in rows:
            try:
                entry = bytes.fromhex(digest)
            except (TypeError, ValueError) as error:
                raise HistoryDamagedError(f"The audit row {number} has no hash.") from error
            yield number, entry


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


def checked(document: Any, fields: Mapping[str, tuple[type, ...]], what: str) -> dict[str, Any]:
    """The values of a JSON document that came from outside.

    Raises:
        StoreUsageError: it is no object, or has not exactly these fields of these kinds.
    """
    if not isinstance(document, dict):
        raise StoreUsageError(f"This is no {what}: it is no JSON object.")
    values = cast(dict[str, Any], document)
    if values.keys() != fields.keys():
        raise StoreUsageError(f"This is no {what}: it must have exactly {', '.join(fields)}.")
    for name, kinds in fields.items():
        if type(values[name]) not in kinds:  # not isinstance: true is no number here
            raise StoreUsageError(f"This is no {what}: its {name} is of the wrong kind.")
    return dict(values)


# Parts


def _hash_of(values: Mapping[str, Any]) -> str:
    hashed = {name: values[name] for name in _FIELDS if name != "hash"}
    return hashlib.sha256(canonical_json(hashed).encode()).hexdigest()


def _select() -> sa.Select[Any]:
    return sa.select(*(audit_checkpoints.c[name] for name in _FIELDS))


def _all(connection: sa.Connection) -> list[Checkpoint]:
    query = _select().order_by(audit_checkpoints.c.checkpoint_id)
    return [Checkpoint.from_row(row) for row in connection.execute(query).mappings()]


def _newest(store: StateStore) -> Checkpoint | None:
    query = _select().order_by(audit_checkpoints.c.checkpoint_id.desc()).limit(1)
    with store.reading() as connection:
        row = connection.execute(query).mappings().first()
    return Checkpoint.from_row(row) if row else None


def _settled(store: StateStore) -> int:
    """The last audit row, where no row before it can come any more.

    PostgreSQL gives numbers out before commits, so a row with a smaller number may become visible
    later. The lock waits for the transactions that have written such rows; it is held for this
    one statement alone.
    """
    with store.reading() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"LOCK TABLE {state_transitions.name} IN SHARE MODE")
        return connection.scalar(sa.select(sa.func.max(state_transitions.c.transition_id))) or 0


def _measured(store: StateStore, previous: Checkpoint | None) -> dict[str, Any] | None:
    """The columns of the next checkpoint but `hash`; None when there is nothing to put under it."""
    if previous and not previous.sound:
        raise HistoryDamagedError(
            f"Checkpoint {previous.checkpoint_id}, the last one, was changed."
        )
    after, last = previous.last_transition_id if previous else 0, _settled(store)
    tree, numbers = MerkleTree(), (0, 0)
    with store.reading() as connection:
        for number, entry in row_hashes(connection, after + 1, last):
            tree.append(entry)
            numbers = (numbers[0] or number, number)
    if not tree.size:
        return None
    now = store.now()
    return {
        "checkpoint_id": previous.checkpoint_id + 1 if previous else 1,
        "first_transition_id": numbers[0],
        "last_transition_id": numbers[1],
        "entries": tree.size,
        "root": tree.root().hex(),
        "prev_hash": previous.hash if previous else None,
        "created_at": max(now, previous.created_at) if previous else now,
    }


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
