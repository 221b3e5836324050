"""Comparing the event files with the table, line by line, and writing anew what differs.

Opening a store mends the beginning and the end of the current file; this finds what is wrong in the
middle, and in full files. Source: design section 7, "reconcile repairs the event file".
"""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from state.crash_points import crash_point
from state.errors import StoreUnavailableError
from state.event_files import (
    RotatedFile,
    event_id_of,
    first_line,
    rotated_files,
    rotated_path,
)
from state.event_lines import as_lines
from state.event_rows import rows_of, settled_pages
from state.events import EventFile


def repair(events: EventFile) -> list[Path]:
    """Make every event file equal to the table; says which it wrote anew.

    Writers wait only while a file is written, not while it is compared. A full file that was
    deleted stays so; a file that differs is kept beside the new one, with the ending `.old`.

    Raises:
        HistoryDamagedError: the table itself has a row that cannot be read.
        StoreUnavailableError: a file cannot be read or written.
    """
    try:
        return _repair(events)
    except OSError as error:
        raise StoreUnavailableError(
            f"The event files beside {events.path} cannot be mended: {error}. Check that you may "
            "write them and their folder, and that the disk is not full."
        ) from error


def _repair(events: EventFile) -> list[Path]:
    mended: list[Path] = []
    good: set[Path] = set()
    written = 0  # the last row of the good ones
    while full := _first_but(good, events.path):
        kept: Path | None = full.path
        if full.first <= written or not _holds(events, full.path, full.first, full.last):
            with events.turn():
                kept = _write_full(events, full, max(full.first, written + 1))
            mended.append(full.path)
        if kept is not None:
            good.add(kept)
            written = max(written, full.last)
    if _mend_current(events):
        mended.append(events.path)
    return mended


def _first_but(good: set[Path], current: Path) -> RotatedFile | None:
    return next((one for one in rotated_files(current) if one.path not in good), None)


def _mend_current(events: EventFile) -> bool:
    """The current file is written anew when it differs, or repeats rows of full ones."""
    before = _inode(events.path)
    with events.turn():
        size, last = events.bring_up()
        inode = _inode(events.path)
        with _opened(events.path) as file:
            event_id = event_id_of(first_line(file, size)) or ""
        first = rows_of(events.database, event_id).get(event_id, last + 1)
        repeats = any(full.last >= first for full in rotated_files(events.path))
    if not repeats:
        with _opened(events.path) as file:
            if os.fstat(file).st_ino != inode:
                return bool(_repair(events))  # it became full meanwhile
            if not size or _same(events, file, size, first, last):
                return inode != before
    with events.turn():
        if _inode(events.path) == inode:
            events.set_aside(events.path)
            events.bring_up()
            return True
    return bool(_repair(events))


def _holds(events: EventFile, path: Path, first: int, last: int) -> bool:
    with _opened(path) as file:
        return _same(events, file, os.fstat(file).st_size, first, last)


def _same(events: EventFile, file: int, size: int, first: int, last: int) -> bool:
    """Whether the first bytes of a file are the rows from the first to the last, and nothing else.

    Both rows have to be there.
    """
    place, ends = 0, [0, 0]
    for page in settled_pages(events.database, first - 1, until=last):
        data = "".join(as_lines(page)).encode()
        if os.pread(file, len(data), place) != data:
            return False
        ends = [ends[0] or page[0].transition_id, page[-1].transition_id]
        place += len(data)
    return place == size and ends == [first, last]


def _write_full(events: EventFile, full: RotatedFile, first: int) -> Path | None:
    """Write a full file anew, with those of its rows that are in the table; says which it is now.

    What it was is kept aside. Its name is not without a file at any moment, whoever dies: one that
    is not there counts as deleted on purpose.
    """
    fresh = events.path.with_name(events.path.name + ".new")
    written: tuple[int, int] | None = None
    with fresh.open("wb") as file:
        for page in settled_pages(events.database, first - 1, until=full.last):
            file.write("".join(as_lines(page)).encode())
            begin = written[0] if written else page[0].transition_id
            written = begin, page[-1].transition_id
        file.flush()
        os.fsync(file.fileno())
    if written is None:
        fresh.unlink()
        events.set_aside(full.path)
        return None
    named = rotated_path(events.path, *written)
    if named == full.path:
        shutil.copy2(full.path, full.path.with_name(full.path.name + ".old"))
    crash_point("event-file-rewritten", "a full file's rows are on disk anew, not under its name")
    os.replace(fresh, named)
    if named != full.path:
        events.set_aside(full.path)
    return named


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


@contextmanager
def _opened(path: Path) -> Generator[int]:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)
