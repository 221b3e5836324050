"""Three-way merges without a working tree, in which nothing reaches further than it was allowed."""

from collections.abc import Iterable
from dataclasses import dataclass

from resources.git.repository import DURABLE, Repository


@dataclass(frozen=True)
class Merged:
    """A three-way merge without conflicts: the resulting tree."""

    tree: str


@dataclass(frozen=True)
class Conflict:
    """A three-way merge that needs a person: the conflicting paths."""

    paths: tuple[str, ...]


def merge(
    repository: Repository, ours: str, theirs: str, paths: frozenset[str] | None = None
) -> Merged | Conflict:
    """Merge two commits (git merge-tree --write-tree).

    Renames of ours are not followed: what theirs does to a file must not reach it where it has
    been moved to, for nobody has allowed that. Git before 2.50 follows them whatever it is told,
    so the result is looked at.

    Args:
        repository: where.
        ours: the commit to merge into.
        theirs: the commit to merge.
        paths: all that `theirs` changes since the two parted; None: ask git.
    """
    done = repository.on_objects(
        *DURABLE,
        *("-c", "merge.renames=false", "-c", "merge.directoryRenames=false"),
        *("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages"),
        *(ours, theirs),
        expect=(0, 1),
    )
    tree, *conflicting = done.stdout.decode("utf-8", "surrogateescape").split("\0")
    if done.returncode != 0:
        return _conflict(conflicting)
    if paths is None:
        paths = changed_paths(repository, repository.common_ancestor(ours, theirs), theirs)
    beyond = changed_paths(repository, ours, tree.strip()) - paths
    return _conflict(beyond) if beyond else Merged(tree.strip())


def changed_paths(repository: Repository, old: str, new: str) -> frozenset[str]:
    """The paths that differ between two commits or trees."""
    names = ("diff-tree", "-r", "-z", "--name-only", "--no-renames", old, new)
    listed = repository.on_objects(*names).stdout.decode("utf-8", "surrogateescape")
    return frozenset(listed.split("\0")[:-1])


def _conflict(paths: Iterable[str]) -> Conflict:
    spelled = {
        p.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") for p in paths
    }
    return Conflict(tuple(sorted(spelled - {""})))
