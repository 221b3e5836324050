"""The lock file beside the event file: whose turn it is to write, and what the last writer noted.

Its two lines spare the next writer a look into file and table. Neither is needed, and neither is
believed unless it fits what is there: `<size of the current file> <last row in it>`, and
`<first row in it> <event of that row>`.
"""

import fcntl
import os

_MARK_AT = 42
"""Where the second line begins: after two numbers of 20 digits."""


class EventLock:
    """The lock between processes. Used by one thread at a time.

    Args:
        path: of the lock file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: int | None = None

    def __enter__(self) -> None:
        if self._file is None:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._held(), fcntl.LOCK_UN)

    def last_row(self, size: int) -> int | None:
        """The last row of the current file, if the note is about a file of this size."""
        words = os.pread(self._held(), _MARK_AT, 0).split()
        if len(words) == 2 and all(word.isdigit() for word in words) and int(words[0]) == size:
            return int(words[1])
        return None

    def note_end(self, size: int, last: int) -> None:
        """Note how large the current file is, and its last row."""
        os.pwrite(self._held(), b"%020d %020d\n" % (size, last), 0)

    def beginning(self) -> tuple[int, str] | None:
        """The row that the current file begins with, and its event; None when it is not known."""
        words = os.pread(self._held(), 256, _MARK_AT).partition(b"\n")[0].split()
        if len(words) == 2 and words[0].isdigit():
            return int(words[0]), words[1].decode(errors="replace")
        return None

    def note_beginning(self, row: int, event_id: str) -> None:
        """Note which row the current file is about to begin with."""
        os.pwrite(self._held(), b"%020d %s\n" % (row, event_id.encode()), _MARK_AT)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _held(self) -> int:
        assert self._file is not None, "the lock file is read and written in one's turn alone"
        return self._file
