"""The event files for the one whose turn it is: where they stand, and what is appended to them."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from state.audit import TransitionRecord
from state.crash_points import crash_point
from state.database import Database
from state.event_files import (
    RotatedFile,
    event_id_of,
    first_line,
    last_line,
    rotated_files,
    rotated_path,
)
from state.event_lines import as_lines
from state.event_lock import EventLock
from state.event_rows import first_row_after, rows_of

_LOG = logging.getLogger(__name__)
_UNKNOWN = -1


class EventFileMismatch(OSError):
    """The file's lines are not those that the table and the other files ask for."""


class EventWriter:
    """Appends to the current file and renames full ones. Used in one's turn alone.

    Args:
        path: of the current file.
        database: the one with the table.
        max_bytes: how large a file may grow, 0 for without limit.
        lock: with the notes of the last writer.

    Attributes:
        size: of the current file, as it was left, in bytes.
        last: the last row up to there.
    """

    def __init__(self, path: Path, database: Database, max_bytes: int, lock: EventLock) -> None:
        self.path = path
        self.size = _UNKNOWN
        self.last = 0
        self._database = database
        self._max_bytes = max_bytes
        self._lock = lock
        self._name = str(path)
        self._file: int | None = None
        self._inode = 0

    def look(self, *, trust: bool) -> None:
        """Find out where the file stands, so that `size` and `last` are right.

        Args:
            trust: whether it is enough to know who wrote last, if the size fits.

        Raises:
            EventFileMismatch: the file is not of this database, or damaged.
        """
        file, size = self._opened()
        if not trust or not self._is_known(size):
            self._examine(file, size)

    def set_aside(self, path: Path) -> None:
        """Keep a file that is not of this database, or is damaged, under another name."""
        kept = path.with_name(path.name + ".old")
        _LOG.warning("%s does not fit the database; it is kept as %s.", path, kept.name)
        os.replace(path, kept)
        crash_point(
            "event-file-set-aside", "a file that does not fit has another name; none is there"
        )

    def _opened(self) -> tuple[int, int]:
        """The event file and its size; opened again when it was replaced, removed or rotated."""
        try:
            found = os.stat(self._name)
        except FileNotFoundError:
            found = None
        file = self._file
        if file is None or found is None or found.st_ino != self._inode:
            self.close()
            mode = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            file = self._file = os.open(self._name, mode, 0o644)
            found = os.fstat(file)
            self._inode = found.st_ino
        return file, found.st_size

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
        self._file, self.size = None, _UNKNOWN

    def _is_known(self, size: int) -> bool:
        """Whether the last row is known: we wrote last, or another writer left word of it."""
        if size == self.size:
            return True
        last = self._lock.last_row(size)
        if last is None:
            return False
        self.size, self.last = size, last
        return True

    def _examine(self, file: int, size: int) -> None:
        """Find out from the file where it stands; cut off a torn line at its end.

        Raises:
            EventFileMismatch: it is not of this database, or damaged.
        """
        line, end = last_line(file, size)
        if end != size:
            os.ftruncate(file, end)
        if line is None:
            self._remember(end, self._before_current())
            return
        first, last = event_id_of(first_line(file, end)), event_id_of(line)
        rows = rows_of(self._database, first, last) if first and last else {}
        if first not in rows or last not in rows or not self._may_begin_with(rows[first], first):
            raise EventFileMismatch(f"{self.path} does not fit the database.")
        self._remember(end, rows[last])

    def _may_begin_with(self, row: int, event_id: str) -> bool:
        """Whether a row is the one that the current file has to begin with."""
        if self._lock.beginning() == (row, event_id):
            return True
        full = rotated_files(self.path)
        return row == first_row_after(self._database, full[-1].last if full else 0)

    def _before_current(self) -> int:
        """The row after which an empty current file begins."""
        full = rotated_files(self.path)
        mark = self._lock.beginning()
        while full and not self._ends_as_named(full[-1]):
            self.set_aside(full.pop().path)
            mark = None
        last = full[-1].last if full else 0
        # The mark knows better when the newest full files were deleted.
        if mark and rows_of(self._database, mark[1]).get(mark[1]) == mark[0]:
            last = max(last, mark[0] - 1)
        return last

    def _ends_as_named(self, full: RotatedFile) -> bool:
        file = os.open(full.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(file).st_size
            line, end = last_line(file, size)
        finally:
            os.close(file)
        last = event_id_of(line)
        return (
            last is not None and end == size and rows_of(self._database, last) == {last: full.last}
        )

    def _remember(self, size: int, last: int) -> None:
        self.size, self.last = size, last
        self._lock.note_end(size, last)

    # Writing

    def write(self, records: Sequence[TransitionRecord]) -> None:
        """Append rows that come after `last`, and give full files their names.

        Raises:
            HistoryDamagedError: see `as_lines`; nothing is written then.
        """
        lines = as_lines(records)
        place = 0
        while place < len(lines):
            begin, size = place, self.size
            while place < len(lines) and self._fits(size, lines[place]):
                size += len(lines[place])
                place += 1
            if place == begin:
                self._rotate()
            else:
                data = "".join(lines[begin:place]).encode()
                self._put(data, records[begin], records[place - 1].transition_id)

    def _fits(self, size: int, line: str) -> bool:
        return size == 0 or not self._max_bytes or size + len(line) <= self._max_bytes

    def _put(self, data: bytes, first: TransitionRecord, last: int) -> None:
        file, size = self._file, self.size + len(data)
        assert file is not None
        if self.size == 0:
            self._lock.note_beginning(first.transition_id, first.event_id)
            crash_point("event-file-begun", "its first row is noted beside the file; it is empty")
        while data:
            data = data[os.write(file, data) :]
        crash_point("events-written", "they are in the file; how far it goes is not noted")
        self._remember(size, last)

    def _rotate(self) -> None:
        """Give the full file its name and begin a new one.

        A writer that dies in between leaves no current file, or an empty one; `_before_current`
        then goes on after the full one. It is on disk before its name says that it is whole.

        Raises:
            EventFileMismatch: its first line is no event.
        """
        file, size = self._file, self.size
        assert file is not None
        first = event_id_of(first_line(file, size))
        row = rows_of(self._database, first).get(first) if first else None
        if row is None:
            raise EventFileMismatch(f"{self.path} does not fit the database.")
        os.fsync(file)
        crash_point("event-file-full", "all of it is on disk; it is still the current one")
        full = rotated_path(self.path, row, self.last)
        if full.exists():
            self.set_aside(full)
        os.rename(self._name, full)
        crash_point("event-file-renamed", "the full file has its name; there is no current one")
        last = self.last
        self._opened()
        self._remember(0, last)
