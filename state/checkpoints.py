"""Checkpoints of the audit history (design section 2).

A checkpoint is a Merkle root over the hashes of the audit rows since the one before it, in the
order of `transition_id`, and chained to that one. Whoever keeps a checkpoint outside of the
database (`resources.audit.anchor`) can tell later that not one of the rows below it was changed,
put in or cut off. `state.checkpoint_verification` compares the two; `state.proofs` shows that an
event is among the rows.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import Any, Self, cast

import sqlalchemy as sa

from state.canonical import canonical_json
from state.errors import EntityExistsError, HistoryDamagedError, StoreUsageError
from state.merkle import MerkleTree
from state.raw_history import COLUMNS, any_text, damage_told, hash_of, raw_pages_between
from state.schema import audit_checkpoints, state_transitions
from state.store import StateStore

_PAGE = 2000
_NUMBER, _HASH = COLUMNS.index("transition_id"), COLUMNS.index("hash")


def refuse_damaged(what: str) -> None:
    """Raises HistoryDamagedError; for `state.raw_history.damage_told`."""
    raise HistoryDamagedError(what)


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


def checkpoint(store: StateStore) -> Checkpoint | None:
    """Put the audit rows since the last checkpoint under a new one; None when there are none.

    The tree is built while others write on, and nobody waits: rows behind which another one may
    still appear, of a transaction that runs, are left to the next checkpoint. Whoever makes a
    checkpoint at the same time gets one over other rows, or none.

    Raises:
        HistoryDamagedError: a row's hash is not its own, or the last checkpoint was changed.
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
        return checkpoints_in(connection)


def checkpoints_in(connection: sa.Connection) -> list[Checkpoint]:
    """All checkpoints that a transaction sees, the first one first."""
    query = _select().order_by(audit_checkpoints.c.checkpoint_id)
    return [Checkpoint.from_row(row) for row in connection.execute(query).mappings()]


def uncovered(store: StateStore) -> int:
    """How many audit rows are under no checkpoint: what nothing outside can tell of yet."""
    with store.reading() as connection, any_text(connection):
        last = max(
            (one.last_transition_id for one in checkpoints_in(connection) if one.sound), default=0
        )
        later = state_transitions.c.transition_id > last
        counted = sa.select(sa.func.count()).select_from(state_transitions).where(later)
        return connection.execute(counted).scalar_one()


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


def _newest(store: StateStore) -> Checkpoint | None:
    query = _select().order_by(audit_checkpoints.c.checkpoint_id.desc()).limit(1)
    with store.reading() as connection:
        row = connection.execute(query).mappings().first()
    return Checkpoint.from_row(row) if row else None


def _settled(store: StateStore, after: int) -> int:
    """The last audit row up to which no other can appear any more; see `Database.settled`."""
    while (further := store.database.settled(after)) > after:
        after = further
    return after


def _measured(store: StateStore, previous: Checkpoint | None) -> dict[str, Any] | None:
    """The columns of the next checkpoint but `hash`; None when there is nothing to put under it."""
    if previous and not previous.sound:
        raise HistoryDamagedError(
            f"Checkpoint {previous.checkpoint_id}, the last one, was changed."
        )
    after = previous.last_transition_id if previous else 0
    last = _settled(store, after)
    tree, numbers = MerkleTree(), (0, 0)
    with damage_told(store, refuse_damaged), store.reading() as connection:
        for number, entry in _right_hashes(connection, after + 1, last):
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


def _right_hashes(connection: sa.Connection, first: int, last: int) -> Iterator[tuple[int, bytes]]:
    """Number and hash of each audit row of a range, in order; each is hashed anew.

    Raises:
        HistoryDamagedError: a row's hash is not that of its columns.
    """
    with closing(raw_pages_between(connection, first, last)) as pages:
        for raw in chain.from_iterable(pages):
            number, digest = raw[_NUMBER], raw[_HASH]
            if digest is None or hash_of(raw) != digest:
                raise HistoryDamagedError(
                    f"The audit row {number} was changed: its hash is not that of its columns. "
                    "No checkpoint is made over it."
                )
            yield number, bytes.fromhex(digest)
