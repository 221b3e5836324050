"""Checkpoints of the audit history, kept in the target repository under `refs/patchline/audit`.

Each checkpoint is one commit with the file `checkpoint.json`, on top of the one before it. Where
the repository is cloned or pushed to, its history tells later whether a database is the one that it
was: one that is older than its anchor lacks a checkpoint, a rewritten one has another in its place
(design section 2). One repository keeps the anchors of one database. The format is told in
docs/AUDIT_CHAIN.md.
"""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from resources.git.repository import DURABLE, Repository
from state.canonical import canonical_json
from state.checkpoint_verification import CheckpointProblem, chain_problem
from state.checkpoints import Checkpoint, checkpoints
from state.crash_points import crash_point
from state.errors import PatchlineError
from state.schema import state_transitions
from state.store import StateStore

AUDIT_REF = "refs/patchline/audit"
FILE = "checkpoint.json"
DAMAGED = "anchor_damaged"
SHALLOW = "anchor_shallow"


class AnchorError(PatchlineError):
    """The anchors in a repository are not what was written there, or are another database's.

    Attributes:
        problems: what is wrong, each with its place.
    """

    code = "anchor_mismatch"

    def __init__(
        self, repository: Repository, problems: Sequence[CheckpointProblem], advice: str = ""
    ) -> None:
        self.problems = tuple(problems)
        found = " ".join(one.message for one in problems)
        where = f"The anchors under {AUDIT_REF} of {repository.root}"
        super().__init__(f"{where} cannot be gone by. {found} {advice}".rstrip())


_ADVICE = (
    "Bring the right database back. If the repository is to keep the anchors of a new one, move "
    f"the old ones aside: git update-ref refs/patchline/audit-old {AUDIT_REF} && "
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
        there, damage = _read(repository, tip)
        kept = checkpoints(store)
        problems = [damage] if damage else _differences(store, kept, there) or _breaks(kept)
        if problems:
            shallow = damage is not None and damage.code == SHALLOW
            raise AnchorError(repository, problems, "" if shallow else _ADVICE)
        head, made = tip, list[Anchor]()
        for one in kept[len(there) :]:
            head = _write(repository, one, head)
            made.append(Anchor(head, one))
        crash_point("anchors-written", "anchors are in the object store; no ref leads to the new")
        if head is None or head == tip or _moved(repository, head, tip):
            return made
        # somebody else anchored first: what they wrote is judged and gone on from


def anchors(repository: Repository) -> list[Anchor]:
    """The anchors in a repository, the first one first.

    Raises:
        AnchorError: the ref's history is none of anchors, or is cut off by a shallow clone.
    """
    found, damage = _read(repository, repository.resolve(AUDIT_REF))
    if damage:
        raise AnchorError(repository, [damage])
    return found


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the anchors in a repository say of the database.

    Attributes:
        anchored: the anchors that are those of the database's own checkpoints.
        problems: what does not fit; none when all is well.
    """

    anchored: tuple[Anchor, ...]
    problems: tuple[CheckpointProblem, ...]


def compare(store: StateStore, repository: Repository) -> Comparison:
    """The anchors in a repository against the database.

    Codes: `older_than_anchor` (anchored checkpoints are missing: the tail of the history was cut
    off or the database is an old copy), `rewritten` (a checkpoint is another one than was
    anchored), `anchor_of_another_database` (not even the first checkpoint is the same),
    `anchor_damaged`, `anchor_shallow` (a shallow clone has not all of them). Checkpoints that wait
    for their anchor are no problem. Whether the rows still are those of the checkpoints is for
    `state.checkpoint_verification` to tell.
    """
    there, damage = _read(repository, repository.resolve(AUDIT_REF))
    if damage:
        return Comparison((), (damage,))
    kept = checkpoints(store)
    pairs = zip(kept, there, strict=False)
    anchored = tuple(one for mine, one in pairs if mine == one.checkpoint)
    return Comparison(anchored, tuple(_differences(store, kept, there)))


def is_anchored(checkpoint: Checkpoint, repository: Repository) -> bool:
    """Whether a repository keeps just this checkpoint; what makes a proof a proof.

    Raises:
        AnchorError: see `anchors`.
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


def _read(repository: Repository, tip: str | None) -> tuple[list[Anchor], CheckpointProblem | None]:
    """The anchors up to a commit, and what ends them too early."""
    found: list[Anchor] = []
    previous: Checkpoint | None = None
    for commit, data in _files(repository, tip) if tip else ():
        if not found and _is_cut_off(repository, commit):
            return [], _shallow(commit)
        try:
            previous = _judged(data, previous)
        except ValueError as error:
            since = found[-1].checkpoint.created_at if found else ""
            message = f"The commit {commit} is no anchor: {error}"
            return found, CheckpointProblem(DAMAGED, len(found) + 1, since, message)
        found.append(Anchor(commit, previous))
    return found, None


def _is_cut_off(repository: Repository, commit: str) -> bool:
    """Whether a shallow clone lacks the commits before this one."""
    shallow = repository.git_dir / "shallow"
    return shallow.is_file() and commit in shallow.read_text("ascii", "replace").split()


def _shallow(commit: str) -> CheckpointProblem:
    message = (
        f"This is a shallow clone: it has no anchor from before the commit {commit}, so they "
        "cannot be followed from the first one. Fetch them all: "
        f"git fetch --unshallow <remote> {AUDIT_REF}:{AUDIT_REF}"
    )
    return CheckpointProblem(SHALLOW, 1, "", message)


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


def _differences(
    store: StateStore, kept: Sequence[Checkpoint], there: Sequence[Anchor]
) -> list[CheckpointProblem]:
    """Where the database and the anchors part; each checkpoint holds on to all before it."""
    if there and _is_another(store, kept, there[0].checkpoint):
        return [_of_another(there[0])]
    for mine, one in zip(kept, there, strict=False):
        if mine != one.checkpoint:
            return [_rewritten(one)]
    if len(kept) < len(there):
        return [_missing(there[len(kept)], there[-1])]
    return []


def _is_another(store: StateStore, kept: Sequence[Checkpoint], first: Checkpoint) -> bool:
    """Whether the anchors are another database's, as far as their first checkpoint tells.

    A database without checkpoints is another one when it began after that checkpoint was made; else
    it may be a copy from before.
    """
    if kept:
        return kept[0] != first
    columns = state_transitions.c
    oldest = sa.select(sa.func.min(columns.transition_id)).scalar_subquery()
    query = sa.select(columns.transitioned_at).where(columns.transition_id == oldest)
    with store.reading() as connection:
        began = connection.execute(query).scalar()
    return began is None or str(began) > first.created_at


def _of_another(first: Anchor) -> CheckpointProblem:
    since = first.checkpoint.created_at
    message = (
        f"The anchors are another database's: their first checkpoint, of {since} in the commit "
        f"{first.commit}, is not this one's. One repository keeps the anchors of one database. If "
        "they should be this one's, its whole history was written anew."
    )
    return CheckpointProblem("anchor_of_another_database", 1, since, message)


def _rewritten(one: Anchor) -> CheckpointProblem:
    number, since = one.checkpoint.checkpoint_id, one.checkpoint.created_at
    message = (
        f"Checkpoint {number} in the database is not the one of {since} that the commit "
        f"{one.commit} anchors: the history up to audit row {one.checkpoint.last_transition_id} "
        "was written anew since then, or goes on from an older copy."
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
