"""A recorded patch put to work again: the tree that its diff makes of its base."""

import tempfile
from pathlib import Path

from resources.git.repository import DURABLE, Repository


def tree_of_diff(repository: Repository, base: str, diff: bytes) -> str:
    """Apply a diff of ours to a commit in a private index, and write the tree it makes.

    Only for diffs that `resources.effects.examine` made: they carry whole object names and binary
    data, so they apply exactly, to their base alone. Writing the tree again changes nothing.

    Args:
        repository: gets the new objects, durably.
        base: the commit.
        diff: the patch.

    Raises:
        GitError: it does not apply.
    """
    if not diff:  # a rollback of what somebody had undone already
        return repository.tree_of(base)
    with tempfile.TemporaryDirectory(prefix="patchline-") as scratch:
        index = Path(scratch, "index")
        repository.on_objects("read-tree", base, index=index)
        apply = (*DURABLE, "apply", "--cached", "--whitespace=nowarn", "-")
        repository.on_objects(*apply, index=index, stdin=diff)
        done = repository.on_objects(*DURABLE, "write-tree", index=index)
    return done.stdout.decode().strip()
