"""The one gateway to git.

Object work (trees, merges, commits) runs against a *control directory* of ours that borrows the
repository's object store. So a filter, hook, alias, fsmonitor or merge driver that somebody wrote
into the repository's, the user's or the machine's git configuration is never read there. Refs and
checkouts belong to the repository itself; those calls switch hooks, fsmonitor and filter drivers
off one by one.
"""

import hashlib
import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # without git we say so ourselves

import git

from resources.git.command import SWITCHES, Bounds, GitError, caller_environment, run_git
from resources.git.commit_objects import SHA256_DIGITS, stored_tree, write_blob, write_commit
from resources.git.ref_moves import Fence, Move, spelled
from state.errors import PreflightError, StaleLeaseError

DURABLE: tuple[str, ...] = ("-c", "core.fsync=all")
LOCK_PATIENCE = 15.0
"""Seconds that a person's git command may hold a lock that we need."""


@dataclass(frozen=True)
class Repository:
    """A git repository as patchline sees it.

    Attributes:
        root: the folder the user named (its working tree, or the bare repository).
        git_dir: the common git directory, where branches live.
        objects: the object store that every tree and commit is written to.
        control: our own git directory with no foreign configuration.
        borrowed: a second object store that is only read (see `with_new_objects`).
        lock_patience: seconds to wait for a lock that another git command holds.
    """

    root: Path
    git_dir: Path
    objects: Path
    control: Path
    borrowed: Path | None = None
    lock_patience: float = LOCK_PATIENCE
    _trees: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def open(cls, path: Path, home: Path) -> "Repository":
        """Open the repository whose top folder or git directory is `path`.

        A folder inside a repository is not taken for it: who mistypes a path would have somebody
        else's branches moved.

        Raises:
            PreflightError: `path` is missing, no git repository, or a folder inside one.
        """
        if not path.exists():
            raise PreflightError(f"{path}: no such folder", hint="name the repository with --repo")
        try:
            found = git.Repo(path)
        except git.InvalidGitRepositoryError as error:
            raise _no_repository(path) from error
        with found:
            git_dir = Path(found.common_dir).resolve()
            root = Path(found.working_tree_dir or git_dir).resolve()
        key = hashlib.sha256(os.fsencode(git_dir)).hexdigest()[:16]
        repository = cls(root, git_dir, git_dir / "objects", home.resolve() / "git" / key)
        repository._prepare_control()
        return repository

    def with_new_objects(self, folder: Path) -> "Repository":
        """The same repository, with new objects going to `folder` and not to its own store."""
        return replace(self, objects=folder, borrowed=self.objects)

    def _prepare_control(self) -> None:
        for folder in ("objects", "refs/heads", "info"):
            (self.control / folder).mkdir(parents=True, exist_ok=True)
        object_format = self.on_refs("rev-parse", "--show-object-format").strip()
        config = "[core]\n\trepositoryformatversion = 1\n\tbare = false\n"
        config += f"[extensions]\n\tobjectFormat = {object_format}\n"
        _write_if_changed(self.control / "config", config.encode())
        _write_if_changed(self.control / "HEAD", b"ref: refs/heads/none\n")
        shallow = self.git_dir / "shallow"
        if shallow.exists():
            _write_if_changed(self.control / "shallow", shallow.read_bytes())
        else:  # a clone that was shallow once: its history is whole now
            (self.control / "shallow").unlink(missing_ok=True)

    # -- running git ---------------------------------------------------------------------------

    def on_objects(
        self,
        *args: str,
        index: Path | None = None,
        work_tree: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        expect: Sequence[int] = (0,),
        bounds: Bounds | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run git on the object store, blind to every configuration but ours.

        Args:
            args: the git command and its arguments.
            index: a private index file.
            work_tree: the sandbox whose files the command reads or writes.
            env: more environment variables.
            stdin: what git reads.
            expect: exit codes that are answers; any other raises GitError.
            bounds: what git may use of the machine; beyond it, GitOverrunError.
        """
        environment = caller_environment() | {"GIT_DIR": str(self.control)}
        environment["GIT_OBJECT_DIRECTORY"] = str(self.objects)
        if self.borrowed:
            environment["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = _quoted(self.borrowed)
        if index:
            environment["GIT_INDEX_FILE"] = str(index)
        if work_tree:
            environment["GIT_WORK_TREE"] = str(work_tree)
        argv = ["git", *SWITCHES, *args]
        environment |= env or {}
        cwd = work_tree or self.control
        return run_git(argv, environment, cwd, stdin, expect, bounds=bounds)

    def on_refs(self, *args: str, work_tree: Path | None = None, stdin: bytes = b"") -> str:
        """Run git on the repository itself, with hooks, fsmonitor and filters off.

        Waits up to `lock_patience` seconds for a lock that another git command holds.
        """
        git_dir = self.git_dir
        if work_tree is not None:
            git_dir = git_dir_of(work_tree)
        environment = caller_environment() | {"GIT_DIR": str(git_dir)}
        if work_tree is not None:
            environment["GIT_WORK_TREE"] = str(work_tree)
            environment |= self._without_filters(environment)
        argv = ["git", *SWITCHES, *args]
        done = run_git(
            *(argv, environment, work_tree or self.git_dir, stdin), patience=self.lock_patience
        )
        return done.stdout.decode("utf-8", "surrogateescape")

    def _without_filters(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Switches every filter driver off that the repository's configuration defines."""
        search = r"^filter\..*\.(clean|smudge|process|required)$"
        argv = ["git", "config", "--name-only", "-z", "--get-regexp", search]
        listed = run_git(argv, environment, self.git_dir, expect=(0, 1)).stdout.decode()
        keys = sorted({key for key in listed.split("\0") if key})
        switches = {"GIT_CONFIG_COUNT": str(len(keys))}
        for number, key in enumerate(keys):
            switches[f"GIT_CONFIG_KEY_{number}"] = key
            switches[f"GIT_CONFIG_VALUE_{number}"] = "false" if key.endswith(".required") else ""
        return switches

    # -- refs ----------------------------------------------------------------------------------

    def resolve(self, revision: str, work_tree: Path | None = None) -> str | None:
        """The commit that `revision` names in the repository, or in a checkout of it; or None."""
        try:
            asked = ("rev-parse", "--verify", "--quiet", "--end-of-options")
            return self.on_refs(*asked, f"{revision}^{{commit}}", work_tree=work_tree).strip()
        except GitError:
            return None

    def branch_head(self, branch: str) -> str | None:
        """The commit at the tip of a local branch, or None when there is no such branch."""
        return self.resolve(f"refs/heads/{branch}")

    def move_branch(
        self, branch: str, new: str, old: str | None, fence: Fence | None = None
    ) -> bool:
        """Compare-and-swap a branch from `old` (None: must not exist) to `new`, durably.

        Returns:
            False when the branch was not at `old`; nothing has changed then.

        Raises:
            StaleLeaseError: the fence is not what it was; nothing has changed then.
        """
        return self.move_reference(f"refs/heads/{branch}", new, old, "patchline: land", fence)

    def move_reference(
        self, reference: str, new: str, old: str | None, why: str, fence: Fence | None = None
    ) -> bool:
        """Compare-and-swap any ref, named in full, as `move_branch` does; `why` is for its log."""
        try:
            self._move(Move(reference, new, old), why, fence)
        except GitError as error:
            found = self._value(reference)
            if found == new:
                return True  # it had moved before git stumbled
            self._refuse_if_fenced(fence, error)
            if found == old:
                raise  # not a lost race: git could not write
            return False
        return True

    def delete_branch(self, branch: str, old: str, fence: Fence | None = None) -> None:
        """Delete a branch that is at `old`; one that is gone already is fine.

        Raises:
            StaleLeaseError: the fence is not what it was; nothing has changed then.
            GitError: the branch is somewhere else, or git cannot write.
        """
        if self.branch_head(branch) is not None:
            try:
                self._move(Move(f"refs/heads/{branch}", None, old), "patchline: delete", fence)
            except GitError as error:
                self._refuse_if_fenced(fence, error)
                raise

    def delete_reference(self, reference: str, old: str) -> bool:
        """Delete a ref, named in full, if it is at `old`; says whether it is gone."""
        try:
            self._move(Move(reference, None, old), "patchline: delete")
        except GitError:
            return self._value(reference) is None
        return True

    def _move(self, move: Move, why: str, fence: Fence | None = None) -> None:
        told = spelled(move, fence)
        self.on_refs(*DURABLE, "update-ref", "-m", why, "--stdin", "-z", stdin=told)

    def _refuse_if_fenced(self, fence: Fence | None, error: GitError) -> None:
        if fence is not None and self._value(fence.reference) != fence.oid:
            raise StaleLeaseError(fence.branch, fence.token) from error

    def _value(self, reference: str) -> str | None:
        """The object that a ref, named in full, leads to; None when there is no such ref."""
        try:
            return self.on_refs("rev-parse", "--verify", "--quiet", reference).strip()
        except GitError:
            return None

    def is_ancestor(self, ancestor: str, descendant: str) -> bool:
        """Whether `descendant` contains `ancestor` (a commit contains itself)."""
        done = self.on_objects("merge-base", "--is-ancestor", ancestor, descendant, expect=(0, 1))
        return done.returncode == 0

    # -- objects -------------------------------------------------------------------------------

    def tree_of(self, commit: str) -> str:
        """The tree id of a commit."""
        known = self._trees.get(commit)
        spelled = f"{commit}^{{tree}}"
        return known or self._text("rev-parse", "--verify", "--end-of-options", spelled)

    def stored_tree_of(self, commit: str) -> str:
        """The tree of a commit as it lies in the object store now, whatever we believe of it.

        Raises:
            ValueError: the commit is damaged.
        """
        spelled_out = f"{commit}^{{tree}}"
        tree = stored_tree(self.objects, commit)
        return tree or self._text("rev-parse", "--verify", "--end-of-options", spelled_out)

    def common_ancestor(self, one: str, other: str) -> str:
        """The commit where two histories parted."""
        return self._text("merge-base", one, other)

    def commit(
        self,
        tree: str,
        parents: Sequence[str],
        message: str,
        date: str,
        durable: bool = True,
    ) -> str:
        """Write a commit that is the same object whenever it is written again.

        Args:
            tree: its tree.
            parents: its parents, in order.
            message: the whole message, trailers included.
            date: ISO-8601 UTC time of author and committer; whole seconds count.
            durable: it must outlive a loss of power: it will be named by a ref or the state.
        """
        text = message.encode("utf-8", "surrogateescape")
        written = write_commit(self.objects, tree, parents, text, date, durable)
        self._trees[written] = tree  # its name proves its tree
        return written

    def write_blob(self, content: bytes) -> str:
        """Write a blob durably; says its name."""
        sha256 = "sha256" in (self.control / "config").read_text()
        return write_blob(self.objects, content, SHA256_DIGITS if sha256 else 40)

    def empty_tree(self) -> str:
        """The name of the tree without files."""
        return self._text("hash-object", "-t", "tree", "--stdin")

    def first_parents(self, base: str, tip: str) -> tuple[str, ...]:
        """The commits after `base` up to `tip`, oldest first, along the first parents."""
        listed = self._text("rev-list", "--first-parent", "--reverse", f"{base}..{tip}")
        return tuple(listed.split())

    def tracked_files(self, commit: str) -> tuple[str, ...]:
        """Paths of the files in a commit's tree."""
        done = self.on_objects("ls-tree", "-r", "-z", "--name-only", "--full-tree", commit)
        return tuple(done.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1])

    def _text(self, *args: str) -> str:
        return self.on_objects(*args).stdout.decode("utf-8", "surrogateescape").strip()


