"""The event file: `transitions.jsonl`, a projection of the audit table (design section 2).

The table is the truth. After each commit the new rows are appended under a lock between processes.
The lock file keeps a cursor (size of the file and the last row in it); whenever it does not fit the
file, the last complete line tells where to go on, and a file that tells nothing is written anew. So
after any crash the file catches up with no gap and no duplicate, in the order of the rows.
"""

import fcntl
import json
import logging
import os
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.exc import SQLAlchemyError

from state.audit import TransitionRecord
from state.database import Database
from state.schema import state_transitions

_LOG = logging.getLogger(__name__)
_PAGE = 1000
_line = json.JSONEncoder(separators=(",", ":")).encode
_TAIL = 1 << 16


class EventFile:
    """Keeps one event file equal to the audit table.

    Args:
        path: of the file; its lock file lies beside it.
        database: the one with the table.
    """

    def __init__(self, path: Path, database: Database) -> None:
        self.path = path
        self._database = database
        self._lock_path = path.with_name(path.name + ".lock")
        self._guard = threading.Lock()
        self._pending: list[Sequence[TransitionRecord]] = []
        self._file: int | None = None
        self._lock: int | None = None
        self._inode = 0

    def enqueue(self, records: Sequence[TransitionRecord]) -> None:
        """Note rows that were just committed, in the order of their commits."""
        if records:
            self._pending.append(records)

    def publish(self) -> None:
        """Append the rows that were noted, and what other writers have left.

        When it returns the caller's rows are in the file, written by itself or by another thread.
        The rows are in the table already, so a file that cannot be written is no reason to fail
        the change: it is logged, and the next change or `catch_up` brings the file up to date.
        """
        try:
            with self._guard:
                if self._pending:
                    waiting, self._pending = self._pending, []
                    records = [record for records in waiting for record in records]
                    self._project(sorted(records, key=lambda record: record.transition_id))
        except (OSError, SQLAlchemyError) as error:
            _LOG.error("The event file %s lags behind: %s. It catches up later.", self.path, error)

    def catch_up(self) -> None:
        """Bring the file up to date with the table.

        Raises:
            OSError: the file cannot be written.
        """
        with self._guard:
            self._project(())

    def rebuild(self) -> None:
        """Write the whole file anew from the table, in one step.

        Raises:
            OSError: the folder cannot be written.
        """
        with self._guard, self._turn() as lock:
            self._rewrite(lock)

    def close(self) -> None:
        """Let go of the files."""
        with self._guard:
            for file in (self._file, self._lock):
                if file is not None:
                    os.close(file)
            self._file = self._lock = None

    @contextmanager
    def _turn(self) -> Generator[int]:
        """The turn among processes; gives the lock file, which keeps the cursor."""
        if self._lock is None:
            self._lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield self._lock
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _opened(self) -> tuple[int, int]:
        """The event file and its size; opened again when it was replaced or removed."""
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            found = None
        if self._file is not None and (found is None or found.st_ino != self._inode):
            os.close(self._file)
            self._file = None
        if self._file is None or found is None:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            found = os.fstat(self._file)
            self._inode = found.st_ino
        return self._file, found.st_size

    def _project(self, records: Sequence[TransitionRecord]) -> None:
        with self._turn() as lock:
            file, size = self._opened()
            cursor = _remembered(lock, size) if records else None
            if cursor is None:
                cursor = self._from_last_line(file, size)
            if cursor is None:
                self._set_aside()
                self._rewrite(lock)
            else:
                self._append(lock, file, cursor, records)

    def _append(
        self, lock: int, file: int, cursor: int, records: Sequence[TransitionRecord]
    ) -> None:
        if records and records[-1].transition_id <= cursor:
            return
        if records and _continue(records, cursor):
            _write_lines(file, records)
            cursor = records[-1].transition_id
        else:
            cursor = self._copy(file, cursor)
        _remember(lock, os.fstat(file).st_size, cursor)

    def _copy(self, file: int, cursor: int) -> int:
        """Append what is settled after the cursor; says the new cursor."""
        while (last := self._database.settled(cursor)) > cursor:
            with self._database.reading() as connection:
                cursor = _copy(connection, file, cursor, last)
        return cursor

    def _from_last_line(self, file: int, size: int) -> int | None:
        """The `transition_id` of the last line; 0 when empty, None when it makes no sense."""
        line = _last_line(file, size)
        if line is None:
            return 0
        try:
            event_id = json.loads(line)["event_id"]
        except (ValueError, TypeError, KeyError):
            return None
        query = select(state_transitions.c.transition_id).where(
            state_transitions.c.event_id == event_id
        )
        with self._database.reading() as connection:
            return connection.execute(query).scalar()

    def _set_aside(self) -> None:
        """Keep a file that is not of this database (or is damaged) under another name."""
        kept = self.path.with_name(self.path.name + ".old")
        _LOG.warning("%s does not fit the database; it is kept as %s.", self.path, kept.name)
        self.path.replace(kept)

    def _rewrite(self, lock: int) -> None:
        fresh = self.path.with_name(self.path.name + ".new")
        file = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
        try:
            cursor = self._copy(file, 0)
            os.fsync(file)
            fresh.replace(self.path)
            _remember(lock, os.fstat(file).st_size, cursor)
        finally:
            os.close(file)


def _remembered(lock: int, size: int) -> int | None:
    """The cursor that the last writer left, if it is about a file of this size."""
    words = os.pread(lock, 64, 0).split()
    if len(words) == 2 and all(word.isdigit() for word in words) and int(words[0]) == size:
        return int(words[1])
    return None


def _last_line(file: int, size: int) -> bytes | None:
    """The last complete line; a torn one after it is cut off. None when there is no line."""
    start, tail = size, b""
    while start > 0 and tail.count(b"\n") < 2:
        step = min(_TAIL, start)
        start -= step
        tail = os.pread(file, step, start) + tail
    end = tail.rfind(b"\n") + 1
    if len(tail) != end:
        os.ftruncate(file, start + end)
    lines = tail[:end].splitlines()
    return lines[-1] if lines else None


def _continue(records: Sequence[TransitionRecord], cursor: int) -> bool:
    """Whether these rows are the very next ones, without a gap."""
    first, last = records[0].transition_id, records[-1].transition_id
    return first == cursor + 1 and last - first == len(records) - 1


def _copy(connection: Connection, file: int, cursor: int, last: int) -> int:
    """Append the rows after the cursor up to the last one; says the new cursor."""
    while cursor < last:
        query = (
            select(state_transitions)
            .where(state_transitions.c.transition_id.between(cursor + 1, last))
            .order_by(state_transitions.c.transition_id)
            .limit(_PAGE)
        )
        rows: list[Any] = list(connection.execute(query).mappings())
        if not rows:
            return last
        records = [TransitionRecord(**row) for row in rows]
        _write_lines(file, records)
        cursor = records[-1].transition_id
    return cursor


def _write_lines(file: int, records: Sequence[TransitionRecord]) -> None:
    data = "".join([_line(one.as_event()) + "\n" for one in records]).encode()
    while data:
        data = data[os.write(file, data) :]


def _remember(lock: int, size: int, cursor: int) -> None:
    os.pwrite(lock, b"%020d %020d" % (size, cursor), 0)
