"""One process executes a run: a lock that the system lets go of when its holder dies."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from state.errors import PreflightError
from state.home import Home
from state.locks import passing_lock
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
    with passing_lock(_lock_file(home, run_id)) as held:
        if not held:
            raise PreflightError(
                f"run {run_id} is being executed by another process",
                hint="wait for it, or stop it with Ctrl-C there, then resume",
            )
        yield


def is_executed(store: StateStore, home: Home, run_id: str) -> bool:
    """Whether some process works on the run now: one that holds it, or one with live workers."""
    from resources.execution.recovery import is_alive

    path = _lock_file(home, run_id)
    if path.exists():
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    workers = store.find("worker", run_id=run_id)
    return any(row.state not in WORKER_ENDED and is_alive(row) for row in workers)
