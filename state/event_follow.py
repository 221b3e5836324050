"""Reading the event files as they grow, across rotations, without the database."""

import fcntl
import json
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from state.errors import StoreUsageError
from state.event_files import rotated_files

_STEP = 1 << 20


class EventFollower:
    """A reader of the event files that knows its place. Used by one thread.

    Keep `position`, the `event_id` of the last event taken, to go on there in another process:
    lines carry no number, and the ids of events are not in the order of the file.

        with EventFollower(home.events, after=kept) as follower:
            while True:
                for event in follower.read():
                    handle(event)
                    kept = follower.position
                wait_a_while()

    Args:
        path: of the current file, `transitions.jsonl`.
        after: the event to begin after; None for the oldest event in the files.
    """

    def __init__(self, path: Path, after: str | None = None) -> None:
        self.position = after
        self._path = path
        self._name = path  # of the open file, when it was opened
        self._file: int | None = None
        self._offset = 0

    def __enter__(self) -> "EventFollower":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self) -> Iterator[dict[str, Any]]:
        """The events that came since the last time, as far as their lines are whole; then it ends.

        Raises:
            StoreUsageError: the event to go on from is in none of the files any more, or a line is
                no event. Once the files are mended, reading goes on there.
        """
        while True:
            for line in self._lines():
                event = self._event(line)
                self.position = event["event_id"]
                yield event
            if not self._go_on():
                return

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _event(self, line: bytes) -> dict[str, Any]:
        try:
            event: dict[str, Any] = json.loads(line)
            if isinstance(event["event_id"], str):
                return event
        except (ValueError, TypeError, KeyError, RecursionError):
            pass  # told below
        place = self._offset - len(line) - 1
        self.close()
        raise StoreUsageError(
            f"The line at byte {place} of {self._name} is no event: the file was damaged. Mend it "
            "from the table: patchline db repair-events"
        )

    def _lines(self) -> Iterator[bytes]:
        """Whole lines from our place on; our place moves with each, so a torn one is read again."""
        if self._file is None:
            return
        pieces: list[bytes] = []
        place = self._offset
        while piece := os.pread(self._file, _STEP, place):
            place += len(piece)
            pieces.append(piece)
            if b"\n" not in piece:
                continue
            *lines, rest = b"".join(pieces).split(b"\n")
            pieces = [rest]
            for line in lines:
                self._offset += len(line) + 1
                yield line

    def _go_on(self) -> bool:
        """At the end of what we have: open the next file. False when there is nothing more."""
        if self._file is not None and self._is(self._path):
            return False
        with _no_writer(self._path):
            if self._file is None:
                return self._find_place()
            ours = os.fstat(self._file)
            # It may have grown between our last look and its renaming.
            if ours.st_size > self._offset and not self._is_torn(ours.st_size):
                return True
            series = [one.path for one in rotated_files(self._path)]
            here = [place for place, path in enumerate(series) if self._is(path)]
            if not here:
                return self._find_place()
            following = [*series[here[0] + 1 :], self._path]
            return self._open(following[0])

    def _find_place(self) -> bool:
        """Open the file with our event, and go behind it; without one, the oldest file."""
        files = [*(one.path for one in rotated_files(self._path)), self._path]
        if self.position is None:
            return any(self._open(path) for path in files)
        start = b'{"event_id":' + json.dumps(self.position).encode() + b","
        for path in reversed(files):
            if not self._open(path):
                continue
            for line in self._lines():
                if line.startswith(start):
                    return True
        self.close()
        raise StoreUsageError(
            f"The event {self.position} is in none of the files beside {self._path}: the file with "
            "it was deleted, or it is of another database. Read on from the table: patchline "
            f"export events --since {self.position}"
        )

    def _open(self, path: Path) -> bool:
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        self.close()
        self._name, self._file, self._offset = path, file, 0
        return True

    def _is(self, path: Path) -> bool:
        assert self._file is not None
        try:
            return os.path.samestat(os.fstat(self._file), path.stat())
        except FileNotFoundError:
            return False

    def _is_torn(self, size: int) -> bool:
        assert self._file is not None
        return b"\n" not in os.pread(self._file, size - self._offset, self._offset)


def follow(path: Path, after: str | None = None) -> Iterator[dict[str, Any]]:
    """Every event in the files after that one, oldest first, once; see `EventFollower`.

    Raises:
        StoreUsageError: the event is in none of the files any more, or a line is no event.
    """
    with EventFollower(path, after) as follower:
        yield from follower.read()


@contextmanager
def _no_writer(path: Path) -> Generator[None]:
    """Nobody renames or rewrites files meanwhile; files that were copied here have no lock."""
    try:
        lock = os.open(f"{path}.lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield
    finally:
        os.close(lock)
