"""Commits of ours as git objects: written here, because landing waits for each of them.

A commit is its text; equal text has an equal name. Source: git's object format (gitformat-loose).
"""

import hashlib
import os
import threading
import zlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

IDENTITY = ("patchline", "patchline@localhost")
SHA256_DIGITS = 64


def write_commit(
    objects: Path, tree: str, parents: Sequence[str], message: bytes, date: str
) -> str:
    """Write a commit by `IDENTITY` durably; says its name. Writing it again changes nothing.

    Args:
        objects: the object store.
        tree: its tree, in the hash that the repository uses.
        parents: its parents, in order.
        message: the whole message, ending with a newline, without NUL.
        date: ISO-8601 UTC time of author and committer; whole seconds count.

    Raises:
        OSError: the object store cannot be written.
    """
    seconds = int(datetime.fromisoformat(f"{date[:19]}+00:00").timestamp())
    who = "{} <{}> {} +0000".format(*IDENTITY, seconds)
    lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents)]
    head = "\n".join([*lines, f"author {who}", f"committer {who}", "", ""]).encode()
    content = head + message
    stored = b"commit %d\0" % len(content) + content
    digest = hashlib.sha256 if len(tree) == SHA256_DIGITS else hashlib.sha1
    name = digest(stored).hexdigest()
    path = objects / name[:2] / name[2:]
    if not path.exists():
        _write_durably(path, zlib.compress(stored))
    return name


def _write_durably(path: Path, data: bytes) -> None:
    """Whole under its name or not at all, and on disk when it returns."""
    path.parent.mkdir(exist_ok=True)
    scratch = path.with_name(f"tmp_obj_{os.getpid()}_{threading.get_ident()}")
    scratch.unlink(missing_ok=True)  # of a process of the same number that died here
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o444)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    scratch.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
