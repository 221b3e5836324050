"""Anchors: a database that is not the one it was shows in the repository it worked on."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from resources import audit_anchor
from resources.audit_anchor import AUDIT_REF, AnchorError, anchor, anchors, compare, is_anchored
from resources.git_command import GitError
from resources.repository import Repository
from state.canonical import canonical_json
from state.checkpoints import checkpoint, checkpoints
from state.clock_and_ids import IdSource, ManualClock, SequentialIds
from state.proofs import prove
from state.store import StateStore
from tests.resources.gitbox import GitBox, make_repository


@pytest.fixture
def box(tmp_path: Path) -> GitBox:
    return GitBox(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    with opened(tmp_path, SequentialIds()) as store:
        yield store


def opened(folder: Path, ids: IdSource | None = None) -> StateStore:
    return StateStore.open(f"sqlite:///{folder / 'pipeline.db'}", clock=ManualClock(), ids=ids)


def grow(store: StateStore, times: int = 1, name: str = "tool") -> None:
    """So many new events, each with a checkpoint of its own."""
    for _ in range(times):
        count = len(store.find("circuit_breaker"))
        store.create("circuit_breaker", tool_id=f"{name}{count}")
        assert checkpoint(store) is not None


def copied(store: StateStore, folder: Path) -> Path:
    """A copy of the database as it is now, as a backup makes it."""
    folder.mkdir()
    with (
        closing(sqlite3.connect(store.database.path)) as source,
        closing(sqlite3.connect(folder / "pipeline.db")) as target,
    ):
        source.backup(target)
    return folder


def tamper(store: StateStore, *statements: str) -> None:
    """Run SQL on the file as somebody would who took the triggers away first."""
    with closing(sqlite3.connect(store.database.path)) as raw, raw:
        names = raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for statement in (*(f"DROP TRIGGER {name}" for (name,) in names), *statements):
            raw.execute(statement)


def found(store: StateStore, box: GitBox) -> list[tuple[str, int]]:
    return [(one.code, one.checkpoint_id) for one in compare(store, box.repository)]


def put(box: GitBox, data: bytes, parent: str | None, name: str = "checkpoint.json") -> str:
    """A commit with one file, as somebody would forge an anchor."""
    blob = box.repository.on_objects("hash-object", "-w", "--stdin", stdin=data).stdout.decode()
    entry = f"100644 blob {blob.strip()}\t{name}\n".encode()
    tree = box.repository.on_objects("mktree", stdin=entry).stdout.decode().strip()
    parents = (parent,) if parent else ()
    return box.repository.commit(tree, parents, "forged\n", "2026-01-01T00:00:00Z")


# Anchoring


def test_each_checkpoint_is_a_commit_on_top_of_the_one_before(
    store: StateStore, box: GitBox
) -> None:
    grow(store, 3)
    made = anchor(store, box.repository)
    commits = box.git("rev-list", "--reverse", AUDIT_REF).split()
    assert [one.commit for one in made] == commits
    assert [one.checkpoint for one in made] == checkpoints(store)
    assert anchors(box.repository) == made
    assert box.git("ls-tree", "--name-only", AUDIT_REF) == "checkpoint.json"
    last = checkpoints(store)[-1]
    assert box.git("show", f"{AUDIT_REF}:checkpoint.json") == canonical_json(last.as_document())
    shown = box.git("show", "-s", "--format=%an %aI %cI %(trailers:key=Patchline-Audit)", AUDIT_REF)
    date = "2026-01-02T03:04:05+00:00"
    assert shown == f"patchline {date} {date} Patchline-Audit: {last.hash}"
    assert box.git("for-each-ref", "--format=%(refname)").split() == ["refs/heads/main", AUDIT_REF]
    box.git("fsck", "--strict", "--no-dangling")
    assert compare(store, box.repository) == []


def test_anchoring_again_changes_nothing(store: StateStore, box: GitBox) -> None:
    grow(store)
    anchor(store, box.repository)
    before = box.head(AUDIT_REF)
    assert anchor(store, box.repository) == []
    assert box.head(AUDIT_REF) == before
    grow(store)
    assert [one.checkpoint.checkpoint_id for one in anchor(store, box.repository)] == [2]
    assert box.head(f"{AUDIT_REF}^") == before


def test_without_checkpoints_there_is_no_anchor(store: StateStore, box: GitBox) -> None:
    assert anchor(store, box.repository) == anchors(box.repository) == []
    assert compare(store, box.repository) == []
    assert box.repository.resolve(AUDIT_REF) is None


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_the_same_checkpoints_are_the_same_commits(
    store: StateStore, tmp_path: Path, object_format: str
) -> None:
    grow(store, 2)
    heads: set[str | None] = set()
    for name in ("one", "two"):
        path = make_repository(tmp_path / name, object_format=object_format)
        repository = Repository.open(path, tmp_path / f"home-{name}")
        if name == "one":
            anchor(store, repository)
        else:
            for _ in range(2):
                anchor(store, repository)
        heads.add(repository.resolve(AUDIT_REF))
    assert len(heads) == 1


def test_whoever_is_overtaken_goes_on_from_there(
    store: StateStore, box: GitBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(store)
    real = audit_anchor._moved

    def overtaken(repository: Repository, new: str, old: str | None) -> bool:
        monkeypatch.setattr(audit_anchor, "_moved", real)
        grow(store)
        assert len(anchor(store, repository)) == 2
        grow(store)
        return real(repository, new, old)

    monkeypatch.setattr(audit_anchor, "_moved", overtaken)
    assert [one.checkpoint.checkpoint_id for one in anchor(store, box.repository)] == [3]
    assert [one.checkpoint for one in anchors(box.repository)] == checkpoints(store)


def test_a_ref_that_cannot_be_written_is_an_error(store: StateStore, box: GitBox) -> None:
    grow(store)
    (box.path / ".git/refs/patchline").write_text("in the way")
    with pytest.raises(GitError, match="update-ref"):
        anchor(store, box.repository)


def test_a_ref_that_was_made_an_alias_of_a_branch_does_not_move_that(
    store: StateStore, box: GitBox
) -> None:
    grow(store)
    before = box.head()
    box.git("symbolic-ref", AUDIT_REF, "refs/heads/main")
    with pytest.raises(AnchorError, match=r"has no file checkpoint\.json"):
        anchor(store, box.repository)
    box.git("symbolic-ref", AUDIT_REF, "refs/heads/unborn")
    assert anchor(store, box.repository)
    assert box.head() == before
    assert box.repository.resolve("refs/heads/unborn") is None


# Comparing


def test_checkpoints_that_wait_for_their_anchor_are_no_problem(
    store: StateStore, box: GitBox
) -> None:
    grow(store)
    anchor(store, box.repository)
    grow(store, 2)
    assert compare(store, box.repository) == []


def test_a_database_that_is_older_than_its_anchor_shows(
    store: StateStore, box: GitBox, tmp_path: Path
) -> None:
    grow(store, 2)
    backup = copied(store, tmp_path / "backup")
    grow(store, 2)
    anchor(store, box.repository)
    with opened(backup) as old:
        assert found(old, box) == [("older_than_anchor", 3)]
        problem = compare(old, box.repository)[0]
        assert "audit row 4" in problem.message
        assert problem.since == checkpoints(store)[2].created_at
        with pytest.raises(AnchorError, match=r"older than its anchor.*git update-ref"):
            anchor(old, box.repository)
        grow(old, 3, name="other")
        assert found(old, box) == [("rewritten", 3)]
        with pytest.raises(AnchorError, match="Checkpoint 3 in the database") as refused:
            anchor(old, box.repository)
        assert [one.code for one in refused.value.problems] == ["rewritten"]
    assert compare(store, box.repository) == []


def test_another_database_does_not_anchor_in_the_same_place(
    store: StateStore, box: GitBox, tmp_path: Path
) -> None:
    grow(store, 2)
    anchor(store, box.repository)
    before = box.head(AUDIT_REF)
    (tmp_path / "other").mkdir()
    with opened(tmp_path / "other") as other:
        assert found(other, box) == [("older_than_anchor", 1)]
        grow(other, 3, name="other")
        assert found(other, box) == [("rewritten", 1)]
        with pytest.raises(AnchorError, match="another database's"):
            anchor(other, box.repository)
        assert box.head(AUDIT_REF) == before
        # What the message says to do about it:
        box.git("update-ref", "refs/patchline/audit-old", AUDIT_REF)
        box.git("update-ref", "-d", AUDIT_REF)
        assert len(anchor(other, box.repository)) == 3


def test_a_history_that_was_written_anew_shows(store: StateStore, box: GitBox) -> None:
    grow(store, 3)
    anchor(store, box.repository)
    tamper(
        store,
        "DELETE FROM audit_checkpoints WHERE checkpoint_id > 1",
        "DELETE FROM state_transitions WHERE transition_id = 2",
    )
    assert checkpoint(store) is not None
    assert found(store, box) == [("rewritten", 2)]


def test_a_checkpoint_that_was_changed_in_the_database_is_not_anchored(
    store: StateStore, box: GitBox
) -> None:
    grow(store, 2)
    tamper(store, "UPDATE audit_checkpoints SET entries = 7 WHERE checkpoint_id = 2")
    with pytest.raises(AnchorError, match=r"Checkpoint 2 .* was changed"):
        anchor(store, box.repository)
    assert box.repository.resolve(AUDIT_REF) is None


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[1]", b"\xff", b"null", b"[" * 100_000, b'{"checkpoint_id": 1}']
)
def test_what_is_no_anchor_is_told_with_its_commit(
    store: StateStore, box: GitBox, data: bytes
) -> None:
    grow(store)
    anchor(store, box.repository)
    forged = put(box, data, box.head(AUDIT_REF))
    box.git("update-ref", AUDIT_REF, forged)
    with pytest.raises(AnchorError, match=forged):
        anchors(box.repository)
    assert found(store, box) == [("anchor_damaged", 2)]


def test_anchors_that_were_taken_out_or_changed_show(store: StateStore, box: GitBox) -> None:
    grow(store, 3)
    first, second, third = anchor(store, box.repository)
    data = canonical_json(third.checkpoint.as_document()).encode()
    bent = canonical_json({**third.checkpoint.as_document(), "entries": 9}).encode()
    for forged in (
        put(box, data, first.commit),
        put(box, data, None),
        put(box, bent, second.commit),
        put(box, data, second.commit, name="other.json"),
    ):
        box.git("update-ref", AUDIT_REF, forged)
        assert [code for code, _ in found(store, box)] == ["anchor_damaged"]
    box.git("update-ref", AUDIT_REF, second.commit)
    assert compare(store, box.repository) == []
    assert [one.commit for one in anchor(store, box.repository)] == [third.commit]


def test_the_checkpoint_of_a_proof_is_looked_up_among_the_anchors(
    store: StateStore, box: GitBox
) -> None:
    grow(store)
    proof = prove(store, "evt_000001")
    assert not is_anchored(proof.checkpoint, box.repository)
    anchor(store, box.repository)
    assert is_anchored(proof.checkpoint, box.repository)
    grow(store)
    assert not is_anchored(checkpoints(store)[1], box.repository)


def test_anchors_survive_a_clone(store: StateStore, box: GitBox, tmp_path: Path) -> None:
    grow(store, 2)
    made = anchor(store, box.repository)
    box.git("clone", "-q", "--mirror", str(box.path), str(tmp_path / "mirror"))
    mirror = Repository.open(tmp_path / "mirror", tmp_path / "home")
    assert anchors(mirror) == made
    assert json.loads(box.git("show", f"{AUDIT_REF}:checkpoint.json"))["checkpoint_id"] == 2
