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

from resources.audit.anchor import Anchor, anchor
from resources.audit.findings import (
    Anchored,
    Finding,
    Look,
    known_repositories,
    not_expected,
    of_checkpoint,
    to_look_at,
)
from resources.git.repository import Repository
from state.audit import Contexts
from state.checkpoint_verification import verify_checkpoints
from state.checkpoints import Checkpoint, checkpoint, checkpoints, uncovered
from state.clock_and_ids import SystemClock, UlidSource
from state.crash_points import crash_point
from state.database import open_database, parse_url, sqlite_path
from state.errors import PatchlineError, StoreUnavailableError
from state.events import EventFile
from state.home import Home
from state.raw_history import damage_told
from state.settings import Settings
from state.store import StateStore
from state.verification import KEPT, Problem, Progress, verify_history


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `verify` has found.

    Attributes:
        entries: audit rows there are.
        problems: what is wrong.
        uncovered: audit rows that no checkpoint covers; what was done to them before they were read
            here, nothing outside the database can tell.
        checkpoints: how many there are.
        anchored: the repositories that were looked at.
    """

    entries: int
    problems: tuple[Finding, ...]
    uncovered: int
    checkpoints: int
    anchored: tuple[Anchored, ...]

    @property
    def intact(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def as_document(self) -> dict[str, Any]:
        """As JSON (design section 6)."""
        return {
            "intact": self.intact,
            "entries": self.entries,
            "problems": [asdict(one) for one in self.problems],
            "uncovered": self.uncovered,
            "checkpoints": self.checkpoints,
            "anchors": [asdict(one) for one in self.anchored],
        }


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


def verify(
    store: StateStore,
    repositories: Sequence[Path] = (),
    progress: Progress | None = None,
    *,
    anchors: bool = True,
    expected: Sequence[str] = (),
) -> Verdict:
    """Verify every audit row, every entity, every checkpoint, and the anchors in repositories.

    Args:
        store: see `opened`.
        repositories: where to look for anchors; those that the store knows when none is named.
        progress: told of the audit rows.
        anchors: whether to look at any repository.
        expected: hashes of checkpoints, or commits that anchor them, which the caller has kept
            elsewhere: the history must go on from each of them.

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

    kept, below, looked = list[Checkpoint](), 0, list[Anchored]()
    seen: set[str] = set()
    with damage_told(store, tell):
        problems += [of_checkpoint(one) for one in verify_checkpoints(store)]
        kept, below = checkpoints(store), uncovered(store)
        seen |= {one.hash for one in kept if one.sound}
    with (
        damage_told(store, tell),
        tempfile.TemporaryDirectory(prefix="patchline-audit-") as scratch,
    ):
        look = Look(store, kept, Path(scratch))
        for folder, required in to_look_at(store, repositories, kept) if anchors else ():
            looked.append(look.at(folder, required))
        problems += look.problems
        seen |= look.commits
    problems += [not_expected(one, looked) for one in expected if one.lower() not in seen]
    unique = tuple(dict.fromkeys(problems))
    return Verdict(history.entries, unique, below, len(kept), tuple(looked))


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
        HistoryDamagedError: a row or the last checkpoint was changed.
        StoreUnavailableError: the database cannot be read or written.
        PreflightError: a repository that was named is none; no checkpoint is made then.
    """
    for folder in repositories:
        Repository.open(folder, home.root)
    made = checkpoint(store)
    crash_point("checkpoint-kept", "a checkpoint is in the database; no repository has its anchor")
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
