"""Is a commit what its trailers say? Everything they name is computed anew, and compared.

The commit itself, its ledger entry, its patch, its gates and its audit rows each tell a part of
the story; a proof says of each part whether it agrees with the others. Nothing is written: what git
must make on the way goes to a folder of its own. Source: design section 4 step 8, section 5.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from resources.git.commit_text import LEDGER, PINNED, RUN, CommitText, read_commit
from resources.git.repository import Repository
from resources.proof.of_merge import merge_parts
from resources.proof.of_patch import patch_parts
from resources.proof.parts import Part, Work
from resources.specs import RunSpec
from state.store import StateStore

OF_PATCHES = tuple(
    name for name in PINNED if name not in (RUN, "Patchline-Gates", "Patchline-Audit")
)


@dataclass(frozen=True)
class CommitProof:
    """What was found out about a commit.

    Attributes:
        commit: its whole name.
        ledger_id: the entry that its trailers name; None when they name none.
        parts: of the proof, each with its verdict.
    """

    commit: str
    ledger_id: str | None
    parts: tuple[Part, ...]

    @property
    def verified(self) -> bool:
        """Whether every part holds."""
        return all(part.ok for part in self.parts)

    def as_document(self) -> dict[str, Any]:
        """As JSON."""
        parts = [{"part": one.part, "ok": one.ok, "message": one.message} for one in self.parts]
        return {
            "commit": self.commit,
            "ledger_id": self.ledger_id,
            "verified": self.verified,
            "parts": parts,
        }


@contextmanager
def reading_repository(folder: Path) -> Iterator[Repository]:
    """A repository that is only read: all that git writes is gone after the block.

    Raises:
        PreflightError: there is no repository.
    """
    with TemporaryDirectory(prefix="patchline-verify-") as scratch:
        objects = Path(scratch, "objects")
        (objects / "info").mkdir(parents=True)
        opened = Repository.open(folder, Path(scratch, "home"))
        yield replace(opened.with_new_objects(objects), _trees={})


def prove_commit(
    store: StateStore, repository: Repository, commit: str, spec_of: Callable[[Any], RunSpec]
) -> CommitProof:
    """Prove a commit, part by part.

    Args:
        store: what is known of its patch, gates and history.
        repository: where it is; see `reading_repository`.
        commit: its whole name.
        spec_of: the spec that a run (its row) followed; PatchlineError when it cannot be told.

    Raises:
        HistoryDamagedError, StoreUnavailableError: the database cannot be read.
        GitError: the commit cannot be read.
    """
    text = read_commit(repository, commit)
    ledger_id = text.trailers.get(LEDGER)
    work = Work(store, repository, text, spec_of)
    if any(name in text.trailers for name in OF_PATCHES):
        parts = patch_parts(work)
    elif RUN in text.trailers:
        parts = merge_parts(work)
    else:
        parts = (Part("trailers", False, _not_ours(text)),)
    return CommitProof(commit, ledger_id, tuple(parts))


def _not_ours(text: CommitText) -> str:
    return (
        f"commit {text.name[:12]} has no trailers of patchline: it was not landed by it, so there "
        "is nothing to prove"
    )
