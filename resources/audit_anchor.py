"""Checkpoints of the audit history, kept in the target repository under `refs/patchline/audit`.

Each checkpoint is one commit with the file `checkpoint.json`, on top of the one before it. Where
the repository is cloned or pushed to, its history tells later whether a database is the one that it
was: one that is older than its anchor lacks a checkpoint, a rewritten one has another in its place
(design section 2). One repository keeps the anchors of one database.
"""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from resources.repository import DURABLE, Repository
from state.canonical import canonical_json
from state.checkpoints import Checkpoint, CheckpointProblem, chain_problem, checkpoints
from state.errors import PatchlineError
from state.store import StateStore

AUDIT_REF = "refs/patchline/audit"
FILE = "checkpoint.json"
DAMAGED = "anchor_damaged"


class AnchorError(PatchlineError):
    """The anchors in a repository are not what was written there, or are another database's.

    Attributes:
        problems: what is wrong, each with its place.
    """

    code = "anchor_mismatch"

    def __init__(self, repository: Repository, problems: Sequence[CheckpointProblem]) -> None:
        self.problems = tuple(problems)
        found = " ".join(one.message for one in problems)
        super().__init__(
            f"The anchors under {AUDIT_REF} of {repository.root} do not fit this database. {found} "
            "Bring the right database back. If the repository is to keep the anchors of a new one, "
            f"move the old ones aside: git update-ref refs/patchline/audit-old {AUDIT_REF} && "
            f"git update-ref -d {AUDIT_REF}"
        )


@dataclass(frozen=True, slots=True)
class Anchor:
    """A checkpoint as a repository keeps it, and the commit that holds it."""

    commit: str
    checkpoint: Checkpoint


def anchor(store: StateStore, repository: Repository) -> list[Anchor]:
    """Bring the anchors up to the store's last checkpoint; says which are new. Again is idempotent.

    The same checkpoints are the same commits, whoever writes them.

    Raises:
        AnchorError: the anchors there are no beginning of the store's checkpoints, or these are
            damaged themselves.
        GitError: the repository cannot be written.
    """
    while True:
        tip = repository.resolve(AUDIT_REF)
        there = _read(repository, tip)
        kept = checkpoints(store)
        problems = _differences(kept, there) or _breaks(kept)
        if problems:
            raise AnchorError(repository, problems)
        head, made = tip, list[Anchor]()
        for one in kept[len(there) :]:
            head = _write(repository, one, head)
            made.append(Anchor(head, one))
        if head is None or head == tip or _moved(repository, head, tip):
            return made
        # somebody else anchored first: what they wrote is judged and gone on from


def anchors(repository: Repository) -> list[Anchor]:
    """The anchors in a repository, the first one first.

    Raises:
        AnchorError: the ref's history is none of anchors.
    """
    return _read(repository, repository.resolve(AUDIT_REF))


def compare(store: StateStore, repository: Repository) -> list[CheckpointProblem]:
    """What the anchors say against the database; nothing when all is well.

    Codes: `older_than_anchor` (anchored checkpoints are missing: the tail of the history was cut
    off or the database is an old copy), `rewritten` (a checkpoint is another one than was
    anchored), `anchor_damaged`. Checkpoints that wait for their anchor are no problem. Whether the
    rows still are those of the checkpoints is for `state.checkpoints.verify_checkpoints` to tell.
    """
    try:
        there = anchors(repository)
    except AnchorError as error:
        return list(error.problems)
    return _differences(checkpoints(store), there)


def is_anchored(checkpoint: Checkpoint, repository: Repository) -> bool:
    """Whether a repository keeps just this checkpoint; what makes a proof a proof.

    Raises:
        AnchorError: the ref's history is none of anchors.
    """
    return checkpoint in [one.checkpoint for one in anchors(repository)]


# Parts


def _moved(repository: Repository, new: str, old: str | None) -> bool:
    return repository.move_reference(AUDIT_REF, new, old, why="patchline: audit checkpoint")


