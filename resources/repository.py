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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # without git we say so ourselves

import git

from state.errors import PatchlineError, PreflightError

ZERO_CONFIG: Mapping[str, str] = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "LC_ALL": "C",
}
SWITCHES: tuple[str, ...] = (
    *("-c", f"core.hooksPath={os.devnull}"),
    *("-c", "core.fsmonitor=false"),
    *("-c", f"core.attributesFile={os.devnull}"),
    *("-c", f"core.excludesFile={os.devnull}"),
    *("-c", "core.protectHFS=true"),
    *("-c", "core.protectNTFS=true"),
    *("-c", "core.quotePath=false"),
    *("-c", "gc.auto=0"),
    *("-c", "advice.addEmbeddedRepo=false"),
)
DURABLE: tuple[str, ...] = ("-c", "core.fsync=all")
IDENTITY = ("patchline", "patchline@localhost")


class GitError(PatchlineError):
    """A git command ended in a way that its caller did not expect."""

    code = "git_failed"

    def __init__(self, argv: Sequence[str], exit_code: int, stderr: str) -> None:
        self.argv, self.exit_code, self.stderr = tuple(argv), exit_code, stderr.strip()
        super().__init__(
            f"git {_command(argv)} failed with exit code {exit_code}: {self.stderr[-2000:]}"
        )


@dataclass(frozen=True)
class Merged:
    """A three-way merge without conflicts: the resulting tree."""

    tree: str


@dataclass(frozen=True)
class Conflict:
    """A three-way merge that needs a person: the conflicting paths."""

    paths: tuple[str, ...]


@cache
def _caller_environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | dict(ZERO_CONFIG)


