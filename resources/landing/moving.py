"""Landing: a patch becomes a commit on its workstream's branch, a workstream one on the target.

One lander at a time works on a branch. It builds a candidate on the branch's present head, has it
judged on exactly its tree, and moves the branch by compare-and-swap; what lands is what was
judged, or nothing. Source: design section 4 steps 6 to 9.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

from resources.git.checkouts import (
    checkout_of,
    in_the_way,
    index_is_free,
    local_changes,
    move_forward,
    shows_the_commit_before,
    staged_tree,
    unstaged_changes,
)
from resources.git.command import GitError
from resources.git.ref_moves import Fence
from resources.git.repository import Repository
from resources.git.repository_turn import repository_turn
from resources.landing.busy_checkouts import (
    CheckoutBusy,
    CheckoutLeftBehind,
    FilesInTheWay,
    IndexLocked,
)
from resources.landing.candidates import Candidate
from state.crash_points import crash_point
from state.errors import PatchlineError, StaleLeaseError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lost:
    """The branch moved while the candidate was judged; nothing landed."""

    expected: str | None
    found: str | None


class LandedTreeMismatch(PatchlineError):
    """The commit to land does not have the tree that was judged; it was not landed."""

    code = "landed_tree_mismatch"


def is_on(repository: Repository, commit: str | None, head: str | None) -> bool:
    """Whether a commit is part of a branch that is at `head`: git decides what has landed."""
    return bool(
        commit and head and repository.resolve(commit) and repository.is_ancestor(commit, head)
    )


def land(
    repository: Repository,
    branch: str,
    candidate: Candidate,
    commit: str,
    fence: Fence | None = None,
) -> Lost | None:
    """Move a branch to the judged candidate's commit.

    Args:
        repository: where.
        branch: without `refs/heads/`.
        candidate: what was judged.
        commit: what lands.
        fence: of the turn that this is done in.

    Returns:
        None when it landed, Lost when the branch was elsewhere.

    Raises:
        LandedTreeMismatch: the commit's tree, as git has it, is not the judged one.
        StaleLeaseError: somebody else has the branch's lease; nothing landed.
    """
    try:
        tree = repository.stored_tree_of(commit)
    except ValueError as error:
        raise LandedTreeMismatch(f"{error}; it was not landed") from error
    if tree != candidate.tree:
        raise LandedTreeMismatch(
            f"commit {commit} has the tree {tree} and not {candidate.tree}, which the gates judged"
        )
    if repository.move_branch(branch, commit, candidate.head, fence):
        return None
    return Lost(candidate.head, repository.branch_head(branch))


def land_on_target(
    repository: Repository,
    branch: str,
    candidate: Candidate,
    commit: str,
    fence: Fence | None = None,
) -> Lost | None:
    """Land on a branch that people use: a clean checkout of it moves along.

    Raises:
        LandedTreeMismatch: the commit's tree is not the judged one.
        CheckoutBusy: the branch is checked out with local changes, or with untracked files where
            new ones would go, or a git command there does not end; nothing landed.
        GitError: the checkout cannot be moved along; the branch was taken back.
        RepositoryLocked: other landings do not end; nothing landed.
        StaleLeaseError: somebody else has the branch's lease; nothing landed.
    """
    with repository_turn(repository):
        checkout = checkout_of(repository, branch)
        if checkout is None:
            return land(repository, branch, candidate, commit, fence)
        found = repository.branch_head(branch)
        if found != candidate.head:  # what the checkout shows is not what we compare it with
            return Lost(candidate.head, found)
        _refuse_if_busy(repository, branch, checkout, candidate.head, commit)
        lost = land(repository, branch, candidate, commit, fence)
        if lost is None:
            crash_point("target-moved", "the target has moved; its checkout shows what it was")
            _move_along(repository, branch, checkout, candidate.head, commit, fence)
        return lost


def refuse_if_checked_out_busy(repository: Repository, branch: str) -> None:
    """Refuse a branch whose checkout could not move along, before anything is built for it.

    Raises:
        CheckoutBusy: it is checked out with local changes, or a git command there does not end.
        RepositoryLocked: other landings do not end.
    """
    with repository_turn(repository):
        checkout = checkout_of(repository, branch)
        if checkout is not None:
            _refuse_if_changed(repository, branch, checkout)


def refuse_if_in_the_way(repository: Repository, branch: str, candidate: Candidate) -> None:
    """Refuse a candidate that a checkout could not move along to, before it is judged.

    A branch that has moved meanwhile is for the landing to find out.

    Raises:
        CheckoutBusy: the branch is checked out with local changes, or with untracked files where
            new ones would go, or a git command there does not end.
        RepositoryLocked: other landings do not end.
    """
    with repository_turn(repository):
        checkout = checkout_of(repository, branch)
        if checkout is not None and repository.branch_head(branch) == candidate.head:
            _refuse_if_busy(repository, branch, checkout, candidate.head, candidate.tree)


def _refuse_if_changed(repository: Repository, branch: str, checkout: Path) -> None:
    changed = local_changes(repository, checkout)
    if changed and shows_the_commit_before(repository, branch, checkout):
        raise CheckoutLeftBehind(branch, str(checkout), changed)
    if changed:
        raise CheckoutBusy(branch, str(checkout), changed)
    if not index_is_free(repository, checkout):
        raise IndexLocked(branch, str(checkout), ("index.lock",))


def _refuse_if_busy(
    repository: Repository, branch: str, checkout: Path, old: str | None, new: str
) -> None:
    _refuse_if_changed(repository, branch, checkout)
    files = in_the_way(repository, checkout, old or repository.empty_tree(), new)
    if files:
        raise FilesInTheWay(branch, str(checkout), files)


def _move_along(
    repository: Repository,
    branch: str,
    checkout: Path,
    old: str | None,
    new: str,
    fence: Fence | None,
) -> None:
    try:
        move_forward(repository, checkout, old, new)
    except GitError as error:
        if not _stays(repository, branch, old, new, fence):
            raise  # ref and checkout agree again, and nothing of the person's is lost
        log.warning(
            "%s is at %s, but its checkout %s could not be moved along (%s); when nothing of yours "
            "is in it: git -C %s reset --hard",
            *(branch, new, checkout, error, checkout),
        )


def _stays(
    repository: Repository, branch: str, old: str | None, new: str, fence: Fence | None
) -> bool:
    """Take a branch back from `new` to `old`; whether `new` is on it all the same."""
    try:
        if old is None:
            repository.delete_branch(branch, new, fence)
        elif repository.move_branch(branch, old, new, fence):
            return False
    except (GitError, StaleLeaseError) as error:
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
