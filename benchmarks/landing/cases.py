"""The work that is measured: a repository, and independent one-line patches for it."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LINES = 40
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{who}_NAME": "bench" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_EMAIL": "bench@localhost" for who in ("AUTHOR", "COMMITTER")},
}


@dataclass(frozen=True)
class Case:
    """`patches` patches of one line each, for a repository of `files` files; the gate's argv."""

    files: int
    patches: int
    gate: tuple[str, ...]

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.files} files, {self.patches} patches, gate `{' '.join(self.gate)}`"


def git(folder: Path, *args: str, stdin: bytes = b"") -> str:
    """Git as a person would use it there."""
    done = subprocess.run(
        ["git", *args], cwd=folder, env=ENVIRONMENT, input=stdin, capture_output=True, check=True
    )
    return done.stdout.decode().strip()


def path_of(number: int) -> str:
    """The path of a file: fifty of them in a folder."""
    return f"src/part_{number // 50:03}/file_{number:05}.txt"


def make_repository(folder: Path, case: Case) -> None:
    """A repository with one commit on `main`, checked out, and packed as a clone is."""
    folder.mkdir(parents=True)
    for number in range(case.files):
        file = folder / path_of(number)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{number}: line {line}\n" for line in range(LINES)))
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "start")
    git(folder, "repack", "-q", "-a", "-d")


def patches(case: Case) -> Iterator[tuple[str, bytes]]:
    """Path and text of each patch. No two of them touch lines that are near each other."""
    for number in range(case.patches):
        file, line = number % case.files, 4 + 8 * (number // case.files)
        path = path_of(file)
        before, after = f"{file}: line {line}\n", f"{file}: line {line}, changed by {number}\n"
        context = [f" {file}: line {near}\n" for near in range(line - 3, line)]
        behind = [f" {file}: line {near}\n" for near in range(line + 1, line + 4)]
        hunk = "".join([*context, f"-{before}", f"+{after}", *behind])
        head = f"diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n"
        yield path, f"{head}@@ -{line - 2},7 +{line - 2},7 @@\n{hunk}".encode()


def check_landed(folder: Path, case: Case, revision: str = "main") -> None:
    """Raise RuntimeError unless every patch is in the tree of `revision`, and nothing else."""
    expected = {path: 0 for path, _ in patches(case)}
    for path, _ in patches(case):
        expected[path] += 1
    changed = git(folder, "log", "--first-parent", "--format=%H", "--max-parents=0", revision)
    start = changed.splitlines()[-1]
    found = dict[str, int]()
    for line in git(folder, "diff", "--numstat", start, revision).splitlines():
        added, _, path = line.split("\t")
        found[path] = int(added)
    if found != expected:
        raise RuntimeError(f"{sum(found.values())} of {case.patches} patches are on {revision}")
