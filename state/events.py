"""The event file: `transitions.jsonl`, a projection of the audit table (design section 2).

The table is the truth. After each commit the new rows are appended under a lock between processes;
nobody holds a transaction while he waits for it. A file that would grow past its limit is renamed
first (`state.event_files`), so over the whole series of files each row stands exactly once, in the
order of the rows.

Where to go on is noted in the lock file (`state.event_lock`); where the note does not fit, the
file's own first and last lines and the names of the full files tell it. A file that tells nothing
is kept aside and its rows are written anew. So a writer that is killed anywhere leaves nothing
that the next one does not mend.

Full files may be moved away or deleted: they are not written again. `state.event_repair` compares
every line with the table; `state.event_follow` reads the files as they grow.
"""

import logging
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from state.audit import TransitionRecord
from state.database import Database
from state.errors import StoreUnavailableError, StoreUsageError
from state.event_files import (
    RotatedFile,
    event_id_of,
    first_line,
    last_line,
    rotated_files,
    rotated_path,
)
from state.event_lock import EventLock
from state.event_rows import as_lines, first_row_after, rows_of, settled_pages

MAX_BYTES = 64 * 1024 * 1024
MAX_BYTES_VARIABLE = "PATCHLINE_EVENTS_MAX_BYTES"

_LOG = logging.getLogger(__name__)
_UNKNOWN = -1


class EventFileMismatch(OSError):
    """The file's lines are not those that the table and the other files ask for."""


