"""Candidates: what a branch would become, built on its present head and judged before it lands.

Source: design section 4 steps 6 and 9.
"""

from dataclasses import dataclass

from resources.git.merging import Conflict, merge
from resources.git.repository import Repository


@dataclass(frozen=True)
class Candidate:
    """What would land: a tree, the head it was built on, and the parents of its commit.

    `commit` is set when the candidate is an existing commit (fast-forward).
    """

    tree: str
    head: str | None
    parents: tuple[str, ...]
    commit: str | None = None


def carrier_of(repository: Repository, base: str, tree: str, created_at: str) -> str:
    """The commit that carries a patch (`base` -> `tree`) into a merge; it never lands itself."""
    return repository.commit(tree, (base,), "patchline: patch\n", created_at, durable=False)


def patch_candidate(
    repository: Repository,
    head: str,
    base: str,
    tree: str,
    carrier: str,
    paths: frozenset[str] | None = None,
) -> Candidate | Conflict:
    """Three-way merge of a patch (`base` -> `tree`) onto `head`.

    Args:
        repository: where.
        head: the branch's present head.
        base: the commit that the patch was made on, an ancestor of `head`.
        tree: the whole tree after the patch.
        carrier: see `carrier_of`.
        paths: all that the patch touches, where that is known.
    """
    if head == base:
        return Candidate(tree, head, (head,))
    merged = merge(repository, head, carrier, paths)
    if isinstance(merged, Conflict):
        return merged
    return Candidate(merged.tree, head, (head,))


def merge_candidate(
    repository: Repository, target: str | None, tip: str, always_merge: bool = False
) -> Candidate | Conflict:
    """What a branch becomes when a workstream's tip is merged into it.

    Args:
        repository: where.
        target: the branch's head; None when it is not there yet, and starts at the tip.
        tip: the commit to merge.
        always_merge: a merge commit also where the branch could just move forward.
    """
    if target is None:
        return Candidate(repository.tree_of(tip), target, (), commit=tip)
    if repository.is_ancestor(target, tip):
        tree = repository.tree_of(tip)
        if always_merge:
            return Candidate(tree, target, (target, tip))
        return Candidate(tree, target, (), commit=tip)
    merged = merge(repository, target, tip)
    if isinstance(merged, Conflict):
        return merged
    return Candidate(merged.tree, target, (target, tip))
