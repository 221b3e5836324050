"""The user's checkouts: found, looked at, moved forward, and never damaged."""

from pathlib import Path

import pytest

from resources.git.checkouts import checkout_of, in_the_way, local_changes, move_forward
from resources.git.command import GitError
from tests.resources.gitbox import GitBox, write


@pytest.fixture
def box(tmp_path: Path) -> GitBox:
    return GitBox(
        tmp_path, {"a.txt": "a\n", "b.txt": "b\n", "d/x.txt": "x\n", ".gitignore": "*.log\n"}
    )


def test_the_checkout_of_a_branch_is_found_wherever_it_is(box: GitBox, tmp_path: Path) -> None:
    assert checkout_of(box.repository, "main") == box.path
    assert checkout_of(box.repository, "none") is None
    linked = tmp_path / "a linked\nworktree"
    box.git("worktree", "add", "-q", "-b", "other", str(linked))
    assert checkout_of(box.repository, "other") == linked
    box.git("checkout", "-q", "--detach")
    assert checkout_of(box.repository, "main") is None


@pytest.mark.parametrize(
    ("spoil", "changed"),
    [
        ({"a.txt": "edited\n"}, ("a.txt",)),
        ({"new.txt": "x\n", "x.log": "x\n"}, ()),
    ],
)
def test_only_tracked_files_count_as_local_changes(
    box: GitBox, spoil: dict[str, str], changed: tuple[str, ...]
) -> None:
    write(box.path, spoil)
    assert local_changes(box.repository, box.path) == changed


def test_staged_and_deleted_files_are_local_changes(box: GitBox) -> None:
    (box.path / "a.txt").unlink()
    write(box.path, {"new.txt": "x\n"})
    box.git("add", "new.txt")
    assert set(local_changes(box.repository, box.path)) == {"a.txt", "new.txt"}


def test_a_clean_checkout_gets_new_changed_and_deleted_files(box: GitBox) -> None:
    old = box.head()
    new = box.commit({"a.txt": "more\n", "b.txt": None, "d/x.txt": None, "d": "now a file\n"})
    assert in_the_way(box.repository, box.path, old, new) == ()
    assert box.repository.move_branch("main", new, old)
    move_forward(box.repository, box.path, old, new)
    assert box.git("status", "--porcelain") == ""
    assert (box.path / "d").read_text() == "now a file\n"
    assert not (box.path / "b.txt").exists()


def test_untracked_and_ignored_files_in_the_way_are_named(box: GitBox) -> None:
    write(
        box.path,
        {"new.txt": "mine\n", "my.log": "mine\n", "folder": "mine\n", "free.txt": "mine\n"},
    )
    new = box.commit({"new.txt": "x\n", "my.log": "x\n", "folder/inside.txt": "x\n"})
    assert in_the_way(box.repository, box.path, box.head(), new) == ("folder", "my.log", "new.txt")


def test_a_file_that_is_edited_at_the_last_moment_is_not_overwritten(box: GitBox) -> None:
    old, new = box.head(), box.commit({"a.txt": "more\n", "b.txt": "more\n"})
    write(box.path, {"b.txt": "mine\n"})
    with pytest.raises(GitError):
        move_forward(box.repository, box.path, old, new)
    assert (box.path / "b.txt").read_text() == "mine\n"
    assert (box.path / "a.txt").read_text() == "a\n"
