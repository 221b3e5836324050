"""Sandboxes: pooled working trees in which tools and gates run.

A sandbox is a repository of its own that borrows the objects of the user's repository, not a
linked worktree of it: whatever a tool does to `.git` (commits, branches, configuration, hooks)
stays in the sandbox and is thrown away at the next reset. We never read a sandbox's `.git`: files
are compared with a private index that lies beside the sandbox. Source: design section 4 step 3,
decisions K4.
"""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from resources.effects import printable, spelled
from resources.git.commit_objects import IDENTITY
from resources.git.repository import GitError, Repository
from resources.patch_policy.disguises import stands_for
from resources.patch_policy.names import name_problems
from resources.patch_policy.reasons import Reason
from resources.worktree_files import is_plain, remove, remove_untracked
from state.crash_points import crash_point
from state.whole_files import keep_names

SANDBOX_CONFIG = "[core]\n\trepositoryformatversion = 1\n\tbare = false\n[gc]\n\tauto = 0\n"

_INVALID_PATH = re.compile(r"invalid path '(.*)'", re.DOTALL)


class UnreadableError(Exception):
    """What a tool left behind is refused before any of it is read into git.

    Attributes:
        reason: its code (design section 6, "Reason codes"), message and path.
    """

    def __init__(self, code: str, message: str, path: bytes | None = None) -> None:
        self.reason = Reason(code, message, None if path is None else spelled(os.fsdecode(path)))
        super().__init__(message)


