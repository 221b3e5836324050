"""Landing: a patch becomes a commit on its workstream's branch, a workstream one on the target.

One lander at a time works on a branch. It builds a candidate on the branch's present head, has it
judged on exactly its tree, and moves the branch by compare-and-swap; what lands is what was
judged, or nothing. Source: design section 4 steps 6 to 9.
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from resources.checkouts import (
    checkout_of,
    in_the_way,
    index_is_free,
    local_changes,
    move_forward,
    staged_tree,
    unstaged_changes,
)
from resources.effects import printable
from resources.git_command import GitError
from resources.merging import Conflict, merge
from resources.repository import Repository
from resources.repository_turn import repository_turn
from state.errors import PatchlineError

log = logging.getLogger(__name__)

_locks: defaultdict[tuple[str, str], threading.RLock] = defaultdict(threading.RLock)
_locks_guard = threading.Lock()


@contextmanager
def landing_turn(repository: Repository, branch: str) -> Iterator[None]:
    """Wait for the turn to land on a branch; across processes the compare-and-swap decides."""
    with _locks_guard:
        lock = _locks[str(repository.git_dir), branch]
    with lock:
        yield


@dataclass(frozen=True)
class Candidate:
    """What would land: a tree, the head it was built on, and the parents of its commit.

    `commit` is set when the candidate is an existing commit (fast-forward).
    """

    tree: str
    head: str | None
    parents: tuple[str, ...]
    commit: str | None = None


@dataclass(frozen=True)
class Lost:
    """The branch moved while the candidate was judged; nothing landed."""

    expected: str | None
    found: str | None


class LandedTreeMismatch(PatchlineError):
    """The commit to land does not have the tree that was judged; it was not landed."""

    code = "landed_tree_mismatch"


def carrier_of(repository: Repository, base: str, tree: str, created_at: str) -> str:
    """The commit that carries a patch (`base` -> `tree`) into a merge; it never lands itself."""
    return repository.commit(tree, (base,), "patchline: patch\n", created_at)


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


def merge_candidate(repository: Repository, target: str | None, tip: str) -> Candidate | Conflict:
    """What the target branch becomes when a workstream's tip is merged: ff where possible."""
    if target is None or repository.is_ancestor(target, tip):
        return Candidate(repository.tree_of(tip), target, (), commit=tip)
    merged = merge(repository, target, tip)
    if isinstance(merged, Conflict):
        return merged
    return Candidate(merged.tree, target, (target, tip))


def message_with_trailers(title: str, trailers: Mapping[str, str]) -> str:
    """A commit message; the title becomes one line, so that no plan text can pose as a trailer."""
    subject = " ".join(title.split()) or "patchline"
    lines = "\n".join(f"{key}: {' '.join(value.split())}" for key, value in trailers.items())
    return f"{subject}\n\n{lines}\n"


def land(repository: Repository, branch: str, candidate: Candidate, commit: str) -> Lost | None:
    """Move a branch to the judged candidate's commit.

    Returns:
        None when it landed, Lost when the branch was elsewhere.

    Raises:
        LandedTreeMismatch: the commit's tree is not the judged one.
    """
    if repository.tree_of(commit) != candidate.tree:
        raise LandedTreeMismatch(f"{commit} does not have the judged tree {candidate.tree}")
    if repository.move_branch(branch, commit, candidate.head):
        return None
    return Lost(candidate.head, repository.branch_head(branch))


def land_on_target(
    repository: Repository, branch: str, candidate: Candidate, commit: str
) -> Lost | None:
    """Land on a branch that people use: a clean checkout of it moves along.

    Raises:
        LandedTreeMismatch: the commit's tree is not the judged one.
        CheckoutBusy: the branch is checked out with local changes, or with untracked files where
            new ones would go, or a git command there does not end; nothing landed.
        GitError: the checkout cannot be moved along; the branch was taken back.
        RepositoryLocked: other landings do not end; nothing landed.
    """
    with repository_turn(repository):
        checkout = checkout_of(repository, branch)
        if checkout is None:
            return land(repository, branch, candidate, commit)
        found = repository.branch_head(branch)
        if found != candidate.head:  # what the checkout shows is not what we compare it with
            return Lost(candidate.head, found)
        _refuse_if_busy(repository, branch, checkout, candidate.head, commit)
        lost = land(repository, branch, candidate, commit)
        if lost is None:
            _move_along(repository, branch, checkout, candidate.head, commit)
        return lost


def _refuse_if_busy(
    repository: Repository, branch: str, checkout: Path, old: str | None, new: str
) -> None:
    changed = local_changes(repository, checkout)
    if changed:
        raise CheckoutBusy(branch, str(checkout), changed)
    files = in_the_way(repository, checkout, old or repository.empty_tree(), new)
    if files:
        raise FilesInTheWay(branch, str(checkout), files)
    if not index_is_free(repository, checkout):
        raise IndexLocked(branch, str(checkout), ("index.lock",))


def _move_along(
    repository: Repository, branch: str, checkout: Path, old: str | None, new: str
) -> None:
    try:
        move_forward(repository, checkout, old, new)
    except GitError as error:
        if not _stays(repository, branch, old, new):
            raise  # ref and checkout agree again, and nothing of the person's is lost
        log.warning(
            "%s is at %s, but its checkout %s could not be moved along (%s); when nothing of yours "
            "is in it: git -C %s reset --hard",
            *(branch, new, checkout, error, checkout),
        )


def _stays(repository: Repository, branch: str, old: str | None, new: str) -> bool:
    """Take a branch back from `new` to `old`; whether `new` is on it all the same."""
    try:
        if old is None:
            repository.delete_branch(branch, new)
        elif repository.move_branch(branch, old, new):
            return False
    except GitError as error:
        log.warning("%s could not be taken back to %s: %s", branch, old, error)
    found = repository.branch_head(branch)
    return found is not None and repository.is_ancestor(new, found)


def move_left_behind_checkout(
    repository: Repository, branch: str, old: str | None, new: str
) -> None:
    """Finish what a process that died between the branch and its checkout had begun.

    A checkout that does not show exactly commit `old` is left alone: it was moved, or is a
    person's work.
    """
    with repository_turn(repository):
        checkout = checkout_of(repository, branch)
        if checkout is None or repository.branch_head(branch) != new:
            return
        before = old or repository.empty_tree()
        shown = repository.tree_of(old) if old else before
        if staged_tree(repository, checkout) != shown:
            return
        if unstaged_changes(repository, checkout) or in_the_way(repository, checkout, before, new):
            return
        move_forward(repository, checkout, old, new)


class CheckoutBusy(PatchlineError):
    """The branch to land on is checked out with local changes."""

    code = "checkout_busy"

    what, remedy = "local changes", "commit or stash them"

    def __init__(self, branch: str, checkout: str, changed: tuple[str, ...]) -> None:
        self.branch, self.checkout, self.changed = branch, checkout, changed
        named = ", ".join(printable(path) for path in changed[:5])
        named += ", ..." if len(changed) > 5 else ""
        super().__init__(
            f"branch {branch} is checked out in {checkout} with {self.what} ({named}); "
            f"{self.remedy}"
        )


class FilesInTheWay(CheckoutBusy):
    """The branch to land on is checked out with files of a person where new ones would go."""

    code = "files_in_the_way"

    what, remedy = "untracked files in the way", "move them away"


class IndexLocked(CheckoutBusy):
    """The branch to land on is checked out, and a git command there does not end."""

    code = "index_locked"

    what = "a git command under way"
    remedy = "wait for it, or delete its index.lock if there is none"
