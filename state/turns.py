"""Turns between processes, in the order of asking.

SQLite has no queue: whoever finds it locked sleeps and looks again, ever less often, so the longer
a process has waited, the less likely it is to be next. This queue stands before SQLite's own lock,
which still guards the file; programs that do not know it are only less polite.
"""

import fcntl
import os
import threading
from pathlib import Path


class ProcessTurn:
    """A place in the queue of processes; not for several threads at once.

    Args:
        path: of the lock file; it is made at the first use.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def acquire(self, timeout: float) -> bool:
        """Wait for one's turn, at most so many seconds; says whether it came.

        Raises:
            OSError: the lock file cannot be written.
        """
        file, self._file = self._file, None
        if file is None:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not _Waiting(file).came_within(timeout):
                return False
        self._file = file
        return True

    def release(self) -> None:
        """Pass it on to whoever has waited longest."""
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the lock file."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


class _Waiting:
    """The wait in the queue: it cannot be given up, so a thread waits that can be left behind."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._guard = threading.Lock()
        self._came = threading.Event()
        self._left = False

    def came_within(self, timeout: float) -> bool:
        threading.Thread(target=self._wait, name="patchline-turn", daemon=True).start()
        try:
            self._came.wait(timeout)
        except BaseException:  # an interrupt
            if not self._leave():
                os.close(self._file)
            raise
        return self._came.is_set() or not self._leave()

    def _leave(self) -> bool:
        """Give the wait up; False when the turn had come just before."""
        with self._guard:
            if self._came.is_set():
                return False
            self._left = True
            return True

    def _wait(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        with self._guard:
            if self._left:
                os.close(self._file)  # which passes the turn on
            else:
                self._came.set()
