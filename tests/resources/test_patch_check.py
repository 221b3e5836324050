"""One call says what a patch file would do and whether it may, and leaves nothing behind."""

import os
import time
import tracemalloc
from pathlib import Path
from types import ModuleType

import pytest

from resources import effects
from resources.git.command import Bounds, GitError, GitOverrunError
from resources.git.repository import Repository
from resources.patch_policy import Scope
from resources.patches import apply
from resources.patches import check as checking
from resources.patches.check import Checked, PatchSourceError, check_patch, throw_away_folder
from resources.specs import PolicySpec
from tests.resources.gitbox import GitBox, git

FILES = {
    "a.txt": "a\nb\nc\n",
    "src/one.py": "x = 1\n",
    "src/two.py": "y = 2\n",
    "big.txt": "".join(f"line {n}\n" for n in range(30_000)),
}
EDIT = b"--- a/a.txt\n+++ b/a.txt\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n"


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> GitBox:
    return GitBox(tmp_path_factory.mktemp("checks"), FILES)


def check(
    box: GitBox,
    source: bytes | Path,
    scope: tuple[str, ...] = ("**",),
    create: tuple[str, ...] = (),
    objects: Path | None = None,
    **policy: object,
) -> Checked:
    where, limits = Scope(scope, create), PolicySpec.model_validate(policy)
    return check_patch(box.repository, box.head(), source, where, limits, objects)


def codes(checked: Checked) -> list[str]:
    return [reason.code for reason in checked.reasons]


def new_file(path: str, mode: str = "100644", text: str = "x") -> bytes:
    names = f"diff --git a/{path} b/{path}\nnew file mode {mode}\n--- /dev/null\n+++ b/{path}\n"
    return f"{names}@@ -0,0 +1 @@\n+{text}\n".encode()


def test_an_edit_is_accepted_and_described(box: GitBox) -> None:
    checked = check(box, EDIT)
    assert checked.to_json() == {
        "verdict": "accept",
        "reasons": [],
        "effects": [
            {
                "path": "a.txt",
                "change": "modified",
                "old_path": None,
                "old_mode": "100644",
                "new_mode": "100644",
            }
        ],
    }


def test_effects_are_judged_by_scope_and_policy(box: GitBox) -> None:
    assert codes(check(box, EDIT, scope=("src/**",))) == ["out_of_scope"]
    assert codes(check(box, EDIT, forbid=["*.txt"])) == ["forbidden_path"]
    assert codes(check(box, new_file("n/x"), scope=(), create=("n/**",))) == []
    assert codes(check(box, EDIT, scope=(), create=("**",))) == ["out_of_scope"]
    assert codes(check(box, new_file("setup.py"))) == ["protected"]
    assert codes(check(box, new_file("link", "120000"))) == ["symlink"]


@pytest.mark.parametrize(
    ("data", "code", "path"),
    [
        (b"", "empty", None),
        (b"nothing of a patch\n", "malformed", None),
        (EDIT[:-4], "malformed", None),
        (EDIT.replace(b"-b", b"-q"), "conflict", "a.txt"),
        (EDIT.replace(b"a.txt", b"no.txt"), "conflict", "no.txt"),
        (new_file("a.txt"), "conflict", "a.txt"),
        (new_file("a.txt/below"), "conflict", "a.txt/below"),
        (new_file("../x"), "path_escape", "../x"),
        (new_file("n/../../x"), "path_escape", "n/../../x"),
        (new_file(".git/hooks/post-commit"), "git_dir", ".git/hooks/post-commit"),
        (new_file("n/.GIT/config"), "git_dir", "n/.GIT/config"),
        (new_file("git~1/config"), "git_dir", "git~1/config"),
        (new_file("x", "104755"), "mode", "x"),
        (new_file("x", "040000"), "mode", "x"),
        (
            b"diff --git a/a.txt b/a.txt\nindex 1234567..7654321 100755\n" + EDIT,
            "declared_mismatch",
            "a.txt",
        ),
        (
            b"diff --git a/src/one.py b/src/one.py\nold mode 100755\nnew mode 100644\n\n" + EDIT,
            "declared_mismatch",
            "src/one.py",
        ),
    ],
)
def test_what_does_not_apply_or_says_one_thing_and_does_another_is_refused(
    box: GitBox, data: bytes, code: str, path: str | None
) -> None:
    checked = check(box, data)
    assert codes(checked) == [code]
    assert checked.reasons[0].path == path


def test_every_file_that_does_not_apply_is_named(box: GitBox) -> None:
    other = EDIT.replace(b"a.txt", b"src/one.py")
    checked = check(box, EDIT.replace(b"-b", b"-q") + other)
    assert {(reason.code, reason.path) for reason in checked.reasons} == {
        ("conflict", "a.txt"),
        ("conflict", "src/one.py"),
    }


