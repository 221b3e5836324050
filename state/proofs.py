"""Proofs that an event is in the history, for somebody who cannot see the database.

A proof holds one audit row and a Merkle path to a checkpoint (`state.checkpoints`); it shows no
other row. What the checkpoint itself is worth, its anchor tells (`resources.audit.anchor`).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import sqlalchemy as sa

from state.canonical import canonical_json
from state.chain import canonical_row
from state.checkpoints import (
    Checkpoint,
    checked,
    checkpoint_over,
    row_hashes,
)
from state.errors import EntityNotFoundError, HistoryDamagedError, PatchlineError, StoreUsageError
from state.merkle import MerkleTree, includes
from state.schema import audit_checkpoints, state_transitions
from state.store import StateStore


class NotCheckpointedError(PatchlineError):
    """The event is newer than the last checkpoint, so nothing proves it yet."""

    code = "not_checkpointed"

    def __init__(self, event_id: str, transition_id: int, last: int) -> None:
        self.event_id, self.transition_id, self.last = event_id, transition_id, last
        so_far = f"the last one ends at row {last}" if last else "there is none yet"
        super().__init__(
            f"The event {event_id} (row {transition_id}) is under no checkpoint: {so_far}. "
            "Make one first: patchline audit checkpoint."
        )


@dataclass(frozen=True, slots=True)
class Proof:
    """That an event was in the history when a checkpoint was made; needs no database.

    Attributes:
        event: the audit row's canonical JSON, the bytes of its hash.
        hash: of the row.
        place: of the row among those of the checkpoint, from 0.
        path: the Merkle path from the row to the root, the lowest first.
        checkpoint: the checkpoint over it. Compare its hash with the one anchored in the
            repository: a proof is worth as much as the place where its checkpoint was found.
    """

    event: str
    hash: str
    place: int
    path: tuple[str, ...]
    checkpoint: Checkpoint

    def as_document(self) -> dict[str, Any]:
        """As JSON; `root` is the checkpoint's."""
        return {
            "event": self.event,
            "hash": self.hash,
            "place": self.place,
            "path": list(self.path),
            "root": self.checkpoint.root,
            "checkpoint": self.checkpoint.as_document(),
        }

    @classmethod
    def from_document(cls, document: Any) -> Self:
        """The proof of such a document.

        Raises:
            StoreUsageError: it is no proof, or names two roots.
        """
        values = checked(document, _PROOF_FIELDS, "proof")
        checkpoint = Checkpoint.from_document(values["checkpoint"])
        path: list[Any] = values["path"]
        if not all(isinstance(step, str) for step in path):
            raise StoreUsageError("This is no proof: its path has steps that are no text.")
        if values["root"] != checkpoint.root:
            raise StoreUsageError("This is no proof: its root is not that of its checkpoint.")
        return cls(values["event"], values["hash"], values["place"], tuple(path), checkpoint)


_PROOF_FIELDS: Mapping[str, tuple[type, ...]] = {
    "event": (str,),
    "hash": (str,),
    "place": (int,),
    "path": (list,),
    "root": (str,),
    "checkpoint": (dict,),
}


def prove(store: StateStore, event_id: str) -> Proof:
    """A proof that the event is under a checkpoint.

    Raises:
        EntityNotFoundError: there is no such event.
        NotCheckpointedError: it is newer than the last checkpoint.
        HistoryDamagedError: the rows are not those that the checkpoint was made of.
    """
    with store.reading() as connection:
        row, event = _row(connection, event_id)
        one = _over(connection, row)
        first, number = one.first_transition_id, row["transition_id"]
        before = state_transitions.c.transition_id.between(first, number - 1)
        counted = sa.select(sa.func.count()).select_from(state_transitions).where(before)
        place = connection.execute(counted).scalar_one()
        tree = MerkleTree(watched=place)
        for _, entry in row_hashes(connection, first, one.last_transition_id):
            tree.append(entry)
    path = tuple(step.hex() for step in tree.inclusion_path())
    proof = Proof(event, row["hash"], place, path, one)
    if not verify_proof(proof):
        raise _damaged(event_id, number, one)
    return proof


def verify_proof(proof: Proof) -> bool:
    """Whether the proof holds; whether its checkpoint is a true one, its anchor tells."""
    try:
        event = hashlib.sha256(proof.event.encode()).digest()
        own, root = bytes.fromhex(proof.hash), bytes.fromhex(proof.checkpoint.root)
        path = [bytes.fromhex(step) for step in proof.path]
    except ValueError:
        return False
    entries = proof.checkpoint.entries
    return (
        event == own and proof.checkpoint.sound and includes(root, entries, proof.place, own, path)
    )


def _row(connection: sa.Connection, event_id: str) -> tuple[dict[str, Any], str]:
    """The event's audit row, and its canonical JSON."""
    wanted = sa.select(state_transitions).where(state_transitions.c.event_id == event_id)
    try:  # somebody may have put any text in the place of the metadata
        found = connection.execute(wanted).mappings().first()
        if found is None:
            raise EntityNotFoundError("event", event_id)
        row = {str(name): value for name, value in found.items()}
        return row, canonical_row(row, canonical_json(row["metadata"])).decode()
    except ValueError as error:
        raise HistoryDamagedError(f"The event {event_id} cannot be read: {error}.") from error


def _over(connection: sa.Connection, row: Mapping[str, Any]) -> Checkpoint:
    """The checkpoint over an audit row."""
    event_id, number = row["event_id"], row["transition_id"]
    one = checkpoint_over(connection, number)
    if one is None:
        last = connection.execute(sa.select(sa.func.max(audit_checkpoints.c.last_transition_id)))
        raise NotCheckpointedError(event_id, number, last.scalar() or 0)
    if not one.sound or number < one.first_transition_id:
        raise _damaged(event_id, number, one)
    return one


def _damaged(event_id: str, number: int, one: Checkpoint) -> HistoryDamagedError:
    return HistoryDamagedError(
        f"The event {event_id} (row {number}) cannot be proved: checkpoint {one.checkpoint_id} or "
        f"the rows under it are not what they were at {one.created_at}."
    )
