"""Sandboxes: always exactly the wanted tree, and patches read without trusting what is there."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.sandbox_pool import SandboxPool
from resources.worktree_files import remove_untracked
from resources.worktrees import Sandbox, UnreadableError, discard_sandbox
from state.clock_and_ids import ManualClock, SequentialIds
from state.store import StateStore
from tests.resources.gitbox import GitBox, git, write

FILES = {"a.txt": "a\n", "b.txt": "b\n", "src/one.py": "x = 1\n", ".gitignore": "*.log\n"}
LIMITS = (1_000_000, 100)


@pytest.fixture
def box(tmp_path: Path) -> GitBox:
    return GitBox(tmp_path, FILES)


@pytest.fixture
def sandbox(box: GitBox) -> Sandbox:
    made = box.sandbox()
    made.reset(box.head(), box.head())
    return made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    url = f"sqlite:///{tmp_path / 'pipeline.db'}"
    with StateStore.open(url, clock=ManualClock(), ids=SequentialIds()) as opened:
        yield opened


def contents(sandbox: Sandbox) -> dict[str, str]:
    """Every file of the sandbox, apart from its own `.git`."""
    return {
        str(path.relative_to(sandbox.path)): path.read_text()
        for path in sandbox.path.rglob("*")
        if path.is_file() and path.relative_to(sandbox.path).parts[0] != ".git"
    }


def test_a_sandbox_is_a_repository_of_its_own_on_the_wanted_commit(
    box: GitBox, sandbox: Sandbox
) -> None:
    assert contents(sandbox) == FILES
    assert git(sandbox.path, "rev-parse", "HEAD") == box.head()
    assert git(sandbox.path, "status", "--porcelain") == ""
    assert git(sandbox.path, "log", "--format=%s") == "first"
    assert box.git("worktree", "list").count("\n") == 0


def test_a_reset_brings_back_the_exact_tree_whatever_was_done(
    box: GitBox, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = sandbox.path
    monkeypatch.chdir(root)  # a socket's address has room for about 100 characters
    write(root, {"a.txt": "changed\n", "new.txt": "x\n", "x.log": "x\n", "src/.git/config": "x\n"})
    (root / "b.txt").unlink()
    os.mkfifo(root / "src" / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("sock")
    write(root, {"nested/.git/HEAD": "ref: refs/heads/main\n", "nested/f": "x\n"})
    (root / "empty" / "folders").mkdir(parents=True)
    (root / ".gitignore").write_text("*\n")
    write(root, {".git/info/exclude": "*\n", ".git/config": "[core]\n\tbare = true\n"})
    sandbox.reset(box.head(), box.head())
    assert contents(sandbox) == FILES
    assert sorted(os.listdir(root)) == [".git", ".gitignore", "a.txt", "b.txt", "src"]
    assert os.listdir(root / "src") == ["one.py"]
    assert git(root, "status", "--porcelain") == ""


def next_commit(box: GitBox) -> str:
    """A commit on `main` that changes, adds, moves and removes files."""
    write(box.path, {"a.txt": "second\n", "new/n.txt": "n\n", "src/deep/two.py": "x = 2\n"})
    box.git("mv", "b.txt", "src/b.txt")
    box.git("rm", "-q", "src/one.py")
    box.git("add", "-A")
    box.git("commit", "-q", "-m", "second")
    return box.head()


def test_a_reset_goes_from_any_tree_to_any_other(box: GitBox, sandbox: Sandbox) -> None:
    first, second = box.head(), next_commit(box)
    for commit in (second, first, second):
        sandbox.reset(commit, first)
        assert git(sandbox.path, "rev-parse", "HEAD") == first
        assert sandbox.capture(*LIMITS) == box.git("rev-parse", f"{commit}^{{tree}}")
    expected = [".gitignore", "a.txt", "new/n.txt", "src/b.txt", "src/deep/two.py"]
    assert sorted(contents(sandbox)) == expected


def test_a_folder_in_the_place_of_a_file_does_not_outlive_a_reset(
    box: GitBox, sandbox: Sandbox
) -> None:
    (sandbox.path / "b.txt").unlink()
    write(sandbox.path, {"b.txt/__init__.py": "x = 2\n", "b.txt/.gitignore": "*\n"})
    second = next_commit(box)  # in which there is no b.txt
    sandbox.reset(second, second)
    assert not (sandbox.path / "b.txt").exists()
    assert sandbox.capture(*LIMITS) == box.git("rev-parse", f"{second}^{{tree}}")


@pytest.mark.parametrize("linked", [True, False])
def test_a_working_tree_that_was_replaced_leads_nowhere_else(
    box: GitBox, sandbox: Sandbox, tmp_path: Path, linked: bool
) -> None:
    elsewhere = tmp_path / "elsewhere"
    write(elsewhere, {"mine.txt": "mine\n", ".git/HEAD": "mine\n", "a.txt": "mine\n"})
    sandbox.path.rename(tmp_path / "away")
    if linked:
        sandbox.path.symlink_to(elsewhere)
    else:
        sandbox.path.write_text("a file\n")
    with pytest.raises(UnreadableError) as refused:
        sandbox.capture(*LIMITS)
    assert refused.value.reason.code == "symlink"
    sandbox.reset(box.head(), box.head())
    assert not sandbox.path.is_symlink()
    assert contents(sandbox) == FILES
    kept = {
        str(f.relative_to(elsewhere)): f.read_text() for f in elsewhere.rglob("*") if f.is_file()
    }
    assert kept == {name: "mine\n" for name in ("mine.txt", ".git/HEAD", "a.txt")}


def test_some_thousand_folders_in_each_other_are_removed(box: GitBox, sandbox: Sandbox) -> None:
    deep = os.open(sandbox.path, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=deep)
        below = os.open("d", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = below
    os.close(deep)
    sandbox.reset(box.head(), box.head())
    assert contents(sandbox) == FILES


def test_only_what_is_tracked_is_left_at_any_depth(tmp_path: Path) -> None:
    deep = "/".join("abcdef")
    tracked = [f"{deep}/file", "a/b/other", "top", "z/one"]
    write(tmp_path, dict.fromkeys([*tracked, f"{deep}/x", "a/b/c/x", "a/y", "new/z", "w"], ""))
    (tmp_path / "z" / "one").unlink()
    (tmp_path / "z").rmdir()
    (tmp_path / "z").write_text("a file in the place of a folder")
    remove_untracked(tmp_path, "".join(f"{path}\0" for path in tracked).encode())
    left = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert left == sorted(path for path in tracked if path != "z/one")
    assert not (tmp_path / "new").exists()


def test_the_place_of_a_submodule_is_empty_again_after_a_reset(box: GitBox) -> None:
    write(box.path, {".gitmodules": "[submodule]\n"})
    box.git("add", ".gitmodules")
    box.git("update-index", "--add", "--cacheinfo", f"160000,{box.head()},vendor")
    box.git("commit", "-q", "-m", "a submodule")
    sandbox = box.sandbox()
    sandbox.reset(box.head(), box.head())
    write(sandbox.path, {"vendor/new.txt": "x\n", "vendor/.git/config": "x\n"})
    sandbox.reset(box.head(), box.head())
    assert os.listdir(sandbox.path / "vendor") == []
    assert sandbox.capture(*LIMITS) == box.git("rev-parse", "main^{tree}")


@pytest.mark.parametrize("kind", ["pipe", "link", "file", "nothing"])
def test_whatever_stands_where_git_was_is_replaced(
    box: GitBox, sandbox: Sandbox, kind: str
) -> None:
    git(sandbox.path, "rev-parse", "HEAD")
    place = sandbox.path / ".git"
    place.rename(sandbox.path / "moved")
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "link":
        place.symlink_to(box.path / ".git")
    elif kind == "file":
        place.write_text(f"gitdir: {box.path}/.git\n")
    sandbox.reset(box.head(), box.head())
    assert git(sandbox.path, "rev-parse", "HEAD") == box.head()
    assert git(sandbox.path, "rev-parse", "--absolute-git-dir") == str(place)
    assert box.git("status", "--porcelain") == ""


def test_links_are_never_followed_when_a_sandbox_is_cleaned(
    box: GitBox, sandbox: Sandbox, tmp_path: Path
) -> None:
    write(tmp_path / "precious", {"one.py": "mine\n", "two.py": "mine\n"})
    (sandbox.path / "src" / "one.py").unlink()
    (sandbox.path / "src").rmdir()
    (sandbox.path / "src").symlink_to(tmp_path / "precious")
    (sandbox.path / "other").symlink_to(tmp_path / "precious")
    sandbox.reset(box.head(), box.head())
    assert contents(sandbox) == FILES
    (sandbox.path / "other").symlink_to(tmp_path / "precious")
    discard_sandbox(sandbox.path.parent, sandbox.path.name)
    assert not sandbox.path.exists()
    assert sorted(os.listdir(tmp_path / "precious")) == ["one.py", "two.py"]


def test_a_patch_is_everything_that_changed_and_nothing_that_is_ignored(
    box: GitBox, sandbox: Sandbox
) -> None:
    write(sandbox.path, {"a.txt": "changed\n", "sub/new.txt": "x\n", "x.log": "x\n"})
    (sandbox.path / "b.txt").unlink()
    before = set((box.path / ".git/objects").glob("??/*"))
    tree = sandbox.capture(*LIMITS)
    assert set((box.path / ".git/objects").glob("??/*")) == before, "nobody has judged it yet"
    sandbox.adopt_objects()
    listed = box.git("ls-tree", "-r", "--name-only", tree).splitlines()
    assert listed == [".gitignore", "a.txt", "src/one.py", "sub/new.txt"]
    assert box.git("show", f"{tree}:a.txt") == "changed"
    assert box.git("fsck", "--strict", "--no-dangling") == ""


def test_a_change_that_keeps_size_and_time_is_seen(box: GitBox, sandbox: Sandbox) -> None:
    path = sandbox.path / "a.txt"
    times = path.stat()
    path.write_text("z\n")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    tree = sandbox.capture(*LIMITS)
    assert tree != box.git("rev-parse", "main^{tree}")
    sandbox.reset(box.head(), box.head())
    assert path.read_text() == "a\n"


def test_an_unchanged_sandbox_gives_the_tree_it_was_made_from(
    box: GitBox, sandbox: Sandbox
) -> None:
    assert sandbox.capture(*LIMITS) == box.git("rev-parse", "main^{tree}")


@pytest.mark.parametrize(
    ("code", "limits"),
    [("oversize", (10, 100)), ("oversize", (1000, 1))],
)
def test_too_much_is_refused_before_git_reads_it(
    sandbox: Sandbox, code: str, limits: tuple[int, int]
) -> None:
    write(sandbox.path, {"x.txt": "x" * 20, "y.txt": "y" * 20})
    with pytest.raises(UnreadableError) as refused:
        sandbox.capture(*limits)
    assert refused.value.reason.code == code
    assert not sandbox.new_objects.exists()


def test_special_files_and_nested_repositories_are_refused(box: GitBox, sandbox: Sandbox) -> None:
    (sandbox.path / "a.txt").unlink()
    os.mkfifo(sandbox.path / "a.txt")
    with pytest.raises(UnreadableError, match=r"a\.txt") as refused:
        sandbox.capture(*LIMITS)
    assert refused.value.reason.code == "mode"
    sandbox.reset(box.head(), box.head())
    for made in ("src", "deep/down"):
        (sandbox.path / made).mkdir(parents=True, exist_ok=True)
        git(sandbox.path / made, "init", "-q")
        write(sandbox.path / made, {"one.py": "x = 2\n"})
        with pytest.raises(UnreadableError, match=made) as refused:
            sandbox.capture(*LIMITS)
        assert refused.value.reason.code == "submodule"
        sandbox.reset(box.head(), box.head())


@pytest.mark.parametrize("name", [".GIT", "git~1", ".git\u200c"])
def test_git_in_disguise_is_refused(sandbox: Sandbox, name: str) -> None:
    write(sandbox.path, {f"{name}/config": "[core]\n"})
    with pytest.raises(UnreadableError) as refused:
        sandbox.capture(*LIMITS)
    reason = refused.value.reason
    assert (reason.code, reason.path) == ("git_dir", f"{name}/config")
    assert "may be taken for .git" in reason.message


def test_a_link_that_poses_as_a_file_of_gits_is_refused(sandbox: Sandbox) -> None:
    (sandbox.path / ".gitmodules").symlink_to("a.txt")
    with pytest.raises(UnreadableError, match="git reads") as refused:
        sandbox.capture(*LIMITS)
    assert (refused.value.reason.code, refused.value.reason.path) == ("symlink", ".gitmodules")


def test_a_sandbox_that_somebody_has_ended_is_not_used_again(
    box: GitBox, store: StateStore
) -> None:
    run_id = store.create("run").run_id
    pool = SandboxPool(store, box.repository, box.folder / "home", run_id)
    with pool.lease(None) as first:
        store.transition("uet_worker", first.worker_id, "TERMINATED")
    with pool.lease(None) as second:
        assert second.worker_id != first.worker_id
    pool.close()
    assert {row.state for row in store.find("uet_worker")} == {"TERMINATED"}
    assert os.listdir(box.folder / "home" / "worktrees") == []


def test_a_pool_gives_a_sandbox_to_one_at_a_time_and_uses_it_again(
    box: GitBox, store: StateStore
) -> None:
    run_id = store.create("run").run_id
    pool = SandboxPool(store, box.repository, box.folder / "home", run_id)
    with pool.lease(None) as first, pool.lease(None) as second:
        assert first.path != second.path
        states = [row.state for row in store.find("uet_worker", run_id=run_id)]
        assert states == ["BUSY", "BUSY"]
    with pool.lease(None) as again:
        assert again.path in (first.path, second.path)
    pool.close()
    assert [row.state for row in store.find("uet_worker")] == ["TERMINATED", "TERMINATED"]
    assert os.listdir(box.folder / "home" / "worktrees") == []


def test_discarding_what_is_gone_already_is_fine(tmp_path: Path) -> None:
    discard_sandbox(tmp_path, "uet_none")
    assert os.listdir(tmp_path) == []
