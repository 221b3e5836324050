"""Whose changes a patch is in conflict with: commits since its base, and the tasks behind them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from resources.effects import printable
from resources.git.repository import Repository
from state.store import StateStore

MAX_PATHS = 20
MAX_COMMITS = 5
"""Of one path; the newest are named."""
SUBJECT_LENGTH = 60


@dataclass(frozen=True)
class Other:
    """A commit that changed a conflicting path since the patch's base.

    Attributes:
        path: as it is shown to people.
        commit: its full name.
        subject: the first line of its message, fit to be shown; a stranger's text.
        ledger_id: the ledger entry that it landed for; None for a person's.
        task: `workstream/task` of that entry.
    """

    path: str
    commit: str
    subject: str
    ledger_id: str | None = None
    task: str | None = None

    def __str__(self) -> str:
        short = self.commit[:12]
        if self.ledger_id is None:
            return f'commit {short} "{self.subject}"'
        return f"{self.task or 'a task'} ({self.ledger_id}, commit {short})"


def others_since(
    store: StateStore, repository: Repository, base: str, head: str, paths: Sequence[str]
) -> tuple[Other, ...]:
    """Who changed these paths after `base` on the way to `head`, newest first for each path.

    Args:
        store: tells which commits are ours.
        repository: where.
        base: the commit that the patch was made on.
        head: the commit that it is in conflict with.
        paths: the conflicting ones.
    """
    found = [other for path in paths[:MAX_PATHS] for other in _of(repository, base, head, path)]
    ours = _entries(store, {other.commit for other in found})
    return tuple(_named(other, ours.get(other.commit), store) for other in found)


def _of(repository: Repository, base: str, head: str, path: str) -> list[Other]:
    told = repository.on_objects(
        *("--literal-pathspecs", "log", "-z", "--format=%H %s", f"-n{MAX_COMMITS}"),
        *("--end-of-options", f"{base}..{head}", "--", path),
        work_tree=repository.control,  # a path is one of the tree's, wherever we are
    ).stdout.decode("utf-8", "surrogateescape")
    pairs = (line.partition(" ") for line in told.split("\0") if line)
    return [Other(path, commit, _short(subject)) for commit, _, subject in pairs]


def _short(subject: str) -> str:
    shown = printable(subject)
    return shown if len(shown) <= SUBJECT_LENGTH else f"{shown[: SUBJECT_LENGTH - 3]}..."


def _entries(store: StateStore, commits: Iterable[str]) -> dict[str, Any]:
    wanted = sorted(commits)
    rows = store.find("patch_ledger", commit_sha=wanted) if wanted else []
    return {row.commit_sha: row for row in rows}


def _named(other: Other, entry: Any, store: StateStore) -> Other:
    if entry is None:
        return other
    task = None
    if entry.task_id and entry.workstream_id:
        stream = store.get("workstream", entry.workstream_id).slug
        task = f"{stream}/{store.get('task', entry.task_id).slug}"
    return Other(other.path, other.commit, other.subject, entry.ledger_id, task)


def of_path(others: Sequence[Other], path: str) -> str:
    """Who changed a path, in words: `core/imports (led_1, commit 0a1b...)`; empty if unknown."""
    return ", ".join(dict.fromkeys(str(other) for other in others if other.path == path))


def in_words(paths: Sequence[str], others: Sequence[Other]) -> str:
    """The conflicting paths, each with who changed it."""
    told = [(printable(path), of_path(others, path)) for path in paths]
    return "; ".join(f"{path}, changed by {who}" if who else path for path, who in told)