def _write(repository: Repository, one: Checkpoint, parent: str | None) -> str:
    """The commit of a checkpoint on top of another anchor."""
    data = canonical_json(one.as_document()).encode()
    write_blob = (*DURABLE, "hash-object", "-t", "blob", "-w", "--stdin")
    blob = repository.on_objects(*write_blob, stdin=data).stdout.decode().strip()
    entry = f"100644 blob {blob}\t{FILE}\0".encode()
    made = repository.on_objects(*DURABLE, "mktree", "-z", stdin=entry)
    message = f"Audit checkpoint {one.checkpoint_id}\n\nPatchline-Audit: {one.hash}\n"
    parents = (parent,) if parent else ()
    return repository.commit(made.stdout.decode().strip(), parents, message, one.created_at)


def _read(repository: Repository, tip: str | None) -> list[Anchor]:
    """The anchors up to a commit."""
    found: list[Anchor] = []
    previous: Checkpoint | None = None
    for commit, data in _files(repository, tip) if tip else ():
        try:
            previous = _judged(data, previous)
        except ValueError as error:
            since = found[-1].checkpoint.created_at if found else ""
            message = f"The commit {commit} is no anchor: {error}"
            problem = CheckpointProblem(DAMAGED, len(found) + 1, since, message)
            raise AnchorError(repository, [problem]) from error
        found.append(Anchor(commit, previous))
    return found


def _judged(data: bytes | None, previous: Checkpoint | None) -> Checkpoint:
    """The checkpoint in an anchor's file.

    Raises:
        ValueError: it is none, or none that follows the one before.
    """
    if data is None:
        raise ValueError(f"it has no file {FILE}.")
    try:
        document = json.loads(data)
    except RecursionError as error:
        raise ValueError(f"its {FILE} cannot be read.") from error
    one = Checkpoint.from_document(document)
    if problem := chain_problem(one, previous):
        raise ValueError(problem.message)
    return one


def _files(repository: Repository, tip: str) -> Iterator[tuple[str, bytes | None]]:
    """The commits up to `tip`, the oldest first, and the file in each; None where it has none."""
    listed = repository.on_objects("rev-list", "--first-parent", "--reverse", tip)
    commits = listed.stdout.decode().split()
    wanted = "".join(f"{commit}:{FILE}\n" for commit in commits).encode()
    rest = io.BytesIO(repository.on_objects("cat-file", "--batch", stdin=wanted).stdout)
    for commit in commits:
        said = rest.readline().split()  # <name> blob <size>, or <asked for> missing
        if said[-1] == b"missing":
            yield commit, None
            continue
        yield commit, rest.read(int(said[-1]) + 1)[:-1]


def _differences(kept: Sequence[Checkpoint], there: Sequence[Anchor]) -> list[CheckpointProblem]:
    """Where the database and the anchors part; each checkpoint holds on to all before it."""
    for mine, one in zip(kept, there, strict=False):
        if mine != one.checkpoint:
            return [_rewritten(one)]
    if len(kept) < len(there):
        return [_missing(there[len(kept)], there[-1])]
    return []


def _rewritten(one: Anchor) -> CheckpointProblem:
    number, since = one.checkpoint.checkpoint_id, one.checkpoint.created_at
    message = (
        f"Checkpoint {number} in the database is not the one of {since} that the commit "
        f"{one.commit} anchors: the history up to audit row {one.checkpoint.last_transition_id} "
        "was written anew since then, or it is another database's."
    )
    return CheckpointProblem("rewritten", number, since, message)


def _missing(first: Anchor, last: Anchor) -> CheckpointProblem:
    number, since = first.checkpoint.checkpoint_id, first.checkpoint.created_at
    message = (
        f"The database is older than its anchor: checkpoint {number} of {since}, which the commit "
        f"{first.commit} anchors, and all after it are missing. The history went on to audit row "
        f"{last.checkpoint.last_transition_id} at least."
    )
    return CheckpointProblem("older_than_anchor", number, since, message)


def _breaks(kept: Sequence[Checkpoint]) -> list[CheckpointProblem]:
    """What is wrong with the database's own chain of checkpoints."""
    before = (None, *kept)
    found = (chain_problem(one, previous) for one, previous in zip(kept, before, strict=False))
    return [problem for problem in found if problem]
