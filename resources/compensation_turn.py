"""One process at a time makes up for the work of a workstream; the lock goes with its holder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from state.home import Home


@contextmanager
def compensation_turn(home: Home, ws_id: str) -> Iterator[bool]:
    """Hold a workstream for the duration of a block, if nobody else of this home does.

    Args:
        home: the home, which every process of the installation shares.
        ws_id: the workstream.

    Yields:
        Whether it is held now; it never waits.
    """
    path = home.root / "locks" / f"compensation-{ws_id}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("a+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            if not _is_still(path, file.fileno()):
                continue  # its last holder removed it between our opening and locking it
            try:
                yield True
            finally:
                path.unlink(missing_ok=True)
            return


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
