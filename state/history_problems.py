"""What may be wrong with a history, and the words for it (see `state.verification`)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from state.machines import NONE_STATE

KEPT = 1000
"""How many problems are kept; the rest are counted."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the history that is not as the store wrote it.

    Attributes:
        code: `row_changed` (its hash is not that of its columns), `chain_broken` (it does not carry
            the hash of the row before: rows were taken out, put in or moved), `state_gap`,
            `version_gap`, `time_order` (it does not go on from the row before),
            `illegal_transition`, `unknown_type`; `rows_missing`, `tail_missing` (numbers were given
            to rows that are not there; SQLite alone can tell); `entity_changed` (an entity is not
            what its audit rows say), `entity_missing` (an audited entity has no row),
            `audit_missing` (an entity has no audit row); `unreadable` (the database itself is
            damaged).
        entity_type: of the entity that it is about; None for the whole database.
        entity_id: of the same.
        transition_id: the first audit row that is wrong or missing; when the entity is wrong, the
            row that says otherwise.
        event_id: of that row.
        since: when that row was written, or the one before a missing one; of an entity without
            history when it was made; empty when nothing tells.
        message: what, where, and since when.
    """

    code: str
    entity_type: str | None
    entity_id: str | None
    transition_id: int | None
    event_id: str | None
    since: str
    message: str


@dataclass(slots=True)
class History:
    """What verification has found.

    Attributes:
        entries: audit rows that were looked at.
        count: how many problems there are.
        problems: the first `KEPT` of them, rows before entities.
    """

    entries: int = 0
    count: int = 0
    problems: list[Problem] = field(default_factory=list[Problem])

    def add(self, problem: Callable[[], Problem]) -> None:
        """Count a problem; it is worded only when it is kept."""
        self.count += 1
        if self.count <= KEPT:
            self.problems.append(problem())

    def take(self, other: "History") -> None:
        """Put the problems of another one behind these."""
        self.count += other.count
        self.problems = (self.problems + other.problems)[:KEPT]


class Place(NamedTuple):
    """Of an audit row what its place in the chain takes; anything may stand in any column."""

    entity_type: Any
    entity_id: Any
    entity_version: Any
    from_state: Any
    to_state: Any
    transitioned_at: Any
    prev_hash: Any
    hash: Any
    transition_id: Any
    event_id: Any


NOTHING = Place(None, None, 0, None, NONE_STATE, "", None, None, None, None)
"""Before the first row of an entity."""


def about_all(code: str, message: str, number: int | None = None, since: str = "") -> Problem:
    """A problem of the whole history."""
    return Problem(code, None, None, number, None, since, message)


def about(code: str, row: Place, since: str, message: str) -> Problem:
    """A problem of an audit row, or of its entity."""
    event = None if row.event_id is None else shown(row.event_id)
    whose = (shown(row.entity_type), shown(row.entity_id))
    return Problem(code, *whose, row.transition_id, event, since, message)


def named(entity_type: Any, entity_id: Any) -> str:
    """An entity in words."""
    return f"{shown(entity_type).replace('_', ' ')} {shown(entity_id)}"


def shown(value: Any) -> str:
    """A stored value in words; SQLite keeps anything in any column."""
    return value if isinstance(value, str) else repr(value)
