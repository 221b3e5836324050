"""Anchors: a database that is not the one it was shows in the repository it worked on."""

import json
from pathlib import Path

import pytest

from resources.audit.anchor import AUDIT_REF, AnchorError, anchor, anchors, compare, is_anchored
from resources.git.repository import Repository
from state.canonical import canonical_json
from state.checkpoints import checkpoint, checkpoints
from state.clock_and_ids import ManualClock
from state.proofs import prove
from state.store import StateStore
from tests.resources.anchoring import copied, found, grow, opened, put, tamper
from tests.resources.gitbox import GitBox


def test_checkpoints_that_wait_for_their_anchor_are_no_problem(
    store: StateStore, box: GitBox
) -> None:
    grow(store)
    anchor(store, box.repository)
    grow(store, 2)
    assert found(store, box) == []


def test_a_database_that_is_older_than_its_anchor_shows(
    store: StateStore, box: GitBox, tmp_path: Path
) -> None:
    grow(store, 2)
    backup = copied(store, tmp_path / "backup")
    grow(store, 2)
    anchor(store, box.repository)
    with opened(backup) as old:
        assert found(old, box) == [("older_than_anchor", 3)]
        problem = compare(old, box.repository).problems[0]
        assert "audit row 4" in problem.message
        assert problem.since == checkpoints(store)[2].created_at
        with pytest.raises(AnchorError, match=r"older than its anchor.*git update-ref"):
            anchor(old, box.repository)
        grow(old, 3, name="other")
        assert found(old, box) == [("rewritten", 3)]
        with pytest.raises(AnchorError, match="Checkpoint 3 in the database") as refused:
            anchor(old, box.repository)
        assert [one.code for one in refused.value.problems] == ["rewritten"]
    assert found(store, box) == []


def test_another_database_does_not_anchor_in_the_same_place(
    store: StateStore, box: GitBox, tmp_path: Path
) -> None:
    grow(store, 2)
    anchor(store, box.repository)
    before = box.head(AUDIT_REF)
    (tmp_path / "other").mkdir()
    with opened(tmp_path / "other") as other:
        grow(other, 3, name="other")
        assert found(other, box) == [("anchor_of_another_database", 1)]
        with pytest.raises(AnchorError, match="another database's"):
            anchor(other, box.repository)
        assert box.head(AUDIT_REF) == before
        # What the message says to do about it:
        box.git("update-ref", "refs/patchline/audit-old", AUDIT_REF)
        box.git("update-ref", "-d", AUDIT_REF)
        assert len(anchor(other, box.repository)) == 3


def test_a_database_without_checkpoints_is_another_one_if_it_began_later(
    store: StateStore, box: GitBox, tmp_path: Path
) -> None:
    before = copied(store, tmp_path / "before")
    store.create("worker")
    early = copied(store, tmp_path / "early")
    grow(store)
    anchor(store, box.repository)
    with opened(early) as old:
        assert found(old, box) == [("older_than_anchor", 1)]
    with opened(before) as empty:
        assert found(empty, box) == [("anchor_of_another_database", 1)]
        assert isinstance(empty.clock, ManualClock)
        empty.clock.advance(1)
        empty.create("worker")
        assert found(empty, box) == [("anchor_of_another_database", 1)]
        message = compare(empty, box.repository).problems[0].message
        assert "One repository keeps the anchors of one database" in message


def test_a_shallow_clone_is_told_from_damage(
    store: StateStore, box: GitBox, tmp_path: Path
) -> None:
    grow(store, 3)
    made = anchor(store, box.repository)
    box.git("init", "-q", "clone")
    clone = GitBox.__new__(GitBox)
    clone.path = box.path / "clone"
    fetch = ("fetch", "-q", "--depth", "1", f"file://{box.path}", f"{AUDIT_REF}:{AUDIT_REF}")
    clone.git(*fetch)
    repository = Repository.open(clone.path, tmp_path / "home-of-clone")
    (problem,) = compare(store, repository).problems
    assert problem.code == "anchor_shallow"
    assert "git fetch --unshallow" in problem.message
    for act in (lambda: anchors(repository), lambda: anchor(store, repository)):
        with pytest.raises(AnchorError, match="shallow clone") as refused:
            act()
        assert "right database" not in str(refused.value)
    # What the message says to do about it:
    clone.git("fetch", "-q", "--unshallow", f"file://{box.path}", f"{AUDIT_REF}:{AUDIT_REF}")
    whole = Repository.open(clone.path, tmp_path / "home-of-clone")
    assert anchors(whole) == made
    assert compare(store, whole).anchored == tuple(made)


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
    assert found(store, box) == []
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
