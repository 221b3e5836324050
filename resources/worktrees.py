"""Sandboxes: pooled working trees in which tools and gates run.

A sandbox is a repository of its own that borrows the objects of the user's repository, not a
linked worktree of it: whatever a tool does to `.git` (commits, branches, configuration, hooks)
stays in the sandbox and is thrown away at the next reset. We never read a sandbox's `.git`: files
are compared with a private index that lies beside the sandbox. Source: design section 4 step 3,
decisions K4.
"""

import os
import shutil
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from resources.repository import IDENTITY, GitError, Repository
from state.store import StateStore

SANDBOX_CONFIG = "[core]\n\trepositoryformatversion = 1\n\tbare = false\n[gc]\n\tauto = 0\n"


class OversizeError(Exception):
    """More changed data than a patch may have; nothing was read into git."""


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

    def reset(self, commit_or_tree: str, head: str) -> None:
        """Make the files exactly those of a tree; `head` is what the sandbox's HEAD shows.

        Only files that differ are written. A working tree that a tool has broken beyond what git
        can reset (unreadable folders, say) is replaced by a new one.
        """
        _remove(self.path / ".git")
        _remove(self.new_objects)
        try:
            self._checkout(commit_or_tree)
        except (GitError, OSError):
            _remove(self.path)
            _remove(self.index)
            self.path.mkdir(parents=True)
            self._checkout(commit_or_tree)
        self._make_git_dir(head)

    def _checkout(self, commit_or_tree: str) -> None:
        if self.index.exists():
            # The stat data in the index tells git which files a tool touched.
            self._git("clean", "-ffdxq")
        self._git("read-tree", "--reset", "-u", commit_or_tree)

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
        shutil.copyfile(self.index, git_dir / "index")

    def capture(self, max_bytes: int, max_files: int) -> str:
        """The tree of the files as they are now, written to `new_objects`.

        Raises:
            OversizeError: more changed files or bytes than that; checked before git reads them.
            GitError: a path that git refuses to track (`.git` in disguise, say).
        """
        listed = self._git(
            *("status", "--porcelain=v1", "-z", "-uall", "--no-renames", "--ignore-submodules=all")
        )
        changed = [entry[3:] for entry in listed.split(b"\0") if entry and entry[:1] != b"D"]
        total = sum(_size(os.path.join(os.fsencode(self.path), path)) for path in changed)
        if len(changed) > max_files:
            raise OversizeError(f"{len(changed)} changed files, allowed are {max_files}")
        if total > max_bytes:
            raise OversizeError(f"{total} bytes in changed files, allowed are {max_bytes}")
        return self._write_tree()

    def _write_tree(self) -> str:
        (self.new_objects / "info").mkdir(parents=True, exist_ok=True)
        scratch = self.new_objects / "index"  # so that `index` keeps telling what we checked out
        shutil.copyfile(self.index, scratch)
        tree = b""
        for command in (("add", "--all", "--", "."), ("write-tree",)):
            tree = self.judged.on_objects(
                *("-c", "core.fsync=loose-object", "-c", "core.fsyncMethod=batch"),
                *command,
                index=scratch,
                work_tree=self.path,
            ).stdout
        return tree.decode().strip()

    @property
    def judged(self) -> Repository:
        """The repository together with what `capture` wrote."""
        return self.repository.with_new_objects(self.new_objects)

    def adopt_objects(self) -> None:
        """Move what `capture` wrote into the repository's object store (a patch was accepted)."""
        for source in sorted(self.new_objects.glob("??/*")):
            target = self.repository.objects / source.parent.name / source.name
            if not target.exists():
                target.parent.mkdir(exist_ok=True)
                source.replace(target)
        for source in sorted(self.new_objects.glob("pack/*"), key=lambda p: p.suffix == ".idx"):
            source.replace(self.repository.objects / "pack" / source.name)

    def remove(self) -> None:
        """Delete the sandbox's files."""
        discard_sandbox(self.path.parent, self.worker_id)


class SandboxPool:
    """The sandboxes of one run in this process; each is used by one task at a time.

    Thread-safe. Rows: `uet_workers` (machine `uet_worker`).
    """

    def __init__(self, store: StateStore, repository: Repository, home: Path, run_id: str) -> None:
        self._store, self._repository, self._run_id = store, repository, run_id
        self._home = home.resolve() / "worktrees"
        self._idle: list[Sandbox] = []
        self._lock = threading.Lock()

    @contextmanager
    def lease(self, task_id: str | None) -> Iterator[Sandbox]:
        """An idle sandbox, or a new one, for the duration of a block."""
        with self._lock:
            sandbox = self._idle.pop() if self._idle else None
        sandbox = sandbox or self._spawn()
        self._store.transition("uet_worker", sandbox.worker_id, "BUSY", task_id=task_id)
        try:
            yield sandbox
        finally:
            self._store.transition("uet_worker", sandbox.worker_id, "IDLE", task_id=None)
            with self._lock:
                self._idle.append(sandbox)

    def _spawn(self) -> Sandbox:
        repo = str(self._repository.root)
        row = self._store.create("uet_worker", run_id=self._run_id, repo=repo)
        path = self._home / row.worker_id
        try:
            path.mkdir(parents=True)
        except OSError as error:
            self._store.transition("uet_worker", row.worker_id, "TERMINATED", reason=str(error))
            raise
        self._store.transition("uet_worker", row.worker_id, "IDLE", path=str(path))
        return Sandbox(row.worker_id, self._repository, path)

    def close(self) -> None:
        """End the idle sandboxes and delete their files."""
        with self._lock:
            idle, self._idle = self._idle, []
        for sandbox in idle:
            self._store.transition("uet_worker", sandbox.worker_id, "TERMINATED")
            sandbox.remove()


def discard_sandbox(worktrees: Path, worker_id: str) -> None:
    """Delete the files of a sandbox in the folder `worktrees`, also when its process is gone."""
    for suffix in ("", ".index", ".objects"):
        _remove(worktrees / f"{worker_id}{suffix}")


def _size(path: bytes) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0


def _remove(path: Path) -> None:
    """Delete a file, link or folder, also against its permissions; links are not followed."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        if sys.version_info >= (3, 12):
            shutil.rmtree(path, onexc=_open_up_and_retry)
        else:
            shutil.rmtree(path, onerror=_open_up_and_retry)


def _open_up_and_retry(function: Callable[[str], object], path: str, error: object) -> None:
    del error
    for target in (os.path.dirname(path), path):
        if not os.path.islink(target):
            os.chmod(target, os.stat(target).st_mode | stat.S_IRWXU)
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        function(path)
