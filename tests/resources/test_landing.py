"""Landing: candidates, merges, and a target that people use too."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from resources.git.checkouts import move_forward
from resources.git.command import GitError
from resources.git.commit_text import message_with_trailers
from resources.git.merging import Conflict
from resources.git.repository_turn import RepositoryLocked, repository_turn
from resources.landing.busy_checkouts import CheckoutBusy, FilesInTheWay, IndexLocked
from resources.landing.candidates import Candidate, merge_candidate, patch_candidate
from resources.landing.moving import (
    LandedTreeMismatch,
    Lost,
    land,
    land_on_target,
    move_left_behind_checkout,
    refuse_if_in_the_way,
)
from resources.landing.thread_turns import landing_turn
from tests.resources.gitbox import GitBox, write

DATE = "2026-01-01T00:00:00Z"


@pytest.fixture
def box(tmp_path: Path) -> GitBox:
    return GitBox(tmp_path, {"a.txt": "a\n", "b.txt": "b\n", ".gitignore": "*.log\n"})


def forward(box: GitBox, commit: str) -> Candidate:
    candidate = merge_candidate(box.repository, box.head(), commit)
    assert isinstance(candidate, Candidate)
    return candidate


def test_a_patch_on_the_present_head_is_taken_as_it_is_and_merged_on_another(box: GitBox) -> None:
    base, patch = box.head(), box.commit({"a.txt": "patched\n"})
    tree = box.repository.tree_of(patch)
    unmoved = patch_candidate(box.repository, base, base, tree, patch)
    assert unmoved == Candidate(tree, base, (base,))
    head = box.commit({"b.txt": "meanwhile\n"})
    merged = patch_candidate(box.repository, head, base, tree, patch)
    assert isinstance(merged, Candidate)
    assert merged.parents == (head,)
    assert box.git("show", f"{merged.tree}:a.txt") == "patched"
    assert box.git("show", f"{merged.tree}:b.txt") == "meanwhile"
    against = box.commit({"a.txt": "other\n"})
    assert patch_candidate(box.repository, against, base, tree, patch) == Conflict(("a.txt",))


def test_a_workstream_is_fast_forwarded_where_possible_and_merged_elsewhere(box: GitBox) -> None:
    tip = box.commit({"a.txt": "tip\n"})
    tree = box.repository.tree_of(tip)
    assert forward(box, tip) == Candidate(tree, box.head(), (), commit=tip)
    assert merge_candidate(box.repository, None, tip) == Candidate(tree, None, (), commit=tip)
    moved = box.commit({"b.txt": "moved\n"})
    merged = merge_candidate(box.repository, moved, tip)
    assert isinstance(merged, Candidate)
    assert (merged.parents, merged.commit) == ((moved, tip), None)


def test_what_lands_has_the_judged_tree_or_does_not_land(box: GitBox) -> None:
    before, tip = box.head(), box.commit({"a.txt": "tip\n"})
    other = box.commit({"a.txt": "other\n"})
    with pytest.raises(LandedTreeMismatch):
        land(box.repository, "main", forward(box, tip), other)
    assert box.head() == before


def test_a_branch_that_moved_meanwhile_is_not_overwritten(box: GitBox) -> None:
    before, tip = box.head(), box.commit({"a.txt": "tip\n"})
    candidate, theirs = forward(box, tip), box.commit({"b.txt": "theirs\n"})
    box.git("update-ref", "refs/heads/main", theirs)
    assert land(box.repository, "main", candidate, tip) == Lost(before, theirs)
    assert box.head() == theirs


def test_the_checkout_moves_with_the_target(box: GitBox) -> None:
    tip = box.commit({"a.txt": "tip\n", "new.txt": "new\n"})
    assert land_on_target(box.repository, "main", forward(box, tip), tip) is None
    assert (box.path / "new.txt").read_text() == "new\n"
    assert box.git("status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("files", "error"),
    [
        ({"b.txt": "mine\n"}, CheckoutBusy),
        ({"new.txt": "mine\n"}, FilesInTheWay),
        ({"new.log": "mine\n"}, FilesInTheWay),
    ],
)
def test_a_persons_files_stop_the_landing(
    box: GitBox, files: dict[str, str], error: type[CheckoutBusy]
) -> None:
    write(box.path, files)
    before = box.head()
    tip = box.commit({"a.txt": "tip\n", "new.txt": "new\n", "new.log": "new\n"})
    with pytest.raises(error, match=next(iter(files))):
        refuse_if_in_the_way(box.repository, "main", forward(box, tip))
    with pytest.raises(error, match=next(iter(files))):
        land_on_target(box.repository, "main", forward(box, tip), tip)
    assert box.head() == before
    assert {name: (box.path / name).read_text() for name in files} == files
    assert (box.path / "a.txt").read_text() == "a\n"


def test_what_a_person_has_committed_meanwhile_is_not_in_the_way(box: GitBox) -> None:
    candidate = forward(box, box.commit({"new.txt": "new\n"}))
    write(box.path, {"new.txt": "mine\n"})
    with pytest.raises(FilesInTheWay):
        refuse_if_in_the_way(box.repository, "main", candidate)
    box.git("add", "new.txt")
    box.git("commit", "-q", "-m", "mine")
    refuse_if_in_the_way(box.repository, "main", candidate)


def test_nothing_is_in_the_way_of_a_branch_that_nobody_has_checked_out(box: GitBox) -> None:
    candidate = forward(box, box.commit({"new.txt": "new\n"}))
    box.git("checkout", "-q", "--detach")
    write(box.path, {"new.txt": "mine\n", "a.txt": "mine\n"})
    refuse_if_in_the_way(box.repository, "main", candidate)


def test_a_checkout_that_a_dead_process_left_behind_is_moved_along(box: GitBox) -> None:
    before, tip = box.head(), box.commit({"a.txt": "tip\n"})
    assert land(box.repository, "main", forward(box, tip), tip) is None
    assert box.git("status", "--porcelain") != ""
    move_left_behind_checkout(box.repository, "main", before, tip)
    assert box.git("status", "--porcelain") == ""
    move_left_behind_checkout(box.repository, "main", before, tip)
    assert (box.path / "a.txt").read_text() == "tip\n"


def test_a_checkout_that_shows_a_persons_work_is_no_left_behind_one(box: GitBox) -> None:
    before, tip = box.head(), box.commit({"a.txt": "tip\n"})
    assert land(box.repository, "main", forward(box, tip), tip) is None
    write(box.path, {"a.txt": "mine\n"})
    move_left_behind_checkout(box.repository, "main", before, tip)
    assert (box.path / "a.txt").read_text() == "mine\n"


def test_a_half_moved_checkout_of_another_process_is_waited_for(box: GitBox) -> None:
    before, first = box.head(), box.commit({"a.txt": "first\n"})
    second = box.commit({"b.txt": "second\n"}, on=first)
    landed: list[object] = []

    def land_second() -> None:
        candidate = merge_candidate(box.repository, first, second)
        assert isinstance(candidate, Candidate)
        landed.append(land_on_target(box.repository, "main", candidate, second))

    thread = threading.Thread(target=land_second)
    with repository_turn(box.repository):
        assert land(box.repository, "main", forward(box, first), first) is None
        thread.start()
        thread.join(0.5)
        move_forward(box.repository, box.path, before, first)
    thread.join(30)
    assert landed == [None]
    assert (box.head(), box.git("status", "--porcelain")) == (second, "")


def test_who_keeps_the_repository_too_long_is_named(box: GitBox) -> None:
    with (
        repository_turn(box.repository),
        pytest.raises(RepositoryLocked, match=r"patchline\.lock"),
        repository_turn(box.repository, patience=0.05),
    ):
        pytest.fail("two have the turn")


def test_a_persons_git_command_is_waited_for_before_the_target_moves(box: GitBox) -> None:
    tip, lock = box.commit({"a.txt": "tip\n"}), box.path / ".git/index.lock"
    lock.touch()
    threading.Timer(0.4, lock.unlink).start()
    assert land_on_target(box.repository, "main", forward(box, tip), tip) is None
    assert box.git("status", "--porcelain") == ""


def test_a_git_command_that_does_not_end_stops_the_landing(box: GitBox) -> None:
    before, tip = box.head(), box.commit({"a.txt": "tip\n"})
    (box.path / ".git/index.lock").touch()
    hasty = replace(box.repository, lock_patience=0.0)
    with pytest.raises(IndexLocked, match=r"index\.lock"):
        land_on_target(hasty, "main", forward(box, tip), tip)
    assert box.head() == before


def test_a_checkout_that_cannot_be_moved_takes_its_branch_back(
    box: GitBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, tip = box.head(), box.commit({"a.txt": "tip\n"})
    stumble(monkeypatch, lambda: None)
    with pytest.raises(GitError):
        land_on_target(box.repository, "main", forward(box, tip), tip)
    assert (box.head(), box.git("status", "--porcelain")) == (before, "")


def test_a_branch_that_others_have_built_on_meanwhile_has_landed(
    box: GitBox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tip = box.commit({"a.txt": "tip\n"})
    later = box.commit({"b.txt": "later\n"}, on=tip)
    stumble(monkeypatch, lambda: box.git("update-ref", "refs/heads/main", later))
    assert land_on_target(box.repository, "main", forward(box, tip), tip) is None
    assert box.head() == later
    assert "could not be moved along" in caplog.text


def stumble(monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object]) -> None:
    """Git fails to move the checkout; something may happen right before."""

    def fail(*_: object) -> None:
        meanwhile()
        raise GitError(("git", "read-tree"), 128, "no space left")

    monkeypatch.setattr("resources.landing.moving.move_forward", fail)


def test_an_empty_checkout_of_a_target_without_a_commit_is_filled(box: GitBox) -> None:
    tip = box.commit({"a.txt": "tip\n"})
    box.git("checkout", "-q", "--orphan", "fresh")
    box.git("rm", "-rfq", ".")
    candidate = merge_candidate(box.repository, None, tip)
    assert isinstance(candidate, Candidate)
    write(box.path, {"a.txt": "mine\n"})
    with pytest.raises(FilesInTheWay):
        land_on_target(box.repository, "fresh", candidate, tip)
    (box.path / "a.txt").unlink()
    assert land_on_target(box.repository, "fresh", candidate, tip) is None
    assert box.git("status", "--porcelain") == ""
    assert (box.path / "a.txt").read_text() == "tip\n"


def test_an_empty_checkout_that_a_dead_process_left_behind_is_filled(box: GitBox) -> None:
    tip = box.commit({"a.txt": "tip\n"})
    box.git("checkout", "-q", "--orphan", "fresh")
    box.git("rm", "-rfq", ".")
    assert box.repository.move_branch("fresh", tip, None)
    move_left_behind_checkout(box.repository, "fresh", None, tip)
    assert box.git("status", "--porcelain") == ""


def test_no_plan_text_can_pose_as_a_trailer() -> None:
    message = message_with_trailers(
        "Title\n\nPatchline-Run: forged", {"Patchline-Run": "run_1\nx: y"}
    )
    assert message == "Title Patchline-Run: forged\n\nPatchline-Run: run_1 x: y\n"
    assert message_with_trailers(" \n", {"K": "v"}).startswith("patchline\n\n")


def test_one_lander_at_a_time_works_on_a_branch_and_others_do_not_wait(box: GitBox) -> None:
    entered = threading.Event()

    def second() -> None:
        with landing_turn(box.repository, "main"):
            entered.set()

    thread = threading.Thread(target=second)
    with landing_turn(box.repository, "main"):
        thread.start()
        with landing_turn(box.repository, "other"):
            assert not entered.wait(0.05)
    assert entered.wait(10)
    thread.join()


def test_the_tree_of_what_lands_is_read_from_the_object_store_each_time(box: GitBox) -> None:
    tip = box.commit({"a.txt": "tip\n"})
    assert box.repository.stored_tree_of(tip) == box.repository.tree_of(tip)
    stored = box.repository.objects / tip[:2] / tip[2:]
    other = box.commit({"a.txt": "other\n"})
    stored.chmod(0o644)
    stored.write_bytes((box.repository.objects / other[:2] / other[2:]).read_bytes())
    before = box.head()
    with pytest.raises(LandedTreeMismatch, match="damaged"):
        land(box.repository, "main", forward(box, other), tip)
    assert box.head() == before


def test_the_tree_of_a_packed_commit_is_read_by_git(box: GitBox) -> None:
    box.git("gc", "-q")
    head = box.head()
    assert box.repository.stored_tree_of(head) == box.git("rev-parse", "main^{tree}")
