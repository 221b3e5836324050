"""The files that events lie in: their names, their order, their first and last lines.

The newest events are in `transitions.jsonl`. A file that grew past the limit is renamed to
`transitions-<first>-<last>.jsonl` by the numbers (`transition_id`) of its rows, so that the names
alone tell the order. Together the files are the series.
"""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from state.errors import StoreUsageError

MAX_BYTES = 64 * 1024 * 1024
MAX_BYTES_VARIABLE = "PATCHLINE_EVENTS_MAX_BYTES"

_STEP = 1 << 16


@dataclass(frozen=True, slots=True)
class RotatedFile:
    """A full file: it holds the audit rows `first` to `last` and is never appended to."""

    first: int
    last: int
    path: Path


def rotated_path(current: Path, first: int, last: int) -> Path:
    """The name under which a full file is kept."""
    return current.with_name(f"{current.stem}-{first:012d}-{last:012d}{current.suffix}")


def rotated_files(current: Path) -> list[RotatedFile]:
    """The full files that lie beside the current one, oldest first."""
    name = re.compile(
        rf"{re.escape(current.stem)}-(\d{{12,}})-(\d{{12,}}){re.escape(current.suffix)}"
    )
    with os.scandir(current.parent) as entries:
        found = [
            RotatedFile(int(match[1]), int(match[2]), current.with_name(entry.name))
            for entry in entries
            if (match := name.fullmatch(entry.name)) and entry.is_file()
        ]
    return sorted(found, key=lambda one: (one.first, one.last))


def first_line(file: int, size: int) -> bytes | None:
    """The first complete line of an open file, without its end; None when there is none."""
    pieces: list[bytes] = []
    read = 0
    while read < size and (piece := os.pread(file, _STEP, read)):
        head, end, _ = piece.partition(b"\n")
        pieces.append(head)
        if end:
            return b"".join(pieces)
        read += len(piece)
    return None


def last_line(file: int, size: int) -> tuple[bytes | None, int]:
    """The last complete line of an open file, and where it ends: after that a line is torn."""
    start, ends = size, 0
    pieces: list[bytes] = []
    while start > 0 and ends < 2:
        step = min(_STEP, start)
        start -= step
        piece = os.pread(file, step, start)
        ends += piece.count(b"\n")
        pieces.append(piece)
    tail = b"".join(reversed(pieces))
    end = tail.rfind(b"\n") + 1
    line = tail[tail.rfind(b"\n", 0, end - 1) + 1 : end - 1] if end else None
    return line, start + end


def event_id_of(line: bytes | None) -> str | None:
    """The `event_id` of a line; None when it is no event."""
    try:
        found: Any = json.loads(line or b"")["event_id"]
    except (ValueError, TypeError, KeyError):
        return None
    return found if isinstance(found, str) else None


def limit_from_environment() -> int:
    """How many bytes a file may have: `$PATCHLINE_EVENTS_MAX_BYTES`, or 64 MiB; 0 for any number.

    Raises:
        StoreUsageError: the environment variable is not a number of bytes.
    """
    text = os.environ.get(MAX_BYTES_VARIABLE, "").strip()
    if not text:
        return MAX_BYTES
    if not (text.isascii() and text.isdigit()):
        raise StoreUsageError(
            f"{MAX_BYTES_VARIABLE} is {text!r}. Give the largest size of an event file in bytes, "
            f"such as {MAX_BYTES}, or 0 for no limit."
        )
    return int(text)