def test_a_file_behind_a_link_of_the_same_patch_is_an_escape(box: GitBox) -> None:
    link = new_file("out", "120000", "/etc").replace(b"+/etc\n", b"+/etc\n\\ No newline at end\n")
    checked = check(box, link + new_file("out/passwd"), allow_symlinks=True)
    assert not checked.accepted
    assert checked.tree is None
    assert codes(checked) in (["path_escape"], ["conflict"])


# -- caps ------------------------------------------------------------------------------------


def test_a_gigabyte_is_refused_at_once_and_never_read(box: GitBox, tmp_path: Path) -> None:
    huge = tmp_path / "huge.patch"
    with huge.open("wb") as file:
        file.truncate(1 << 30)
    tracemalloc.start()
    began = time.monotonic()
    checked = check(box, huge)
    seconds, (_, peak) = time.monotonic() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert codes(checked) == ["oversize"]
    assert str(1 << 30) in checked.reasons[0].message
    assert seconds < 1.0
    assert peak < 10 << 20


def test_a_file_that_has_more_than_it_says_is_read_up_to_the_limit(box: GitBox) -> None:
    maps = Path("/proc/self/maps")  # a regular file of 0 bytes that goes on and on
    assert maps.stat().st_size == 0
    assert codes(check(box, maps, max_bytes=100)) == ["oversize"]


def test_bytes_files_and_hunks_are_counted_before_anything_is_parsed(box: GitBox) -> None:
    assert codes(check(box, b"x" * 101, max_bytes=100)) == ["oversize"]
    many = b"".join(new_file(f"n{number}") for number in range(3))
    assert codes(check(box, many, max_files=2)) == ["oversize"]
    assert codes(check(box, many, max_hunks=2)) == ["oversize"]
    assert codes(check(box, many + b"broken\n@@ -", max_files=3)) == ["malformed"]
    plain = b"".join(EDIT.replace(b"a.txt", b"%d" % number) for number in range(3))
    assert codes(check(box, plain, max_files=2)) == ["oversize"]


def test_a_bomb_is_refused_before_it_is_inflated(box: GitBox) -> None:
    zeros = git_binary(box, b"\0" * 9_000_000)
    assert len(zeros) < 100_000
    assert codes(check(box, zeros, allow_binary=True)) == ["oversize"]


def test_many_edited_copies_of_a_large_file_are_a_bomb_too(box: GitBox) -> None:
    copy = b"diff --git a/big.txt b/%d.txt\nsimilarity index 99%%\ncopy from big.txt\n"
    parts = [
        copy % number
        + b"copy to %d.txt\n--- a/big.txt\n+++ b/%d.txt\n" % (number, number)
        + b"@@ -1,4 +1,4 @@\n-line 0\n+other\n line 1\n line 2\n line 3\n"
        for number in range(40)
    ]
    assert codes(check(box, b"".join(parts))) == ["oversize"]
    assert codes(check(box, b"".join(parts[:2]))) == []


def git_binary(box: GitBox, content: bytes) -> bytes:
    """A patch that adds a binary file."""
    blob = box.repository.on_objects("hash-object", "-w", "--stdin", stdin=content).stdout.decode()
    index = box.folder / "binary.index"
    index.unlink(missing_ok=True)
    entry = f"100644,{blob.strip()},bin"
    box.repository.on_objects("update-index", "--add", "--cacheinfo", entry, index=index)
    tree = box.repository.on_objects("write-tree", index=index).stdout.decode().strip()
    show = ("diff-tree", "-p", "--binary", "--full-index", box.repository.empty_tree(), tree)
    return box.repository.on_objects(*show).stdout


@pytest.mark.parametrize("at_work", [apply, effects], ids=["applying", "comparing"])
def test_git_is_ended_when_a_patch_takes_too_long(
    box: GitBox, monkeypatch: pytest.MonkeyPatch, at_work: ModuleType
) -> None:
    over = Bounds(-1.0, 1 << 30, 1 << 30)  # before it begins: git is sometimes very quick
    monkeypatch.setattr(at_work, "UNTRUSTED", over)
    assert codes(check(box, EDIT)) == ["oversize"]


def test_git_writes_no_larger_file_than_it_may(box: GitBox) -> None:
    small = Bounds(30.0, 1 << 30, 1000)
    with pytest.raises(GitOverrunError):
        box.repository.on_objects(
            "hash-object", "-w", "--stdin", stdin=os.urandom(50_000), bounds=small
        )


