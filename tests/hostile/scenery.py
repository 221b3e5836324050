"""A place where patches are judged, of which nothing may change: repository, homes, this folder."""

import os
from dataclasses import dataclass
from pathlib import Path

from resources.git.repository import Repository
from tests.hostile.base import make_base

Snapshot = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Scenery:
    """A repository, patchline's home, the user's HOME and the current folder, side by side."""

    folder: Path
    repository: Repository
    base: str

    @classmethod
    def make(cls, folder: Path) -> "Scenery":
        """Build it all; nothing of it is to change afterwards."""
        for name in ("user", "here", "temporary"):
            (folder / name).mkdir(parents=True)
        (folder / "user/.gitconfig").write_text("[user]\n\tname = bob\n")
        base = make_base(folder / "repo")
        repository = Repository.open(folder / "repo", folder / "home")
        return cls(folder, repository, base)

    @property
    def temporary(self) -> Path:
        """Where temporary files go; empty after each check."""
        return self.folder / "temporary"

    def snapshot(self) -> Snapshot:
        """All of it (see `snapshot`)."""
        found = snapshot(self.folder)
        # Whoever makes and removes a temporary file changes this folder, and may.
        found[str(self.temporary)] = found[str(self.temporary)][:2]
        return found


def snapshot(folder: Path) -> Snapshot:
    """Every file and folder below one with its kind, size and time of change, to the nanosecond.

    Reading leaves it alone; a write changes `ctime`, whoever sets the other times back. Refs and
    git's objects are files too.
    """
    found: Snapshot = {}
    waiting = [str(folder)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                info = entry.stat(follow_symlinks=False)
                found[entry.path] = (info.st_mode, info.st_size, info.st_ino, info.st_ctime_ns)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
    return found
