"""Files of a working tree that commands have been at work in: told apart by name, and deleted.

Nothing here follows a link, whatever a command has put in the place of a folder.
"""

import os
import shutil
import stat
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

_ROOT = b""


def remove_untracked(root: Path, tracked: bytes) -> None:
    """Delete everything below a folder that is not tracked: ignored files and `.git` as well.

    `git clean` looks at every file, and leaves pipes, sockets, devices, what it takes for
    repositories, and folders in the place of files; here each folder is asked for its names. A file
    or link under a file's name is git's to put right.

    Args:
        root: the working tree.
        tracked: the paths of its files, each ended by NUL (`git ls-files -z`).
    """
    folders = _folders(tracked)
    top, waiting = os.fsencode(root), [_ROOT]
    while waiting:
        folder = folders[waiting.pop()]
        at = os.path.join(top, folder.path)
        with os.scandir(at) as there:
            entries = {entry.name: entry.is_dir(follow_symlinks=False) for entry in there}
        for name in entries.keys() & folder.folders:
            if entries.pop(name):
                waiting.append(os.path.join(folder.path, name))
            else:  # something else stands in its place
                os.unlink(os.path.join(at, name))
        for name, is_folder in entries.items():
            if is_folder or name not in folder.names:
                remove(Path(os.fsdecode(os.path.join(at, name))))


@dataclass(frozen=True)
class _Folder:
    """What is tracked in a folder: every name, and which of them are folders."""

    path: bytes
    names: set[bytes] = field(default_factory=set)
    folders: set[bytes] = field(default_factory=set)


@lru_cache(maxsize=8)  # the names of files change less often than the files
def _folders(tracked: bytes) -> Mapping[bytes, _Folder]:
    """Each folder with tracked files somewhere below it, by its path; the root's is empty."""
    found = {_ROOT: _Folder(_ROOT)}
    for path in tracked.split(b"\0")[:-1]:
        folder, _, name = path.rpartition(b"/")
        known = folder in found
        found.setdefault(folder, _Folder(folder)).names.add(name)
        while not known:  # a new folder is one of the names above it
            folder, _, name = folder.rpartition(b"/")
            known = folder in found
            parent = found.setdefault(folder, _Folder(folder))
            parent.names.add(name)
            parent.folders.add(name)
    return found


def is_plain(path: bytes) -> bool:
    """Whether something is a regular file, a link or a folder."""
    mode = os.lstat(path).st_mode
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode)


def remove(path: Path) -> None:
    """Delete whatever is there, also what permissions forbid to delete; links are not followed."""
    if not os.path.lexists(path):
        return
    if path.is_symlink() or not path.is_dir():
        path.unlink()
        return
    try:
        shutil.rmtree(path)
    except RecursionError:  # some thousand folders in each other
        subprocess.run(["rm", "-rf", "--", path], check=True)
    except PermissionError:
        path.chmod(stat.S_IRWXU)
        for folder, folders, _ in os.walk(path):  # looks into a folder after we have opened it up
            for name in folders:
                child = os.path.join(folder, name)
                if not os.path.islink(child):
                    os.chmod(child, stat.S_IRWXU)
        shutil.rmtree(path)
