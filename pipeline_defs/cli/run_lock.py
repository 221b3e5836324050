"""One process executes a run: a lock that the system lets go of when its holder dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from state.errors import PreflightError
from state.home import Home
from state.machines import MACHINES
from state.store import StateStore

WORKER_ENDED = MACHINES["worker"].terminal


def _lock_file(home: Home, run_id: str) -> Path:
    return home.root / "locks" / f"{run_id}.lock"


@contextmanager
def executing(home: Home, run_id: str) -> Iterator[None]:
    """Hold a run for the duration of a block.

    Raises:
        PreflightError: another process holds it.
    """
    path = _lock_file(home, run_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("a+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise PreflightError(
                    f"run {run_id} is being executed by another process",
                    hint="wait for it, or stop it with Ctrl-C there, then resume",
                ) from error
            if not _is_still(path, file.fileno()):
                continue  # its last holder removed it between our opening and locking it
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def is_executed(store: StateStore, home: Home, run_id: str) -> bool:
    """Whether some process works on the run now: one that holds it, or one with live workers."""
    from resources.recovery import is_alive

    path = _lock_file(home, run_id)
    if path.exists():
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    workers = store.find("worker", run_id=run_id)
    return any(row.state not in WORKER_ENDED and is_alive(row) for row in workers)


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