def checkout_around(folder: Path) -> Path | None:
    """The top of the checkout that a folder is in, or None."""
    try:
        with git.Repo(folder, search_parent_directories=True) as repo:
            return Path(repo.working_tree_dir) if repo.working_tree_dir else None
    except git.InvalidGitRepositoryError:
        return None


def git_dir_of(work_tree: Path) -> Path:
    """The git directory of a checkout: its `.git` folder, or the folder its `.git` file names."""
    with git.Repo(work_tree) as repo:
        return Path(repo.git_dir).resolve()


def _no_repository(path: Path) -> PreflightError:
    """Why a folder is refused; names the repository around it, if there is one."""
    try:
        with git.Repo(path, search_parent_directories=True) as around:
            top = around.working_tree_dir or around.common_dir
    except git.InvalidGitRepositoryError:
        hint = f"run `git init` in {path}, or use --repo"
        return PreflightError(f"{path} is not a git repository", hint=hint)
    return PreflightError(
        f"{path} is not a git repository, but a folder inside of {top}",
        hint=f"name {top} if that is meant, or run `git init` in {path}",
    )


def _quoted(path: Path) -> str:
    """A path in a list that git separates by colons."""
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _write_if_changed(path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content:
        scratch = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
        scratch.write_bytes(content)
        scratch.replace(path)
