"""Each checkpoint becomes a commit in the repository that the database worked on."""

from pathlib import Path

import pytest

from resources.audit import anchor as anchoring
from resources.audit.anchor import AUDIT_REF, AnchorError, anchor, anchors
from resources.git.command import GitError
from resources.git.repository import Repository
from state.canonical import canonical_json
from state.checkpoints import checkpoints
from state.store import StateStore
from tests.resources.anchoring import found, grow
from tests.resources.gitbox import GitBox, make_repository


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
    assert found(store, box) == []


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
    assert found(store, box) == []
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
    real = anchoring._moved

    def overtaken(repository: Repository, new: str, old: str | None) -> bool:
        monkeypatch.setattr(anchoring, "_moved", real)
        grow(store)
        assert len(anchor(store, repository)) == 2
        grow(store)
        return real(repository, new, old)

    monkeypatch.setattr(anchoring, "_moved", overtaken)
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
