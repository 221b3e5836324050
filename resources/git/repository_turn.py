"""One process at a time between looking at a repository's checkouts and having moved them.

A branch and its checkout cannot be moved in one step. Who looks in between sees a clean checkout
as one with local changes; so everybody of ours looks and moves under this lock.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from resources.git.repository import Repository
from state.errors import PatchlineError

LOCK_NAME = "patchline.lock"
PATIENCE = 120.0
PAUSE = 0.02


class RepositoryLocked(PatchlineError):
    """Another patchline process keeps the repository, or its lock cannot be made."""

    code = "repository_locked"


@contextmanager
def repository_turn(repository: Repository, patience: float = PATIENCE) -> Iterator[None]:
    """Wait for the turn to move branches that people have checked out. Not reentrant.

    The lock goes with the process that holds it, however that ends.

    Args:
        repository: whose.
        patience: seconds to wait.

    Raises:
        RepositoryLocked: it took longer, or the git directory cannot be written.
    """
    path = repository.git_dir / LOCK_NAME
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(path, flags, 0o666)
    except OSError as error:
        raise RepositoryLocked(f"{path} cannot be opened: {error.strerror}") from error
    try:
        _wait(handle, str(path), patience)
        yield
    finally:
        os.close(handle)


def _wait(handle: int, path: str, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise RepositoryLocked(
                    f"another patchline process has kept {path} for {patience:.0f} s; "
                    "stop it, then resume the run"
                ) from None
            time.sleep(PAUSE)
