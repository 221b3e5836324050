"""The user's own checkouts of the target branch: clean ones move forward with it."""

from pathlib import Path

from resources.repository import Repository


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


def move_forward(repository: Repository, checkout: Path, old: str, new: str) -> None:
    """Bring a clean checkout from commit `old` to `new`, after its branch has moved.

    Raises:
        GitError: an untracked file is in the way, or the checkout changed meanwhile.
    """
    repository.on_refs("update-index", "-q", "--refresh", work_tree=checkout)
    repository.on_refs("read-tree", "-m", "-u", old, new, work_tree=checkout)
