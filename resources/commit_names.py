"""What a commit of ours says, and so what its name must be: equal content, equal name."""

import hashlib
from collections.abc import Sequence
from datetime import datetime

IDENTITY = ("patchline", "patchline@localhost")
SHA256_DIGITS = 64


def stamp(date: str) -> str:
    """An ISO-8601 UTC time as git is given it: whole seconds."""
    return f"{date[:19]}+00:00"


def commit_name(tree: str, parents: Sequence[str], message: bytes, when: str) -> str:
    """The name of a commit by `IDENTITY`, reckoned from its content without asking git.

    Args:
        tree: its tree, in the hash that the repository uses.
        parents: its parents, in order.
        message: the whole message, ending with a newline.
        when: see `stamp`.
    """
    who = "{} <{}> {} +0000".format(*IDENTITY, int(datetime.fromisoformat(when).timestamp()))
    lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents)]
    head = "\n".join([*lines, f"author {who}", f"committer {who}", "", ""]).encode()
    content = head + message
    digest = hashlib.sha256 if len(tree) == SHA256_DIGITS else hashlib.sha1
    return digest(b"commit %d\0" % len(content) + content).hexdigest()
