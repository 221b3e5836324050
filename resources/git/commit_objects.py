"""Objects of ours in git's store: written here, because landing waits for each of them.

An object is its kind and text; equal ones have an equal name. Source: git's object format
(gitformat-loose).
"""

import hashlib
import os
import re
import threading
import zlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from state.whole_files import keep_names

IDENTITY = ("patchline", "patchline@localhost")
SHA256_DIGITS = 64


def write_commit(
    objects: Path,
    tree: str,
    parents: Sequence[str],
    message: bytes,
    date: str,
    durable: bool = True,
) -> str:
    """Write a commit by `IDENTITY`; says its name. Writing it again changes nothing.

    Args:
        objects: the object store.
        tree: its tree, in the hash that the repository uses.
        parents: its parents, in order.
        message: the whole message, ending with a newline, without NUL.
        date: ISO-8601 UTC time of author and committer; whole seconds count.
        durable: on disk when this returns; else whenever the system gets there.

    Raises:
        OSError: the object store cannot be written.
    """
    seconds = int(datetime.fromisoformat(f"{date[:19]}+00:00").timestamp())
    who = "{} <{}> {} +0000".format(*IDENTITY, seconds)
    lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents)]
    head = "\n".join([*lines, f"author {who}", f"committer {who}", "", ""]).encode()
    return _write(objects, b"commit", head + message, len(tree), durable)


def write_blob(objects: Path, content: bytes, digits: int) -> str:
    """Write a blob durably; says its name, of so many digits.

    Raises:
        OSError: the object store cannot be written.
    """
    return _write(objects, b"blob", content, digits, durable=True)


def stored_tree(objects: Path, commit: str) -> str | None:
    """The tree of a commit as it lies in the object store; None when it is not a loose object.

    Raises:
        ValueError: what lies there is not what its name says.
    """
    path = objects / commit[:2] / commit[2:]
    try:
        stored = zlib.decompress(path.read_bytes())
    except FileNotFoundError:
        return None
    except zlib.error as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    found = re.fullmatch(rb"commit \d+\0tree ([0-9a-f]+)\n.*", stored, re.DOTALL)
    if found is None or _name_of(stored, len(commit)) != commit:
        raise ValueError(f"{path} is damaged: it is not the commit {commit}")
    return found[1].decode()


def _name_of(stored: bytes, digits: int) -> str:
    digest = hashlib.sha256 if digits == SHA256_DIGITS else hashlib.sha1
    return digest(stored).hexdigest()


def _write(objects: Path, kind: bytes, content: bytes, digits: int, durable: bool) -> str:
    stored = b"%b %d\0" % (kind, len(content)) + content
    name = _name_of(stored, digits)
    path = objects / name[:2] / name[2:]
    if not path.exists():
        _put(path, zlib.compress(stored), durable)
    return name


def _put(path: Path, data: bytes, durable: bool) -> None:
    """Whole under its name or not at all; if durable, on disk when it returns."""
    fresh = not path.parent.exists()
    path.parent.mkdir(exist_ok=True)
    scratch = path.with_name(f"tmp_obj_{os.getpid()}_{threading.get_ident()}")
    scratch.unlink(missing_ok=True)  # of a process of the same number that died here
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o444)
    try:
        os.write(descriptor, data)
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    scratch.replace(path)
    if durable:
        keep_names(path.parent)
        if fresh:
            keep_names(path.parent.parent)
