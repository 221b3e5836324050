"""The gateway to git: deterministic objects, honest compare-and-swap, no foreign configuration."""

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from resources.effects import examine
from resources.git.command import GitError
from resources.git.merging import Conflict, Merged, merge
from resources.git.repository import Repository
from state.errors import PreflightError
from tests.resources.gitbox import GitBox, git, make_repository, write

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
        replace(box.repository, lock_patience=0.0).move_branch("main", new, old)
    assert box.head() == old


def test_a_lock_that_another_git_command_holds_for_a_moment_is_waited_for(box: GitBox) -> None:
    old, new = box.head(), box.commit({"a.txt": "more\n"})
    lock = box.path / ".git/refs/heads/main.lock"
    lock.touch()
    threading.Timer(0.4, lock.unlink).start()
    assert box.repository.move_branch("main", new, old)
    assert box.head() == new


def test_a_branch_of_ours_that_was_made_an_alias_of_anothers_does_not_move_that(
    box: GitBox,
) -> None:
    old, new = box.head(), box.commit({"a.txt": "more\n"})
    box.git("symbolic-ref", "refs/heads/patchline/run/ws", "refs/heads/main")
    assert box.repository.move_branch("patchline/run/ws", new, old)
    assert (box.head(), box.head("patchline/run/ws")) == (old, new)
    box.git("symbolic-ref", "refs/heads/patchline/run/ws", "refs/heads/main")
    box.repository.delete_branch("patchline/run/ws", old)
    assert box.head() == old


def test_a_patch_does_not_follow_a_file_to_where_another_has_moved_it(box: GitBox) -> None:
    moved = box.commit({"a.txt": None, "locked/a.txt": "a\n"})
    edited = box.commit({"a.txt": "a\nedited\n"})
    assert isinstance(merge(box.repository, edited, moved), Merged), "its own move is its own"
    refused = merge(box.repository, moved, edited)
    assert isinstance(refused, Conflict)
    assert set(refused.paths) <= {"a.txt", "locked/a.txt"}, "the newer the git, the fewer"
    folder = box.commit({"dir/a.txt": "a\n", "dir/b.txt": "b\n", "a.txt": None, "b.txt": None})
    box.git("update-ref", "refs/heads/side", folder)
    renamed = box.commit(
        {"new/a.txt": "a\n", "new/b.txt": "b\n", "dir/a.txt": None, "dir/b.txt": None}, on="side"
    )
    added = merge(box.repository, renamed, box.commit({"dir/c.txt": "c\n"}, on="side"))
    assert isinstance(added, Merged)
    listed = box.git("ls-tree", "-r", "--name-only", added.tree).split()
    assert listed == ["dir/c.txt", "new/a.txt", "new/b.txt"]


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_the_tree_of_our_own_commit_is_known_from_its_name(
    tmp_path: Path, object_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_repository(tmp_path / "repo", {"a.txt": "a\n"}, object_format=object_format)
    repository = Repository.open(path, tmp_path / "home")
    tree, head = git(path, "rev-parse", "main^{tree}"), git(path, "rev-parse", "main")
    other = repository.commit(tree, (head,), "other\n", DATE)
    commit = repository.commit(tree, (head, other), "Größe\n\nKey: v\n", DATE)
    assert git(path, "rev-parse", f"{commit}^{{tree}}") == tree
    monkeypatch.setattr("resources.git.repository.run_git", None)
    assert repository.tree_of(commit) == tree


def test_a_clone_that_is_no_longer_shallow_is_seen_whole(box: GitBox, tmp_path: Path) -> None:
    box.git("commit", "-q", "--allow-empty", "-m", "second")
    clone = tmp_path / "clone"
    box.git("clone", "-q", "--depth=1", f"file://{box.path}", str(clone))
    shallow = Repository.open(clone, tmp_path / "home")
    assert shallow.resolve(box.head("main^")) is None
    git(clone, "fetch", "-q", "--unshallow")
    assert Repository.open(clone, tmp_path / "home").is_ancestor(box.head("main^"), box.head())


@pytest.mark.parametrize("name", ["with:colon", 'with"quote', "with\\backslash"])
def test_a_repository_may_have_any_name(tmp_path: Path, name: str) -> None:
    box = GitBox(tmp_path / name)
    sandbox = box.sandbox()
    sandbox.reset(box.head(), box.head())
    write(sandbox.path, {"a.txt": "more\n"})
    change = examine(sandbox.judged, box.head(), sandbox.capture(1000, 10))
    assert [(effect.path, effect.change) for effect in change.effects] == [("a.txt", "modified")]


def test_merges_say_which_paths_conflict(box: GitBox) -> None:
    ours = box.commit({"a.txt": "ours\n"})
    theirs = box.commit({"a.txt": "theirs\n", "b.txt": "theirs\n"})
    assert merge(box.repository, ours, theirs) == Conflict(("a.txt",))
    apart = box.commit({"b.txt": "apart\n"})
    merged = merge(box.repository, ours, apart)
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


def test_a_folder_inside_a_repository_is_not_taken_for_it(box: GitBox, tmp_path: Path) -> None:
    below = box.path / "deep" / "down"
    below.mkdir(parents=True)
    with pytest.raises(PreflightError, match=f"a folder inside of {box.path}"):
        Repository.open(below, tmp_path / "home")


def test_a_linked_worktree_and_a_git_directory_open_the_same_repository(
    box: GitBox, tmp_path: Path
) -> None:
    linked, alias = tmp_path / "linked", tmp_path / "alias"
    box.git("worktree", "add", "-q", "-b", "other", str(linked))
    alias.symlink_to(box.path)
    for folder in (linked, alias, box.path / ".git"):
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