@dataclass(frozen=True)
class Sandbox:
    """One working tree: `path` holds the files, everything of ours lies beside it."""

    worker_id: str
    repository: Repository
    path: Path

    @property
    def index(self) -> Path:
        """The private index: what we know to be in the working tree."""
        return self.path.with_name(f"{self.path.name}.index")

    @property
    def new_objects(self) -> Path:
        """Objects of a patch that nobody has judged yet; thrown away with the next reset."""
        return self.path.with_name(f"{self.path.name}.objects")

    @property
    def environment(self) -> dict[str, str]:
        """What a command in the sandbox is told besides: git looks for no repository above it.

        The home often lies inside the user's repository, and a tool may remove its `.git`.
        """
        return {"GIT_CEILING_DIRECTORIES": str(self.path.parent)}

    def reset(self, commit_or_tree: str, head: str) -> None:
        """Make the files exactly those of a tree.

        `head` is what the sandbox's HEAD shows. Only files that differ are written. A working tree
        that a tool has broken beyond what git can reset (unreadable folders, say) is replaced by a
        new one.
        """
        if not self._is_folder():
            self._replace()
        try:
            self.throw_objects_away()
            remove(self.path / ".git")
            self._checkout(commit_or_tree)
        except (GitError, OSError):
            self._replace()
            self._checkout(commit_or_tree)
        self._make_git_dir(head)

    def throw_objects_away(self) -> None:
        """Forget the objects of an earlier patch that nobody has accepted."""
        remove(self.new_objects)

    def _is_folder(self) -> bool:
        """Whether the working tree is still one: git would follow a link in its place anywhere."""
        return self.path.is_dir() and not self.path.is_symlink()

    def _replace(self) -> None:
        """An empty folder in the place of whatever is there."""
        self.throw_objects_away()
        remove(self.path)
        remove(self.index)
        self.path.mkdir(parents=True)

    def _checkout(self, commit_or_tree: str) -> None:
        if self.index.exists():
            remove_untracked(self.path, self._git("ls-files", "-z"))
        # The stat data in the index tells git which files a tool touched.
        self._git("read-tree", "--reset", "-u", commit_or_tree)
        if (self.path / ".gitmodules").exists():
            self._empty_submodules()

    def _empty_submodules(self) -> None:
        """Git takes no notice of files that a tool puts where a submodule would be."""
        for entry in self._git("ls-files", "-z", "--stage").split(b"\0"):
            if entry.startswith(b"160000 "):
                folder = self.path / os.fsdecode(entry.split(b"\t", 1)[1])
                remove(folder)
                folder.mkdir()

    def _git(self, *args: str) -> bytes:
        """Git on the sandbox's files, against our private index."""
        done = self.repository.on_objects(*args, index=self.index, work_tree=self.path)
        return done.stdout

    def _make_git_dir(self, head: str) -> None:
        git_dir = self.path / ".git"
        for folder in ("objects/info", "refs/heads"):
            (git_dir / folder).mkdir(parents=True)
        alternates = f"{self.repository.objects}\n"
        (git_dir / "objects/info/alternates").write_text(alternates)
        name, mail = IDENTITY
        control = (self.repository.control / "config").read_text()
        extensions = control.partition("[extensions]")[2]
        identity = f"[user]\n\tname = {name}\n\temail = {mail}\n"
        (git_dir / "config").write_text(f"{SANDBOX_CONFIG}{identity}[extensions]{extensions}")
        (git_dir / "HEAD").write_text(f"{head}\n")
        # With its time, by which git knows the files that changed in the instant of the checkout.
        shutil.copy2(self.index, git_dir / "index")

    def capture(self, max_bytes: int, max_files: int) -> str:
        """The tree of the files as they are now, written to `new_objects`.

        Raises:
            UnreadableError: names that git refuses, more changed files or bytes than that,
                special files, nested repositories.
        """
        if not self._is_folder():
            raise UnreadableError("symlink", "the working tree itself was replaced")
        listed = self._git("ls-files", "-z", "--modified", "--others", "--exclude-standard")
        changed = {path for path in listed.split(b"\0") if path}
        self._refuse_names(changed)
        self._refuse_odd_kinds(changed)
        sizes = [size for size in map(self._size, changed) if size is not None]
        if len(sizes) > max_files:
            raise UnreadableError(
                "oversize", f"{len(sizes)} changed files, policy.max_files is {max_files}"
            )
        if sum(sizes) > max_bytes:
            raise UnreadableError(
                "oversize", f"{sum(sizes)} bytes in changed files, allowed are {max_bytes}"
            )
        return self._write_tree()

    def _size(self, path: bytes) -> int | None:
        """Bytes of a changed file; None when it was deleted."""
        try:
            return os.lstat(os.path.join(os.fsencode(self.path), path)).st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _refuse_names(self, changed: set[bytes]) -> None:
        """Refuse what git would stumble over: `.git` in disguise, links that pose as its files.

        `judge` has the other rules about names: it tells all reasons at once.
        """
        for path in sorted(changed):
            full = os.path.join(os.fsencode(self.path), path)
            if not os.path.lexists(full):
                continue
            for reason in name_problems(os.fsdecode(path.rstrip(b"/"))):
                if reason.code in ("git_dir", "path_escape"):
                    raise UnreadableError(reason.code, reason.message, path)
            name = stands_for(os.fsdecode(os.path.basename(path)))
            if name and os.path.islink(full):
                text = f"{_shown(path)} is a link; git reads {name} from files only"
                raise UnreadableError("symlink", text, path)

    def _refuse_odd_kinds(self, changed: set[bytes]) -> None:
        """Refuse what git would leave out or take for something else."""
        root = os.fsencode(self.path)
        for path in sorted(changed):
            full = os.path.join(root, path)
            if os.path.lexists(full) and not is_plain(full):
                raise UnreadableError("mode", f"{_shown(path)} is no file, link or folder", path)
        folders = {path.rstrip(b"/") for path in changed if path.endswith(b"/")}
        for path in changed:
            while path := os.path.dirname(path):
                folders.add(path)
        for folder in sorted(folders):
            if os.path.lexists(os.path.join(root, folder, b".git")):
                text = f"{_shown(folder)} is a repository of its own"
                raise UnreadableError("submodule", text, folder)

    def _write_tree(self) -> str:
        remove(self.new_objects)  # a tool may have put objects there under false names
        (self.new_objects / "info").mkdir(parents=True)
        scratch = self.new_objects / "index"  # so that `index` keeps telling what we checked out
        shutil.copy2(self.index, scratch)
        tree = b""
        for command in (("add", "--all", "--", "."), ("write-tree",)):
            try:
                tree = self.judged.on_objects(
                    *("-c", "core.fsync=loose-object", "-c", "core.fsyncMethod=batch"),
                    *command,
                    index=scratch,
                    work_tree=self.path,
                ).stdout
            except GitError as error:
                if found := _INVALID_PATH.search(error.stderr):
                    path = os.fsencode(found[1])
                    text = f"git refuses the name {_shown(path)}"
                    raise UnreadableError("git_dir", text, path) from error
                raise
        return tree.decode().strip()

    @property
    def judged(self) -> Repository:
        """The repository together with what `capture` wrote."""
        return self.repository.with_new_objects(self.new_objects)

    def adopt_objects(self) -> None:
        """Move what `capture` wrote into the repository's object store (a patch was accepted).

        Afterwards all of it is on disk, under its names.
        """
        objects, changed = self.repository.objects, set[Path]()
        for source in sorted(self.new_objects.glob("??/*")):
            folder = objects / source.parent.name
            if not (folder / source.name).exists():
                if not folder.exists():
                    folder.mkdir(exist_ok=True)
                    changed.add(objects)
                source.replace(folder / source.name)
                changed.add(folder)
                crash_point("object-adopted", "an object of a patch is in the object store")
        for folder in sorted(changed):
            keep_names(folder)


def discard_sandbox(worktrees: Path, worker_id: str) -> None:
    """Delete the files of a sandbox in the folder `worktrees`, also when its process is gone."""
    for suffix in ("", ".index", ".objects"):
        remove(worktrees / f"{worker_id}{suffix}")


def _shown(path: bytes) -> str:
    return printable(os.fsdecode(path))
