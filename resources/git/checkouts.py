"""The user's own checkouts of the target branch: clean ones move forward with it."""

import os
import time
from pathlib import Path, PurePosixPath

from resources.git.repository import Repository, git_dir_of


def checkout_of(repository: Repository, branch: str) -> Path | None:
    """The working tree that has `branch` checked out, or None."""
    folder: Path | None = None
    bare = False
    for line in repository.on_refs("worktree", "list", "--porcelain", "-z").split("\0"):
        if line.startswith("worktree "):
            folder, bare = Path(line.removeprefix("worktree ")), False
        elif line == "bare":
            bare = True
        elif line == f"branch refs/heads/{branch}" and folder and not bare and folder.exists():
            return folder
    return None


def local_changes(repository: Repository, checkout: Path) -> tuple[str, ...]:
    """Tracked paths that differ from the checked-out commit, in the index or on disk.

    Untracked files are not local changes: moving forward never overwrites them, git refuses.
    """
    listed = repository.on_refs(
        *("status", "--porcelain=v1", "-z", "--untracked-files=no", "--no-renames"),
        *("--ignore-submodules=all",),
        work_tree=checkout,
    )
    return tuple(entry[3:] for entry in listed.split("\0") if entry)


def staged_tree(repository: Repository, checkout: Path) -> str:
    """The tree that a checkout's index holds."""
    return repository.on_refs("write-tree", work_tree=checkout).strip()


def unstaged_changes(repository: Repository, checkout: Path) -> bool:
    """Whether tracked files of a checkout differ from its index."""
    # Not diff-files: that takes every file for changed whose time is not the index's.
    names = ("diff", "--no-ext-diff", "--name-only", "-z", "--ignore-submodules=all")
    return bool(repository.on_refs(*names, work_tree=checkout))


def shows_the_commit_before(repository: Repository, branch: str, checkout: Path) -> bool:
    """Whether a checkout's files are those of its branch's last commit but one.

    A landing that died between the branch and its checkout leaves it so; a person may, too.
    """
    before = repository.resolve(f"refs/heads/{branch}^1")
    return (
        before is not None
        and staged_tree(repository, checkout) == repository.tree_of(before)
        and not unstaged_changes(repository, checkout)
    )


def in_the_way(repository: Repository, checkout: Path, old: str, new: str) -> tuple[str, ...]:
    """Untracked and ignored files of a checkout that going from `old` to `new` would replace.

    Git refuses for untracked files, but takes ignored ones (a local `.env`, say) for expendable.
    """
    changes = repository.on_objects(
        *("diff-tree", "-r", "-z", "--name-status", "--no-renames", "--diff-filter=AD", old, new)
    )
    fields = changes.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1]
    pairs = list(zip(fields[::2], fields[1::2], strict=True))
    gone = {path for status, path in pairs if status == "D"}
    gone |= {str(parent) for path in gone for parent in PurePosixPath(path).parents}
    found: set[str] = set()
    for path in (path for status, path in pairs if status == "A"):
        folders = (str(parent) for parent in PurePosixPath(path).parents)
        found |= {path for path in (path,) if os.path.lexists(checkout / path)}
        found |= {
            f for f in folders if os.path.lexists(checkout / f) and not _is_folder(checkout / f)
        }
    return tuple(sorted(found - gone))


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def index_is_free(repository: Repository, checkout: Path) -> bool:
    """Wait until no git command of a person holds the checkout's index.

    Returns:
        False when one still did after the repository's `lock_patience`.
    """
    lock = git_dir_of(checkout) / "index.lock"
    deadline = time.monotonic() + repository.lock_patience
    while os.path.lexists(lock):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def move_forward(repository: Repository, checkout: Path, old: str | None, new: str) -> None:
    """Bring a clean checkout from commit `old` to `new`, after its branch has moved.

    Args:
        repository: whose.
        checkout: the working tree.
        old: what it shows; None for an empty one whose branch had no commit.
        new: what it shall show.

    Raises:
        GitError: an untracked file is in the way, or the checkout changed meanwhile.
    """
    refresh = ("update-index", "--refresh", "--ignore-submodules")
    repository.on_refs(*refresh, work_tree=checkout)
    trees = (new,) if old is None else (old, new)
    repository.on_refs("read-tree", "-m", "-u", *trees, work_tree=checkout)
