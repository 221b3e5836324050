"""The lock file beside the event file: whose turn it is to write, and what the last writer noted.

Its lines spare the next writer a look into file and table; none is believed unless it fits what is
there. `<size of the current file> <last row in it>`; `<a row that is kept but stands behind a gap>`
(`state.postgresql`); `<first row in the file> <event of that row>`.

At most one process waits for its turn to publish: it looks into the table once the turn has come,
so the others may leave their rows to it. Its place is a lock of its own, on `<lock file>.next`,
which a process that dies lets go of, too.
"""

import fcntl
import os

_LEFT_AT = 42
_BEGINNING_AT = 63
# The lines before are of one or two numbers of 20 digits.


class EventLock:
    """The lock between processes. Used by one thread at a time.

    Args:
        path: of the lock file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: int | None = None
        self._next: int | None = None

    def __enter__(self) -> None:
        fcntl.flock(self._opened(), fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self.release()

    def take_at_once(self) -> bool:
        """Take the turn if nobody has it."""
        return _taken(self._opened())

    def take_as_next(self) -> bool:
        """Wait for the turn, unless another process waits already; says whether it came.

        Whoever waited has to look into the table: others may have left their rows to it. Those were
        kept before anybody can find the place of the one who waits free again.
        """
        if self._next is None:
            self._next = _open(f"{self._path}.next")
        if not _taken(self._next):
            return False
        try:
            fcntl.flock(self._opened(), fcntl.LOCK_EX)
        finally:
            fcntl.flock(self._next, fcntl.LOCK_UN)
        return True

    def release(self) -> None:
        """Pass the turn on."""
        fcntl.flock(self._opened(), fcntl.LOCK_UN)

    # Notes, for the one whose turn it is

    def last_row(self, size: int) -> int | None:
        """The last row of the current file, if the note is about a file of this size."""
        words = os.pread(self._opened(), _LEFT_AT, 0).split()
        if len(words) == 2 and all(word.isdigit() for word in words) and int(words[0]) == size:
            return int(words[1])
        return None

    def note_end(self, size: int, last: int) -> None:
        """Note how large the current file is, and its last row."""
        os.pwrite(self._opened(), b"%020d %020d\n" % (size, last), 0)

    def left(self) -> int:
        """The highest row that was kept and could not be written yet, or a lower one, or 0."""
        word = os.pread(self._opened(), _BEGINNING_AT - _LEFT_AT, _LEFT_AT).strip()
        return int(word) if word.isdigit() else 0

    def note_left(self, row: int) -> None:
        """Note that rows up to this one wait behind a gap, for whoever ends it."""
        os.pwrite(self._opened(), b"%020d\n" % row, _LEFT_AT)

    def beginning(self) -> tuple[int, str] | None:
        """The row that the current file begins with, and its event; None when it is not known."""
        words = os.pread(self._opened(), 256, _BEGINNING_AT).partition(b"\n")[0].split()
        if len(words) == 2 and words[0].isdigit():
            return int(words[0]), words[1].decode(errors="replace")
        return None

    def note_beginning(self, row: int, event_id: str) -> None:
        """Note which row the current file is about to begin with."""
        os.pwrite(self._opened(), b"%020d %s\n" % (row, event_id.encode()), _BEGINNING_AT)

    def close(self) -> None:
        """Let go of the files."""
        for file in (self._file, self._next):
            if file is not None:
                os.close(file)
        self._file = self._next = None

    def _opened(self) -> int:
        if self._file is None:
            self._file = _open(self._path)
        return self._file


def _open(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _taken(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
