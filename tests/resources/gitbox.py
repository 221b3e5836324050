"""A repository for tests of what works on git: made quickly, with git as a person would use it."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from resources.git.repository import Repository
from resources.worktrees import Sandbox

FILES = {"a.txt": "a\n", "b.txt": "b\n", "src/one.py": "x = 1\n", "src/two.py": "y = 2\n"}


def git(folder: Path, *args: str, stdin: str | None = None) -> str:
    """Git as a person would use it there; says what it printed."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    env |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for who in ("AUTHOR", "COMMITTER"):
        env |= {f"GIT_{who}_NAME": "ann", f"GIT_{who}_EMAIL": "ann@localhost"}
    done = subprocess.run(
        ["git", "-c", "core.fsmonitor=false", *args],
        cwd=folder,
        env=env,
        input=stdin,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"git {args}: {done.stderr}"
    return done.stdout.strip()


def make_repository(
    folder: Path, files: Mapping[str, str] = FILES, object_format: str = "sha1"
) -> Path:
    """A repository with one commit on `main`, checked out."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main", f"--object-format={object_format}")
    write(folder, files)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write files below a folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


class GitBox:
    """A repository in a folder, opened through the gateway, with a home beside it."""

    def __init__(self, folder: Path, files: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.path = make_repository(folder / "repo", files or {"a.txt": "a\n", "b.txt": "b\n"})
        self.repository = Repository.open(self.path, folder / "home")

    def git(self, *args: str) -> str:
        return git(self.path, *args)

    def head(self, branch: str = "main") -> str:
        return self.git("rev-parse", branch)

    def commit(self, files: dict[str, str | None], on: str = "main") -> str:
        """A commit on top of `on`; no branch and no checkout moves. None deletes a file."""
        index = self.folder / "scratch.index"
        base = self.git("rev-parse", on)
        self.repository.on_objects("read-tree", base, index=index)
        for name, text in files.items():
            if text is None:
                self.repository.on_objects(
                    "update-index", "--force-remove", "--", name, index=index, work_tree=self.folder
                )
                continue
            blob = self.repository.on_objects(
                "hash-object", "-w", "--stdin", stdin=text.encode()
            ).stdout.decode()
            entry = f"100644,{blob.strip()},{name}"
            self.repository.on_objects(
                "update-index", "--add", "--replace", "--cacheinfo", entry, index=index
            )
        done = self.repository.on_objects("write-tree", index=index)
        tree = done.stdout.decode().strip()
        return self.repository.commit(tree, (base,), "more\n", "2026-01-01T00:00:00Z")

    def sandbox(self, name: str = "uet_1") -> Sandbox:
        """A sandbox as the pool makes it."""
        path = self.folder / "home" / "worktrees" / name
        path.mkdir(parents=True)
        return Sandbox(name, self.repository, path)
