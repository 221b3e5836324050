"""The whole history, and what was anchored of it, in one verdict (design sections 2, 5 and 6).

Verification reads and never writes: neither the database nor the event file nor a repository is
touched, and a history that somebody tampered with is a verdict, not an error.
"""

import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from resources.audit_anchor import AUDIT_REF, DAMAGED, Anchor, anchor, compare
from resources.git_command import GitError
from resources.repository import Repository
from state.audit import Contexts
from state.checkpoints import Checkpoint, CheckpointProblem, checkpoint, verify_checkpoints
from state.clock_and_ids import SystemClock, UlidSource
from state.database import open_database, parse_url, sqlite_path
from state.errors import PatchlineError, StoreUnavailableError
from state.events import EventFile
from state.home import Home
from state.raw_history import any_text, damage_told
from state.schema import runs
from state.settings import Settings
from state.store import StateStore
from state.verification import KEPT, Problem, Progress, verify_history


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem of the history, of a checkpoint or of an anchor.

    Attributes:
        code: see `state.verification.Problem`, `state.checkpoints.CheckpointProblem` and
            `resources.audit_anchor.compare`; `repository_unusable`, when its anchors cannot be
            read; `unreadable`, when the database is damaged; `more`, for those that are not listed.
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
class Verdict:
    """What `verify` has found: how many audit rows there are, and what is wrong."""

    entries: int
    problems: tuple[Finding, ...]

    @property
    def intact(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def as_document(self) -> dict[str, Any]:
        """As JSON (design section 6)."""
        problems = [asdict(one) for one in self.problems]
        return {"intact": self.intact, "entries": self.entries, "problems": problems}


@contextmanager
def opened(home: Home) -> Generator[StateStore]:
    """The store of a home as it stands, for the duration of a block.

    Its event file is not brought up to date: that reads every new row as the store wrote it, and
    these rows may have been tampered with.

    Raises:
        StoreUnavailableError: there is no database, or it cannot be opened.
    """
    url = parse_url(home.database_url)
    if url.get_backend_name() == "sqlite":
        path = sqlite_path(url)
        if not path.is_file() or path.stat().st_size == 0:
            raise StoreUnavailableError(
                f"There is no database at {path}, so there is no history. Set PATCHLINE_HOME to "
                "the home that is meant."
            )
    database = open_database(home.database_url)
    try:
        settings = Settings(SystemClock(), UlidSource(), False, Contexts())
        yield StateStore(database, EventFile(home.events, database), settings)
    finally:
        database.close()


def known_repositories(store: StateStore) -> list[Path]:
    """The repositories that runs of this store have worked on."""
    query = sa.select(runs.c.repo).distinct().where(runs.c.repo.is_not(None)).order_by(runs.c.repo)
    with store.reading() as connection, any_text(connection):
        found: list[Any] = list(connection.execute(query).scalars())
    return [Path(one if isinstance(one, str) else repr(one)) for one in found]


def verify(
    store: StateStore, repositories: Sequence[Path] = (), progress: Progress | None = None
) -> Verdict:
    """Verify every audit row, every entity, every checkpoint, and the anchors in repositories.

    Args:
        store: see `opened`.
        repositories: where to look for anchors; those that the store knows when none is named.
        progress: told of the audit rows.

    Raises:
        StoreUnavailableError: the database cannot be read now.
    """
    history = verify_history(store, progress)
    problems = [_of_history(one) for one in history.problems]
    if history.count > KEPT:
        more = f"There are {history.count - KEPT} problems more, which are not listed."
        problems.append(Finding("more", more))

    def tell(message: str) -> None:
        problems.append(Finding("unreadable", message))

    with damage_told(store, tell):
        problems += [_of_checkpoint(one) for one in verify_checkpoints(store)]
    folders = list(repositories)
    with damage_told(store, tell):
        folders = folders or known_repositories(store)
    with tempfile.TemporaryDirectory(prefix="patchline-audit-") as scratch:
        for folder in folders:
            with damage_told(store, tell):
                problems += _of_anchors(store, folder, Path(scratch))
    return Verdict(history.entries, tuple(dict.fromkeys(problems)))


@dataclass(frozen=True, slots=True)
class Anchoring:
    """What became of the anchors in one repository: the new ones, or why there are none."""

    repository: str
    made: tuple[Anchor, ...] = ()
    error: str | None = None


def make_checkpoint(
    store: StateStore, home: Home, repositories: Sequence[Path] = ()
) -> tuple[Checkpoint | None, list[Anchoring]]:
    """Make a checkpoint of what is new, and anchor every checkpoint that waits for it.

    Args:
        store: the state.
        home: where patchline keeps its git directories.
        repositories: where to anchor; those that the store knows when none is named. One that
            cannot be used keeps none of the others from its anchor.

    Raises:
        HistoryDamagedError: a row has no hash, or the last checkpoint was changed.
        StoreUnavailableError: the database cannot be read or written.
        PreflightError: a repository that was named is none; no checkpoint is made then.
    """
    for folder in repositories:
        Repository.open(folder, home.root)
    made = checkpoint(store)
    return made, [
        _anchored(store, home, folder) for folder in repositories or known_repositories(store)
    ]


def _anchored(store: StateStore, home: Home, folder: Path) -> Anchoring:
    try:
        repository = Repository.open(folder, home.root)
        return Anchoring(str(folder), tuple(anchor(store, repository)))
    except (PatchlineError, OSError) as error:
        return Anchoring(str(folder), error=str(error))


# Parts


def _of_history(one: Problem) -> Finding:
    return Finding(
        *(one.code, one.message, one.since, one.entity_type, one.entity_id),
        transition_id=one.transition_id,
        event_id=one.event_id,
    )


def _of_checkpoint(one: CheckpointProblem, repository: str | None = None) -> Finding:
    return Finding(
        *(one.code, one.message, one.since),
        checkpoint_id=one.checkpoint_id,
        repository=repository,
    )


def _of_anchors(store: StateStore, folder: Path, scratch: Path) -> list[Finding]:
    """What the anchors in a repository say; that they cannot be read is a finding too."""
    where = str(folder)
    try:
        repository = Repository.open(folder, scratch)
        if _points_nowhere(repository):
            message = f"{AUDIT_REF} of {where} names no commit that is there: its anchors are lost."
            return [Finding(DAMAGED, message, repository=where)]
        return [_of_checkpoint(one, where) for one in compare(store, repository)]
    except GitError as error:
        message = f"The anchors in {where} cannot be read: {error}"
        return [Finding(DAMAGED, message, repository=where)]
    except StoreUnavailableError:
        raise
    except (PatchlineError, OSError) as error:
        message = f"The anchors in {where} cannot be compared: {error}"
        return [Finding("repository_unusable", message, repository=where)]


def _points_nowhere(repository: Repository) -> bool:
    """Whether the ref of the anchors is there, and the commit that it names is not."""
    if repository.resolve(AUDIT_REF) is not None:
        return False
    listed = repository.on_refs("for-each-ref", "--format=%(refname)", AUDIT_REF)
    return bool(listed.strip()) or (repository.git_dir / AUDIT_REF).exists()
