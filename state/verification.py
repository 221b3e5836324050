"""Is the history what it was? Every audit row is hashed anew and followed from the one before.

What the rows say against the entities is asked by SQL. A history that is whole in itself may still
lack its end or be another one: checkpoints (`state.checkpoints`) and their anchors
(`resources.audit.anchor`) tell that. Source: design section 2, "Audit".
"""

from functools import partial

from state.entity_verification import verify_entities
from state.history_problems import KEPT, History, Problem, about_all
from state.machines import MACHINES
from state.raw_history import any_text, damage_told
from state.row_verification import Progress, verify_numbers, verify_rows
from state.store import StateStore

__all__ = ["KEPT", "History", "Problem", "Progress", "verify_history"]


def verify_history(store: StateStore, progress: Progress | None = None) -> History:
    """Verify every audit row, and every entity against its rows, as of one moment.

    Raises:
        StoreUnavailableError: the database cannot be read now. One that is damaged has a problem
            with the code `unreadable` instead.
    """
    found, of_entities = History(), History()
    with (
        damage_told(store, lambda what: found.add(partial(about_all, "unreadable", what))),
        store.reading() as connection,
    ):
        verify_rows(connection, found, of_entities, progress)
        with any_text(connection):
            verify_numbers(connection, found)
            found.take(of_entities)
            for machine in MACHINES.values():
                verify_entities(connection, machine, found)
    return found
