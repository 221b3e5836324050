"""What all transactions of a store share."""

from dataclasses import dataclass

from state.audit import Contexts
from state.clock_and_ids import Clock, IdSource


@dataclass(frozen=True, slots=True)
class Settings:
    """Time, ids, strictness and remembered contexts."""

    clock: Clock
    ids: IdSource
    strict: bool
    contexts: Contexts
