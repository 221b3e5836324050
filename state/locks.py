"""Locks between threads and between processes."""

import fcntl
import os
import threading
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


class FairLock:
    """A lock that is passed on in the order of asking; it knows who holds it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._held = False
        self.owner: int | None = None

    def acquire(self) -> None:
        """Wait for one's turn."""
        with self._guard:
            if not self._held:
                self._held = True
                self.owner = threading.get_ident()
                return
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        try:
            turn.acquire()
        except BaseException:
            self._give_up(turn)
            raise
        self.owner = threading.get_ident()

    def _give_up(self, turn: threading.Lock) -> None:
        """Leave the queue (an interrupt came); pass the turn on if it had come already."""
        with self._guard:
            if turn in self._waiting:
                self._waiting.remove(turn)
                return
        self.release()

    def release(self) -> None:
        """Pass it on to whoever has waited longest."""
        with self._guard:
            self.owner = None
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._held = False

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


@contextmanager
def file_lock(path: Path) -> Generator[int]:
    """Hold a lock between processes; gives the lock file's descriptor."""
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


@contextmanager
def passing_lock(path: Path) -> Generator[bool]:
    """Hold a lock between processes if nobody else does; gives whether it is held now.

    It never waits, goes with its holder however that ends, and leaves no file behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("a+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            if not still_named(path, file.fileno()):
                continue  # its last holder removed it between our opening and locking it
            try:
                yield True
            finally:
                path.unlink(missing_ok=True)
            return


def still_named(path: Path, descriptor: int) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