class EventFile:
    """Keeps the event files equal to the audit table. Many threads may share one.

    Args:
        path: of the current file; its lock file and the full files lie beside it.
        database: the one with the table.
        max_bytes: how large a file may grow, 0 for without limit; by default
            `$PATCHLINE_EVENTS_MAX_BYTES`, or 64 MiB. A single longer line has a file of its own.

    Raises:
        StoreUsageError: the environment variable is not a number of bytes.
    """

    def __init__(self, path: Path, database: Database, max_bytes: int | None = None) -> None:
        self.path = path
        self.database = database
        self.max_bytes = _limit_from_environment() if max_bytes is None else max_bytes
        self._name = str(path)
        self._guard = threading.Lock()
        self._pending: deque[Sequence[TransitionRecord]] = deque()
        self._file: int | None = None
        self._lock = EventLock(f"{path}.lock")
        self._inode = 0
        self._size = _UNKNOWN  # of the open file, as we left it, and the last row up to there
        self._last = 0

    def enqueue(self, records: Sequence[TransitionRecord]) -> None:
        """Note rows that were just committed, in the order of their commits."""
        if records:
            self._pending.append(records)

    def publish(self) -> None:
        """Append the rows that were noted, and what other writers have left.

        When it returns the caller's rows are in the file, written by itself or by another thread;
        on PostgreSQL, rows behind a transaction that still runs are written by the one that ends
        it. The rows are in the table already, so a file that cannot be written is no reason to
        fail the change: it is logged, and the next change or `catch_up` brings the file up to date.
        """
        try:
            with self._guard:
                records: list[TransitionRecord] = []
                while self._pending:
                    records += self._pending.popleft()
                if records:
                    records.sort(key=_number)
                    with self._lock:
                        self._append_or_begin_again(records)
        except (OSError, SQLAlchemyError, sqlite3.Error, StoreUnavailableError) as error:
            _LOG.error("The event file %s lags behind: %s. It catches up later.", self.path, error)

    def catch_up(self) -> None:
        """Bring the file up to date with the table, and mend its beginning and its end.

        Raises:
            StoreUnavailableError: the file cannot be written.
        """
        try:
            with self.turn():
                self._append_or_begin_again(())
        except OSError as error:
            raise StoreUnavailableError(
                f"The event file {self.path} cannot be written: {error.strerror or error}. Check "
                "that you may write it and its folder, and that the disk is not full."
            ) from error

    def close(self) -> None:
        """Let go of the files."""
        with self._guard:
            self._let_go()
            self._lock.close()

    @contextmanager
    def turn(self) -> Generator[None]:
        """The turn among threads and processes: nobody else writes any of the files."""
        with self._guard, self._lock:
            yield

    def bring_up(self) -> tuple[int, int]:
        """Like `catch_up`, inside a `turn`; says the current file's size and its last row."""
        self._append_or_begin_again(())
        return self._size, self._last

    def set_aside(self, path: Path) -> None:
        """Keep a file that is not of this database, or is damaged, under another name."""
        kept = path.with_name(path.name + ".old")
        _LOG.warning("%s does not fit the database; it is kept as %s.", path, kept.name)
        os.replace(path, kept)

    def _append_or_begin_again(self, records: Sequence[TransitionRecord]) -> None:
        try:
            self._append(records)
        except EventFileMismatch:
            self.set_aside(self.path)
            self._append(())

    def _append(self, records: Sequence[TransitionRecord]) -> None:
        file, size = self._opened()
        if not records or not self._is_known(size):
            self._examine(file, size)
        if records:
            first, last = records[0].transition_id, records[-1].transition_id
            if last <= self._last:
                return
            if first == self._last + 1 and last - first == len(records) - 1:
                self._write(records)
                return
        for page in settled_pages(self.database, self._last):
            self._write(page)

    # Where the file stands

    def _opened(self) -> tuple[int, int]:
        """The event file and its size; opened again when it was replaced, removed or rotated."""
        try:
            found = os.stat(self._name)
        except FileNotFoundError:
            found = None
        file = self._file
        if file is None or found is None or found.st_ino != self._inode:
            self._let_go()
            mode = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            file = self._file = os.open(self._name, mode, 0o644)
            found = os.fstat(file)
            self._inode = found.st_ino
        return file, found.st_size

    def _let_go(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file, self._size = None, _UNKNOWN

    def _is_known(self, size: int) -> bool:
        """Whether the last row is known: we wrote last, or another writer left word of it."""
        if size == self._size:
            return True
        last = self._lock.last_row(size)
        if last is None:
            return False
        self._size, self._last = size, last
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
        rows = rows_of(self.database, first, last) if first and last else {}
        if first not in rows or last not in rows or not self._may_begin_with(rows[first], first):
            raise EventFileMismatch(f"{self.path} does not fit the database.")
        self._remember(end, rows[last])

    def _may_begin_with(self, row: int, event_id: str) -> bool:
        """Whether a row is the one that the current file has to begin with."""
        if self._lock.beginning() == (row, event_id):
            return True
        full = rotated_files(self.path)
        return row == first_row_after(self.database, full[-1].last if full else 0)

    def _before_current(self) -> int:
        """The row after which an empty current file begins."""
        full = rotated_files(self.path)
        mark = self._lock.beginning()
        while full and not self._ends_as_named(full[-1]):
            self.set_aside(full.pop().path)
            mark = None
        last = full[-1].last if full else 0
        # The mark knows better when the newest full files were deleted.
        if mark and rows_of(self.database, mark[1]).get(mark[1]) == mark[0]:
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
            last is not None and end == size and rows_of(self.database, last) == {last: full.last}
        )

    def _remember(self, size: int, last: int) -> None:
        self._size, self._last = size, last
        self._lock.note_end(size, last)

    # Writing

    def _write(self, records: Sequence[TransitionRecord]) -> None:
        lines = as_lines(records)
        place = 0
        while place < len(lines):
            begin, size = place, self._size
            while place < len(lines) and self._fits(size, lines[place]):
                size += len(lines[place])
                place += 1
            if place == begin:
                self._rotate()
            else:
                data = "".join(lines[begin:place]).encode()
                self._put(data, records[begin], records[place - 1].transition_id)

    def _fits(self, size: int, line: str) -> bool:
        return size == 0 or not self.max_bytes or size + len(line) <= self.max_bytes

    def _put(self, data: bytes, first: TransitionRecord, last: int) -> None:
        file, size = self._file, self._size + len(data)
        assert file is not None
        if self._size == 0:
            self._lock.note_beginning(first.transition_id, first.event_id)
        while data:
            data = data[os.write(file, data) :]
        self._remember(size, last)

    def _rotate(self) -> None:
        """Give the full file its name and begin a new one.

        A writer that dies in between leaves no current file, or an empty one; `_before_current`
        then goes on after the full one. It is on disk before its name says that it is whole.

        Raises:
            EventFileMismatch: its first line is no event.
        """
        file, size = self._file, self._size
        assert file is not None
        first = event_id_of(first_line(file, size))
        row = rows_of(self.database, first).get(first) if first else None
        if row is None:
            raise EventFileMismatch(f"{self.path} does not fit the database.")
        os.fsync(file)
        full = rotated_path(self.path, row, self._last)
        if full.exists():
            self.set_aside(full)
        os.rename(self._name, full)
        last = self._last
        self._opened()
        self._remember(0, last)


def _number(record: TransitionRecord) -> int:
    return record.transition_id


def _limit_from_environment() -> int:
    text = os.environ.get(MAX_BYTES_VARIABLE, "").strip()
    if not text:
        return MAX_BYTES
    if not (text.isascii() and text.isdigit()):
        raise StoreUsageError(
            f"{MAX_BYTES_VARIABLE} is {text!r}. Give the largest size of an event file in bytes, "
            f"such as {MAX_BYTES}, or 0 for no limit."
        )
    return int(text)