@dataclass(frozen=True)
class Repository:
    """A git repository as patchline sees it.

    Attributes:
        root: the folder the user named (its working tree, or the bare repository).
        git_dir: the common git directory, where branches live.
        objects: the object store that every tree and commit is written to.
        control: our own git directory with no foreign configuration.
        borrowed: a second object store that is only read (see `with_new_objects`).
    """

    root: Path
    git_dir: Path
    objects: Path
    control: Path
    borrowed: Path | None = None

    @classmethod
    def open(cls, path: Path, home: Path) -> "Repository":
        """Open the repository at or above `path`.

        Raises:
            PreflightError: `path` is missing or in no git repository.
        """
        if not path.exists():
            raise PreflightError(f"{path}: no such folder", hint="name the repository with --repo")
        try:
            found = git.Repo(path, search_parent_directories=True)
        except git.InvalidGitRepositoryError as error:
            raise PreflightError(
                f"{path} is not a git repository", hint=f"run `git init` in {path}, or use --repo"
            ) from error
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
        shallow = self.git_dir / "shallow"
        if shallow.exists():
            (self.control / "shallow").write_bytes(shallow.read_bytes())
        _write_if_changed(self.control / "config", config)
        _write_if_changed(self.control / "HEAD", "ref: refs/heads/none\n")

    # -- running git ---------------------------------------------------------------------------

    def on_objects(
        self,
        *args: str,
        index: Path | None = None,
        work_tree: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        expect: Sequence[int] = (0,),
    ) -> subprocess.CompletedProcess[bytes]:
        """Run git on the object store, blind to every configuration but ours.

        Args:
            args: the git command and its arguments.
            index: a private index file.
            work_tree: the sandbox whose files the command reads or writes.
            env: more environment variables.
            stdin: what git reads.
            expect: exit codes that are answers; any other raises GitError.
        """
        environment = _caller_environment() | {"GIT_DIR": str(self.control)}
        environment["GIT_OBJECT_DIRECTORY"] = str(self.objects)
        if self.borrowed:
            environment["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = str(self.borrowed)
        if index:
            environment["GIT_INDEX_FILE"] = str(index)
        if work_tree:
            environment["GIT_WORK_TREE"] = str(work_tree)
        argv = ["git", *SWITCHES, *args]
        return _run(argv, environment | dict(env or {}), work_tree or self.control, stdin, expect)

    def on_refs(self, *args: str, work_tree: Path | None = None, stdin: bytes = b"") -> str:
        """Run git on the repository itself, with hooks, fsmonitor and filters off."""
        git_dir = self.git_dir
        if work_tree is not None:
            git_dir = _git_dir_of(work_tree)
        environment = _caller_environment() | {"GIT_DIR": str(git_dir)}
        if work_tree is not None:
            environment["GIT_WORK_TREE"] = str(work_tree)
            environment |= self._without_filters(environment)
        argv = ["git", *SWITCHES, *args]
        done = _run(argv, environment, work_tree or self.git_dir, stdin, (0,))
        return done.stdout.decode("utf-8", "surrogateescape")

    def _without_filters(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Switches every filter driver off that the repository's configuration defines."""
        search = r"^filter\..*\.(clean|smudge|process|required)$"
        argv = ["git", "config", "--name-only", "-z", "--get-regexp", search]
        listed = _run(argv, environment, self.git_dir, b"", (0, 1)).stdout.decode()
        keys = sorted({key for key in listed.split("\0") if key})
        switches = {"GIT_CONFIG_COUNT": str(len(keys))}
        for number, key in enumerate(keys):
            switches[f"GIT_CONFIG_KEY_{number}"] = key
            switches[f"GIT_CONFIG_VALUE_{number}"] = "false" if key.endswith(".required") else ""
        return switches

    # -- refs ----------------------------------------------------------------------------------

    def resolve(self, revision: str) -> str | None:
        """The commit that `revision` names in the repository, or None."""
        try:
            spelled = f"{revision}^{{commit}}"
            return self.on_refs(
                "rev-parse", "--verify", "--quiet", "--end-of-options", spelled
            ).strip()
        except GitError:
            return None

    def branch_head(self, branch: str) -> str | None:
        """The commit at the tip of a local branch, or None when there is no such branch."""
        return self.resolve(f"refs/heads/{branch}")

    def move_branch(self, branch: str, new: str, old: str | None) -> bool:
        """Compare-and-swap a branch from `old` (None: must not exist) to `new`, durably.

        Returns:
            False when the branch was not at `old`; nothing has changed then.
        """
        reference = f"refs/heads/{branch}"
        expected = old or "0" * len(new)
        try:
            self.on_refs(*DURABLE, "update-ref", "-m", "patchline: land", reference, new, expected)
        except GitError:
            found = self.branch_head(branch)
            if found == old:
                raise  # not a lost race: git could not write
            return found == new  # the ref may have moved before git stumbled
        return True

    def delete_branch(self, branch: str, old: str) -> None:
        """Delete a branch of ours that is at `old`; one that is gone already is fine."""
        if self.branch_head(branch) is not None:
            self.on_refs("update-ref", "-d", f"refs/heads/{branch}", old)

    def is_ancestor(self, ancestor: str, descendant: str) -> bool:
        """Whether `descendant` contains `ancestor` (a commit contains itself)."""
        done = self.on_objects("merge-base", "--is-ancestor", ancestor, descendant, expect=(0, 1))
        return done.returncode == 0

    # -- objects -------------------------------------------------------------------------------

    def tree_of(self, commit: str) -> str:
        """The tree id of a commit."""
        return self._text("rev-parse", "--verify", "--end-of-options", f"{commit}^{{tree}}")

    def merge(self, ours: str, theirs: str) -> Merged | Conflict:
        """Three-way merge of two commits without a working tree (git merge-tree --write-tree)."""
        done = self.on_objects(
            *("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages"),
            *(ours, theirs),
            expect=(0, 1),
        )
        tree, *paths = done.stdout.decode("utf-8", "backslashreplace").split("\0")
        if done.returncode == 0:
            return Merged(tree.strip())
        return Conflict(tuple(sorted({path for path in paths if path})))

    def commit(self, tree: str, parents: Sequence[str], message: str, date: str) -> str:
        """Write a commit that is the same object whenever it is written again.

        Args:
            tree: its tree.
            parents: its parents, in order.
            message: the whole message, trailers included.
            date: ISO-8601 UTC time of author and committer; whole seconds count.
        """
        name, mail = IDENTITY
        when = f"{date[:19]}+00:00"
        env = {f"GIT_{who}_NAME": name for who in ("AUTHOR", "COMMITTER")}
        env |= {f"GIT_{who}_EMAIL": mail for who in ("AUTHOR", "COMMITTER")}
        env |= {f"GIT_{who}_DATE": when for who in ("AUTHOR", "COMMITTER")}
        args = [*DURABLE, "commit-tree", tree, "-F", "-"]
        for parent in parents:
            args += ["-p", parent]
        done = self.on_objects(*args, env=env, stdin=message.encode("utf-8", "surrogateescape"))
        return done.stdout.decode().strip()

    def tracked_files(self, commit: str) -> tuple[str, ...]:
        """Paths of the files in a commit's tree."""
        done = self.on_objects("ls-tree", "-r", "-z", "--name-only", "--full-tree", commit)
        return tuple(done.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1])

    def _text(self, *args: str) -> str:
        return self.on_objects(*args).stdout.decode("utf-8", "surrogateescape").strip()


def _run(
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: Path,
    stdin: bytes,
    expect: Sequence[int],
) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        argv, env=env, cwd=cwd, input=stdin, capture_output=True, start_new_session=True
    )
    if done.returncode not in expect:
        raise GitError(argv, done.returncode, done.stderr.decode("utf-8", "replace"))
    return done


def _command(argv: Sequence[str]) -> str:
    """The git command among its arguments: what follows the `-c name=value` pairs."""
    place = 1
    while argv[place : place + 1] == ["-c"]:
        place += 2
    return argv[place] if place < len(argv) else argv[0]


def _git_dir_of(work_tree: Path) -> Path:
    """The git directory of a checkout: its `.git` folder, or the folder its `.git` file names."""
    with git.Repo(work_tree) as repo:
        return Path(repo.git_dir).resolve()


def _write_if_changed(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        scratch = path.with_name(f"{path.name}.{os.getpid()}.{id(text)}")
        scratch.write_text(text)
        scratch.replace(path)
