"""Files that are there whole or not at all, and stay so through a crash."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from state.crash_points import crash_point
from state.locks import still_named


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, or replace it: data and name are on disk when this returns.

    It is written beside its place first, as `<name>.tmp`. What a process left there that died is
    written over by the next one; two at once wait for each other.

    Raises:
        OSError: it cannot be written; a file that was there is as it was.
    """
    scratch = path.with_name(f"{path.name}.tmp")
    with _alone(scratch) as descriptor:
        os.ftruncate(descriptor, 0)
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
        crash_point("file-written", "a revision or a record is on disk, but not under its name")
        scratch.replace(path)
    keep_names(path.parent)


def keep_names(folder: Path) -> None:
    """Put a folder's entries on disk: the name of a file outlives a power cut only then."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _alone(scratch: Path) -> Generator[int]:
    """The scratch file, open and nobody else's until the block ends."""
    while True:
        descriptor = os.open(scratch, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if still_named(scratch, descriptor):  # nobody has given it its name meanwhile
                yield descriptor
                return
        finally:
            os.close(descriptor)
