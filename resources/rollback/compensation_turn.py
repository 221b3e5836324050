"""One process at a time makes up for the work of a workstream; the lock goes with its holder."""

from contextlib import AbstractContextManager

from state.home import Home
from state.locks import passing_lock


def compensation_turn(home: Home, ws_id: str) -> AbstractContextManager[bool]:
    """Hold a workstream for the duration of a block, if nobody else of this home does.

    Args:
        home: the home, which every process of the installation shares.
        ws_id: the workstream.

    Returns:
        A context that says whether it is held now; it never waits.
    """
    return passing_lock(home.root / "locks" / f"compensation-{ws_id}.lock")
