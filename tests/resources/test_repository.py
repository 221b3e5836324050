"""The gateway to git: deterministic objects, honest compare-and-swap, no foreign configuration."""

import os
from pathlib import Path

import pytest

from resources.repository import Conflict, GitError, Merged, Repository
from state.errors import PreflightError
from tests.resources.gitbox import GitBox, git

DATE = "2026-02-03T04:05:06.789000Z"


@pytest.fixture
def box(tmp_path: Path) -> GitBox:
    return GitBox(tmp_path)


def test_the_same_commit_is_the_same_object_whenever_it_is_made(
    box: GitBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree, head = box.git("rev-parse", "main^{tree}"), box.head()
    first = box.repository.commit(tree, (head,), "subject\n\nKey: value\n", DATE)
    for name in ("GIT_AUTHOR_NAME", "GIT_COMMITTER_DATE", "GIT_AUTHOR_EMAIL"):
        monkeypatch.setenv(name, "2001-01-01T00:00:00Z")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    box.git("config", "user.name", "somebody else")
    assert box.repository.commit(tree, (head,), "subject\n\nKey: value\n", DATE) == first
    shown = box.git("log", "-1", "--format=%an|%ae|%aI|%cI", first)
    assert (
        shown == "patchline|patchline@localhost|2026-02-03T04:05:06+00:00|2026-02-03T04:05:06+00:00"
    )


def test_a_branch_moves_only_from_where_it_was_expected(box: GitBox) -> None:
    old, new = box.head(), box.commit({"a.txt": "more\n"})
    other = box.commit({"b.txt": "more\n"})
    assert box.repository.move_branch("made/new", new, None)
    assert not box.repository.move_branch("made/new", other, None)
    assert not box.repository.move_branch("made/new", other, old)
    assert box.repository.branch_head("made/new") == new
    assert box.repository.move_branch("made/new", other, new)
    box.repository.delete_branch("made/new", other)
    assert box.repository.branch_head("made/new") is None
    box.repository.delete_branch("made/new", other)


def test_a_branch_that_cannot_be_written_is_an_error_and_no_lost_race(box: GitBox) -> None:
    old, new = box.head(), box.commit({"a.txt": "more\n"})
    (box.path / ".git/refs/heads/main.lock").touch()
    with pytest.raises(GitError, match="update-ref"):
        box.repository.move_branch("main", new, old)
    assert box.head() == old


def test_merges_say_which_paths_conflict(box: GitBox) -> None:
    ours = box.commit({"a.txt": "ours\n"})
    theirs = box.commit({"a.txt": "theirs\n", "b.txt": "theirs\n"})
    assert box.repository.merge(ours, theirs) == Conflict(("a.txt",))
    apart = box.commit({"b.txt": "apart\n"})
    merged = box.repository.merge(ours, apart)
    assert isinstance(merged, Merged)
    assert box.git("show", f"{merged.tree}:a.txt") == "ours"
    assert box.git("show", f"{merged.tree}:b.txt") == "apart"


def test_the_callers_git_environment_and_configuration_change_nothing(
    box: GitBox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "gitconfig"
    config.write_text("[core]\n\tabbrev = 4\n\tautocrlf = true\n[init]\n\tdefaultBranch = x\n")
    for name, value in {
        "GIT_DIR": "/nowhere",
        "GIT_WORK_TREE": "/nowhere",
        "GIT_INDEX_FILE": "/nowhere",
        "GIT_CONFIG_GLOBAL": str(config),
        "GIT_OBJECT_DIRECTORY": "/nowhere",
        "HOME": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    assert box.repository.branch_head("main") == box.head()
    assert box.repository.tracked_files(box.head()) == ("a.txt", "b.txt")


def test_revisions_that_look_like_options_are_no_options(box: GitBox) -> None:
    assert box.repository.resolve("--help") is None
    assert box.repository.resolve("main") == box.head()
    assert box.repository.resolve("main^{tree}") is None


def test_opening_what_is_no_repository_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    for folder, said in (("plain", "is not a git repository"), ("none", "no such folder")):
        with pytest.raises(PreflightError, match=said):
            Repository.open(tmp_path / folder, tmp_path / "home")


def test_a_linked_worktree_and_a_subfolder_open_the_same_repository(
    box: GitBox, tmp_path: Path
) -> None:
    linked, below = tmp_path / "linked", box.path / "deep" / "down"
    box.git("worktree", "add", "-q", "-b", "other", str(linked))
    below.mkdir(parents=True)
    for folder in (linked, below):
        found = Repository.open(folder, tmp_path / "home")
        assert (found.git_dir, found.control) == (box.repository.git_dir, box.repository.control)
    assert Repository.open(linked, tmp_path / "home").root == linked


def test_a_filter_of_the_repository_is_switched_off_in_its_checkout(box: GitBox) -> None:
    mark = box.folder / "mark"
    (box.path / ".git/info/attributes").write_text("* filter=a.b=c\n")
    box.git("config", "--file", ".git/config", "filter.a.b=c.clean", f"touch {mark}; cat")
    box.git("config", "--file", ".git/config", "filter.a.b=c.required", "true")
    os.utime(box.path / "a.txt", (1, 1))
    listed = box.repository.on_refs("status", "--porcelain", work_tree=box.path)
    assert (listed, mark.exists()) == ("", False)
    git(box.path, "status")
    assert mark.exists(), "the filter works when a person uses git"
