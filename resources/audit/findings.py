"""What the anchors in repositories say of a history, for a verdict on it (`audit.verdict`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from resources.audit.anchor import AUDIT_REF, DAMAGED, compare
from resources.git.command import GitError
from resources.git.repository import Repository
from state.checkpoint_verification import CheckpointProblem
from state.checkpoints import Checkpoint
from state.errors import PatchlineError, PreflightError, StoreUnavailableError
from state.raw_history import any_text
from state.schema import runs, state_transitions
from state.store import StateStore


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem of the history, of a checkpoint or of an anchor.

    Attributes:
        code: see `state.verification.Problem`, `CheckpointProblem` and
            `resources.audit.anchor.compare`; `anchor_missing`, when a repository that should keep
            anchors has none; `repository_unusable`, when it should and cannot be read;
            `not_as_expected`, when what the caller has kept is nowhere; `unreadable`, when the
            database is damaged; `more`, for those that are not listed.
        entity_type: the entity that it is about, if it is about one.
        entity_id: of the same.
        transition_id: the audit row.
        event_id: of that row.
        checkpoint_id: the checkpoint that it is about, if it is about one.
        repository: where the anchor is that tells of it.
        since: from when on the history is not what it was; empty when nothing tells.
        message: what, where, and since when.
    """

    code: str
    message: str
    since: str = ""
    entity_type: str | None = None
    entity_id: str | None = None
    transition_id: int | None = None
    event_id: str | None = None
    checkpoint_id: int | None = None
    repository: str | None = None


@dataclass(frozen=True, slots=True)
class Anchored:
    """How many of the store's checkpoints a repository keeps; None and why when that is unknown."""

    repository: str
    checkpoints: int | None
    note: str | None = None


def known_repositories(store: StateStore) -> dict[Path, int]:
    """The repositories that runs of this store have worked on, each with its first run's audit row.

    That is 0 where the audit does not tell.
    """
    columns = state_transitions.c
    of_run = sa.and_(columns.entity_type == "run", columns.entity_id == runs.c.run_id)
    first = sa.func.coalesce(sa.func.min(columns.transition_id), 0)
    query = (
        sa.select(runs.c.repo, first)
        .outerjoin(state_transitions, of_run)
        .where(runs.c.repo.is_not(None))
        .group_by(runs.c.repo)
        .order_by(runs.c.repo)
    )
    with store.reading() as connection, any_text(connection):
        found: list[Any] = list(connection.execute(query))
    return {Path(one if isinstance(one, str) else repr(one)): row for one, row in found}


def to_look_at(
    store: StateStore, named: Sequence[Path], kept: Sequence[Checkpoint]
) -> list[tuple[Path, bool]]:
    """Repositories, and whether they must keep anchors.

    One that is named must; of those that the store knows, each that a run had worked on when the
    last checkpoint was made, since that was anchored there.
    """
    if named:
        return [(one, bool(kept)) for one in named]
    last = max((one.last_transition_id for one in kept if one.sound), default=0)
    return [(one, 0 < row <= last) for one, row in known_repositories(store).items()]


class Look:
    """Looks at the anchors in repositories.

    Args:
        store: the state.
        kept: its checkpoints.
        scratch: a folder for git's own use.

    Attributes:
        problems: what the anchors say against the store.
        commits: that anchor checkpoints of it.
    """

    def __init__(self, store: StateStore, kept: Sequence[Checkpoint], scratch: Path) -> None:
        self.problems: list[Finding] = []
        self.commits: set[str] = set()
        self._store, self._kept, self._scratch = store, kept, scratch

    def at(self, folder: Path, required: bool) -> Anchored:
        """Look at one repository; that its anchors cannot be read is a problem if they must."""
        where = str(folder)
        try:
            repository = Repository.open(folder, self._scratch)
            return self._judged(repository, where, required)
        except GitError as error:
            return self._bad(DAMAGED, where, f"The anchors in {where} cannot be read: {error}")
        except StoreUnavailableError:
            raise
        except (PatchlineError, OSError) as error:
            why = error.message if isinstance(error, PreflightError) else str(error).rstrip(".")
            message = (
                f"The anchors in {where} cannot be compared: {why}. If the repository was moved, "
                "name its new place with --repo."
            )
            if not required:
                return Anchored(where, None, message)
            return self._bad("repository_unusable", where, message)

    def _judged(self, repository: Repository, where: str, required: bool) -> Anchored:
        if _points_nowhere(repository):
            lost = f"{AUDIT_REF} of {where} names no commit that is there: its anchors are lost."
            return self._bad(DAMAGED, where, lost)
        found = compare(self._store, repository)
        self.problems += [of_checkpoint(one, where) for one in found.problems]
        self.commits |= {one.commit for one in found.anchored}
        if required and repository.resolve(AUDIT_REF) is None:
            return self._bad("anchor_missing", where, _no_anchor(where, len(self._kept)))
        return Anchored(where, len(found.anchored))

    def _bad(self, code: str, where: str, message: str) -> Anchored:
        self.problems.append(Finding(code, message, repository=where))
        return Anchored(where, None, message)


def _no_anchor(where: str, count: int) -> str:
    return (
        f"There is no {AUDIT_REF} in {where}, but checkpoints in the database ({count}): they were "
        "never anchored there, or the anchors were taken away. Compare with a clone, then anchor "
        "them again with: patchline audit checkpoint. Who never anchors says --no-anchors."
    )


def not_expected(one: str, looked: Sequence[Anchored]) -> Finding:
    """That what the caller has kept is neither in the database nor in a repository."""
    where = ", ".join(anchored.repository for anchored in looked)
    there = f"an anchor of it in {where}" if where else "an anchor (no repository was looked at)"
    message = (
        f"{one} was expected, but it is neither a checkpoint in the database nor {there}: the "
        "history does not go on from there."
    )
    return Finding("not_as_expected", message)


def of_checkpoint(one: CheckpointProblem, repository: str | None = None) -> Finding:
    """A problem of a checkpoint, or of its anchor in a repository."""
    return Finding(
        *(one.code, one.message, one.since),
        checkpoint_id=one.checkpoint_id,
        repository=repository,
    )


def _points_nowhere(repository: Repository) -> bool:
    """Whether the ref of the anchors is there, and the commit that it names is not."""
    if repository.resolve(AUDIT_REF) is not None:
        return False
    listed = repository.on_refs("for-each-ref", "--format=%(refname)", AUDIT_REF)
    return AUDIT_REF in listed.split() or (repository.git_dir / AUDIT_REF).is_file()
