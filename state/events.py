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
import sqlite3
import threading
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from state.audit import TransitionRecord
from state.database import Database
from state.errors import HistoryDamagedError, PatchlineError, StoreUnavailableError
from state.event_files import limit_from_environment
from state.event_lock import EventLock
from state.event_rows import last_row, settled_pages
from state.event_writer import EventFileMismatch, EventWriter

_LOG = logging.getLogger(__name__)


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
        self.max_bytes = limit_from_environment() if max_bytes is None else max_bytes
        self._guard = threading.Lock()
        self._pending: deque[Sequence[TransitionRecord]] = deque()
        self._lock = EventLock(f"{path}.lock")
        self._writer = EventWriter(path, database, self.max_bytes, self._lock)

    def enqueue(self, records: Sequence[TransitionRecord]) -> None:
        """Note rows that were just committed, in the order of their commits."""
        if records:
            self._pending.append(records)

    def publish(self) -> None:
        """Append the rows that were noted, and what other writers have left.

        When it returns the caller's rows are in the file, or another live writer is about to write
        them: a thread, a process that waits for its turn, or, on PostgreSQL, the one whose
        transaction still runs before them. Of a writer that is killed the next one takes over.

        The rows are in the table already, so a file that cannot be written is no reason to fail the
        change: it is logged, and the next change or `catch_up` brings the file up to date.
        """
        try:
            with self._guard:
                if records := self._noted():
                    self._publish(records)
        except _PROBLEMS as error:
            self._tell(error)

    def publish_behind_gap(self) -> None:
        """After a transaction that was undone: append the rows that others have left behind it.

        Raises nothing, as `publish`; without such rows it asks the database for nothing.
        """
        try:
            with self._guard:
                self._publish(())
        except _PROBLEMS as error:
            self._tell(error)

    def catch_up(self) -> None:
        """Bring the file up to date with the table, and mend its beginning and its end.

        A history that somebody has damaged is logged: the file ends before the first such row.

        Raises:
            StoreUnavailableError: the file cannot be written.
        """
        try:
            with self.turn():
                self._append_or_begin_again(None)
        except HistoryDamagedError as error:
            self._tell(error)
        except OSError as error:
            raise StoreUnavailableError(
                f"The event file {self.path} cannot be written: {error.strerror or error}. Check "
                "that you may write it and its folder, and that the disk is not full."
            ) from error

    def close(self) -> None:
        """Let go of the files."""
        with self._guard:
            self._writer.close()
            self._lock.close()

    def set_aside(self, path: Path) -> None:
        """Inside a `turn`: see `EventWriter.set_aside`."""
        self._writer.set_aside(path)

    @contextmanager
    def turn(self) -> Generator[None]:
        """The turn among threads and processes: nobody else writes any of the files."""
        with self._guard, self._lock:
            yield

    def bring_up(self) -> tuple[int, int]:
        """Like `catch_up`, inside a `turn`; says the current file's size and its last row."""
        self._append_or_begin_again(None)
        return self._writer.size, self._writer.last

    def _tell(self, error: Exception) -> None:
        _LOG.error(
            "The event file %s lags behind; the next change tries again. The cause: %s",
            self.path,
            error,
        )

    def _noted(self) -> Sequence[TransitionRecord]:
        pending = self._pending
        records = pending.popleft() if pending else ()
        if pending:
            records = list(records)
            while pending:
                records += pending.popleft()
            records.sort(key=_number)
        return records

    def _publish(self, records: Sequence[TransitionRecord]) -> None:
        at_once = self._lock.take_at_once()
        if at_once or self._lock.take_as_next():
            try:
                self._append_or_begin_again(records, look=not at_once)
            finally:
                self._lock.release()

    def _append_or_begin_again(
        self, records: Sequence[TransitionRecord] | None, *, look: bool = True
    ) -> None:
        try:
            self._append(records, look)
        except EventFileMismatch:
            self._writer.set_aside(self.path)
            self._lock.note_left(0)
            self._append(None, look=True)

    def _append(self, records: Sequence[TransitionRecord] | None, look: bool) -> None:
        """Append rows, and those of the table that belong before and behind them.

        Args:
            records: rows that were just kept, in order; None to trust no note about the file.
            look: whether the table may have more rows than anybody has noted.
        """
        writer = self._writer
        writer.look(trust=records is not None)
        newest = last_row(self.database) if look else records[-1].transition_id if records else 0
        if records and newest - writer.last == len(records) and _number(records[0]) > writer.last:
            writer.write(records)
        if not look:
            newest = max(newest, self._lock.left())
        if newest <= writer.last:
            return
        for page in settled_pages(self.database, writer.last):
            writer.write(page)
        if newest > writer.last:
            self._lock.note_left(newest)


_PROBLEMS = (OSError, SQLAlchemyError, sqlite3.Error, psycopg.Error, PatchlineError)
"""What may go wrong with the file, the database, or a history that somebody has damaged."""


def _number(record: TransitionRecord) -> int:
    return record.transition_id
