"""What SQLite cannot do, in words that say what to do about it."""

import sqlite3
from pathlib import Path

from state.errors import StoreUnavailableError

_OURS = "Check that it is a patchline database and that you may write it and its folder."
_REMEDIES = {
    sqlite3.SQLITE_BUSY: "Another process has held it for more than {timeout:g} s: wait for that"
    " one, or end it (`fuser {path}` lists who has it open). Then do the same again.",
    sqlite3.SQLITE_FULL: "Make room on the disk of {folder}, then do the same again.",
    sqlite3.SQLITE_READONLY: "Make the file and the folder {folder} writable for this user, then"
    " do the same again.",
    sqlite3.SQLITE_CANTOPEN: _OURS,
    sqlite3.SQLITE_IOERR: "Check the disk of {folder}.",
    sqlite3.SQLITE_CORRUPT: "The file is damaged. Restore it from a copy.",
    sqlite3.SQLITE_NOTADB: _OURS,
    sqlite3.SQLITE_PERM: _OURS,
}
_PRIMARY = 0xFF  # the lower byte of SQLite's codes is the kind; the rest says more exactly which


def locked(path: Path, timeout: float) -> StoreUnavailableError:
    """The error for a turn that did not come within the timeout, in seconds."""
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return unavailable(path, "written", error, timeout)


def unavailable(
    path: Path, done: str, error: BaseException | None, timeout: float
) -> StoreUnavailableError:
    """The error for people.

    Args:
        path: of the file.
        done: what it cannot be: opened, read, written.
        error: what SQLite, or the system, has said.
        timeout: how long a lock was waited for, in seconds.
    """
    if isinstance(error, OSError):
        said, remedy = error.strerror, _OURS
    else:
        code = getattr(error, "sqlite_errorcode", 0)  # none: the driver said it, not SQLite
        said, remedy = error, _REMEDIES.get(code & _PRIMARY, "")
    advice = remedy.format(path=path, folder=path.parent, timeout=timeout)
    return StoreUnavailableError(f"The database {path} cannot be {done}: {said}. {advice}".strip())
