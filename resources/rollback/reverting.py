"""Taking commits back from a branch that has moved on since: trees, and who is in the way.

A commit is taken back by a three-way merge whose base is the commit itself: what came after it
stays. Where later commits changed the same lines, git says so, and history says which they are.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from resources.git.merging import Conflict
from resources.git.repository import Repository
from resources.landing.candidates import patch_candidate
from state.crash_points import crash_point

NO_DATE = "1970-01-01T00:00:00Z"
"""Of commits that only carry trees into a merge and never land."""


@dataclass(frozen=True)
class Reverted:
    """All of the commits can be taken back: the tree that is left."""

    tree: str


@dataclass(frozen=True)
class Stuck:
    """One of the commits cannot be: where it conflicts with what came later."""

    commit: str
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Blocker:
    """A later commit that must be taken back first.

    Attributes:
        commit: it.
        paths: where it is in the way.
        ledger_id: its entry; None when it is a person's, or has none that could be taken back.
        whose: the task of that entry, or the commit's subject.
    """

    commit: str
    paths: tuple[str, ...]
    ledger_id: str | None
    whose: str


@dataclass(frozen=True)
class Closure:
    """What must be taken back together.

    Attributes:
        commits: all of them, the newest first.
        blockers: those that were not asked for.
        stuck: paths that conflict though no commit is to blame that could be taken back too;
            empty when all is well.
    """

    commits: tuple[str, ...]
    blockers: tuple[Blocker, ...] = ()
    stuck: tuple[str, ...] = ()

    @property
    def foreign(self) -> tuple[Blocker, ...]:
        """Blockers that are no patch of ours: nothing may take them back for a person."""
        return tuple(one for one in self.blockers if one.ledger_id is None)


def revert(repository: Repository, head: str, commits: Sequence[str]) -> Reverted | Stuck:
    """The tree of `head` without what the commits did.

    Args:
        repository: where; what is written are objects that nothing names.
        head: a commit that contains them all.
        commits: the newest first.
    """
    at, tree = head, repository.tree_of(head)
    for commit in commits:
        before = repository.tree_of(f"{commit}^")
        carrier = repository.commit(before, (commit,), "patchline: revert\n", NO_DATE)
        crash_point("revert-carried", "commits that only carry a merge are in the object store")
        merged = patch_candidate(repository, at, commit, before, carrier)
        if isinstance(merged, Conflict):
            return Stuck(commit, merged.paths)
        tree = merged.tree
        at = repository.commit(tree, (at,), "patchline: reverted\n", NO_DATE)
    return Reverted(tree)


def closure(
    repository: Repository,
    head: str,
    commit: str,
    owner: Callable[[str], tuple[str, str] | None],
) -> Closure:
    """Everything that must be taken back with a commit, because it changed the same lines later.

    Stops at the first commit that is a person's.

    Args:
        repository: where; see `revert`.
        head: the branch's present head, which contains the commit.
        commit: the commit to take back.
        owner: ledger entry and task of a commit of ours that can be taken back; None of others.
    """
    newest_first = _newest_first(repository, commit, head)
    commits, blockers = [commit], list[Blocker]()
    while isinstance(found := revert(repository, head, commits), Stuck):
        later = _blocking(repository, head, found, commits, newest_first)
        if later is None:
            return Closure(tuple(commits), tuple(blockers), stuck=found.paths)
        ours = owner(later)
        ledger_id, whose = ours or (None, _subject(repository, later))
        blockers.append(Blocker(later, found.paths, ledger_id, whose))
        if ours is None:
            break
        commits = sorted([*commits, later], key=newest_first.__getitem__)
    return Closure(tuple(commits), tuple(blockers))


def _blocking(
    repository: Repository,
    head: str,
    found: Stuck,
    commits: Sequence[str],
    newest_first: Mapping[str, int],
) -> str | None:
    """The commit since which taking one back has conflicts: the latest such moment before `head`.

    What was in the way once and is undone by now is not in the way.
    """
    since = None
    for later in _touching(repository, found, head):
        if later in commits:
            continue
        before = [c for c in commits if newest_first[c] > newest_first[later]]
        at_that_time = [c for c in before if repository.is_ancestor(c, later)]
        if isinstance(revert(repository, later, at_that_time), Reverted):
            break
        since = later
    return since


def _touching(repository: Repository, found: Stuck, head: str) -> Iterator[str]:
    """Later commits that changed the conflicting paths, the newest first."""
    span = f"{found.commit}..{head}"
    walk = ("rev-list", "--topo-order", "--ancestry-path", span)
    named = repository.on_objects("--literal-pathspecs", *walk, "--", *found.paths)
    yield from named.stdout.decode().split()


def _newest_first(repository: Repository, commit: str, head: str) -> dict[str, int]:
    """The place of every commit from `head` down to `commit`, children before their parents."""
    listed = repository.on_objects("rev-list", "--topo-order", head, f"^{commit}").stdout
    return {one: place for place, one in enumerate([*listed.decode().split(), commit])}


def _subject(repository: Repository, commit: str) -> str:
    shown = repository.on_objects("log", "-1", "--format=%s", commit).stdout
    return shown.decode("utf-8", "backslashreplace").strip()