# -- sources ---------------------------------------------------------------------------------


def test_only_a_regular_file_is_read(box: GitBox, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for source in (fifo, tmp_path, Path("/dev/zero"), tmp_path / "none", Path("a\0b")):
        with pytest.raises(PatchSourceError) as caught:
            check(box, source)
        assert caught.value.hint
    link = tmp_path / "link.patch"
    (tmp_path / "real.patch").write_bytes(EDIT)
    link.symlink_to(tmp_path / "real.patch")
    assert check(box, link).accepted


def test_a_base_that_is_not_there_is_an_error_and_no_verdict(box: GitBox) -> None:
    with pytest.raises(GitError):
        check_patch(box.repository, "0" * 40, EDIT, Scope(), PolicySpec())


# -- nothing is left -------------------------------------------------------------------------


def snapshot(*roots: Path) -> dict[str, tuple[object, ...]]:
    """Everything about every file below some folders."""
    found: dict[str, tuple[object, ...]] = {}
    for root in roots:
        for path in [root, *root.rglob("*")]:
            told = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            found[str(path)] = (told.st_mode, told.st_mtime_ns, told.st_ino, content)
    return found


def test_nothing_is_written_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    box = GitBox(tmp_path / "box", {"a.txt": "a\nb\nc\n"})
    here, home, scratch = (tmp_path / name for name in ("here", "home", "scratch"))
    for folder in (here, home, scratch):
        folder.mkdir()
    (home / ".gitconfig").write_text("[user]\n\tname = x\n")
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    git(box.path, "status")  # whatever git itself refreshes
    before = snapshot(tmp_path)
    for patch in (EDIT, new_file("x"), EDIT.replace(b"-b", b"-q"), b"", new_file(".git/x")):
        check(box, patch)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("packed", [False, True], ids=["loose", "packed"])
def test_what_a_patch_makes_again_keeps_its_date(tmp_path: Path, packed: bool) -> None:
    files = {"a.txt": "one\n", "b.txt": "two\n", "x/c.txt": "one\n", "y/c.txt": "two\n"}
    box = GitBox(tmp_path / "box", files)
    if packed:
        git(box.path, "repack", "-q", "-a", "-d")
    else:
        loose = box.path / ".git/objects"
        assert len([path for path in loose.rglob("*") if path.is_file()]) > len(files)
    git(box.path, "status")
    hunk = b"@@ -1 +1 @@\n-one\n+two\n"
    # The results are there already: the file `b.txt`, and the folder `y`.
    patch = b"--- a/a.txt\n+++ b/a.txt\n" + hunk + b"--- a/x/c.txt\n+++ b/x/c.txt\n" + hunk
    before = changes(box.path, box.folder / "home")
    assert check(box, patch).accepted
    assert changes(box.path, box.folder / "home") == before


def changes(*roots: Path) -> dict[str, tuple[int, int]]:
    """When each file and folder below was last written or touched, in nanoseconds."""
    paths = [path for root in roots for path in (root, *root.rglob("*"))]
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_ctime_ns) for path in paths}


def test_new_objects_are_kept_where_the_caller_wants_them(box: GitBox, tmp_path: Path) -> None:
    kept = check(box, EDIT, objects=tmp_path / "objects")
    assert kept.tree
    known = box.repository.on_objects("cat-file", "-e", kept.tree, expect=(0, 1, 128))
    assert known.returncode != 0
    private = box.repository.with_new_objects(tmp_path / "objects")
    listed = private.on_objects("cat-file", "-p", f"{kept.tree}:a.txt").stdout
    assert listed == b"a\nB\nc\n"


def test_the_throw_away_folder_is_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking.tempfile, "gettempdir", lambda: str(tmp_path / "x"))
    (tmp_path / "x").mkdir()
    monkeypatch.setattr(checking, "_ELSEWHERE", (str(tmp_path / "y"), "/tmp"))
    with throw_away_folder(tmp_path) as folder:
        assert not folder.is_relative_to(tmp_path)
    assert not folder.exists()
    with throw_away_folder() as folder:
        assert folder.is_relative_to(tmp_path / "x")


def test_a_repository_with_sha256_names_is_no_obstacle(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main", "--object-format=sha256", "repo")
    (tmp_path / "repo/a.txt").write_text("a\nb\nc\n")
    git(tmp_path / "repo", "add", "-A")
    git(tmp_path / "repo", "commit", "-q", "-m", "first")
    repository = Repository.open(tmp_path / "repo", tmp_path / "home")
    base = repository.resolve("main")
    assert base
    assert check_patch(repository, base, EDIT, Scope(), PolicySpec()).accepted
