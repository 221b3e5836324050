"""Threads of one process take turns on a branch by a lock; processes do by `landing.turns`."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from resources.git.repository import Repository

_locks: defaultdict[tuple[str, str], threading.RLock] = defaultdict(threading.RLock)
_locks_guard = threading.Lock()


@contextmanager
def landing_turn(repository: Repository, branch: str) -> Iterator[None]:
    """Wait for the turn of this thread to land on a branch."""
    with _locks_guard:
        lock = _locks[str(repository.git_dir), branch]
    with lock:
        yield
