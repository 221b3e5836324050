"""Sample projects: plain folders that are copied and made into a git repository for each run.

A folder is a sample when it holds the file `.patchline-sample`. Anything else is taken as it is.
The copy lies under the home; one that earlier runs have worked on is left alone and a new one is
made, so that the example plan can be run again and again. A copy belongs to the process that has
taken it, so that two runs that start together do not get the same.
"""

import fcntl
import itertools
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

from resources.git.command import ZERO_CONFIG
from resources.git.commit_objects import IDENTITY
from resources.git.ref_moves import OURS
from resources.git.repository import Repository
from state.home import Home

MARKER = ".patchline-sample"
LEFTOVERS = ("__pycache__", ".pytest_cache", ".ruff_cache", ".git", MARKER)
TAKEN = "patchline-sample.lock"
FIRST_COMMIT_DATE = "2026-01-01T00:00:00+00:00"

_taken: dict[Path, int] = {}
"""Copies of this process, each with the file handle whose lock says so."""
_taken_guard = threading.Lock()


def sample_repository(home: Home, folder: Path) -> Path:
    """The repository to work on: `folder` itself, or a fresh copy of it when it is a sample."""
    if not (folder / MARKER).is_file():
        return folder
    samples = home.root / "samples"
    samples.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        copy = samples / (folder.name if number == 1 else f"{folder.name}-{number}")
        if not copy.exists():
            _make(folder, copy)
        if _is_ours(copy) and _is_fresh(home, copy):
            return copy
    raise AssertionError("unreachable")


def _make(folder: Path, copy: Path) -> None:
    """Copy a sample and commit it on `main`, appearing whole under its name or not at all."""
    scratch = Path(tempfile.mkdtemp(prefix=".new-", dir=copy.parent))
    shutil.copytree(folder, scratch, ignore=shutil.ignore_patterns(*LEFTOVERS), dirs_exist_ok=True)
    _git(scratch, "init", "--quiet", "--initial-branch=main")
    _git(scratch, "add", "--all")
    _git(scratch, "commit", "--quiet", "-m", "The sample as it was")
    try:
        scratch.rename(copy)
    except OSError:  # another process was faster
        shutil.rmtree(scratch)


def _is_ours(copy: Path) -> bool:
    """Take a copy for this process, as long as it lives; False when another has it."""
    with _taken_guard:
        if copy in _taken:
            return True
        handle = os.open(copy / ".git" / TAKEN, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        _taken[copy] = handle
        return True


def _is_fresh(home: Home, copy: Path) -> bool:
    """Whether no run has begun on the copy yet."""
    repository = Repository.open(copy, home.root)
    head = repository.branch_head("main")
    if head is None or repository.resolve(f"{head}^1") is not None:
        return False
    return not repository.on_refs("for-each-ref", "--count=1", f"refs/heads/{OURS}")


def _git(folder: Path, *args: str) -> None:
    name, mail = IDENTITY
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | dict(ZERO_CONFIG)
    for who in ("AUTHOR", "COMMITTER"):
        env |= {f"GIT_{who}_NAME": name, f"GIT_{who}_EMAIL": mail}
        env[f"GIT_{who}_DATE"] = FIRST_COMMIT_DATE
    subprocess.run(["git", *args], cwd=folder, env=env, check=True, capture_output=True)
