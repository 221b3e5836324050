"""The subprocesses of a patchline task, run by hand from a thread pool: tool, gate and git.

The same commands in the same order as `resources.execution.attempt` gives them, with landings in
turn, and nothing else: no state, no policy, no Dagster. What patchline takes beyond this is its
own.
"""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from resources.git.commit_objects import write_commit

QUIET = (
    *("-c", f"core.hooksPath={os.devnull}", "-c", "core.fsmonitor=false", "-c", "gc.auto=0"),
    *("-c", "core.protectHFS=true", "-c", "core.protectNTFS=true"),
)
DURABLE = ("-c", "core.fsync=all")
BATCHED = ("-c", "core.fsync=loose-object", "-c", "core.fsyncMethod=batch")
BRANCH = "refs/heads/main"
DATE = "2026-01-01T00:00:00Z"


class Sandbox:
    """A working tree with an index of its own."""

    def __init__(self, repo: Path, path: Path) -> None:
        path.mkdir(parents=True)
        self.path, self.index = path, path.with_name(f"{path.name}.index")
        self.objects = repo / ".git" / "objects"
        who = {f"GIT_{a}_{b}": "bench" for a in ("AUTHOR", "COMMITTER") for b in ("NAME", "EMAIL")}
        self.env = dict(os.environ) | who | {"GIT_DIR": str(repo / ".git")}
        self.files = self.env | {"GIT_INDEX_FILE": str(self.index), "GIT_WORK_TREE": str(path)}

    def git(self, *args: str, files: bool = False) -> str:
        """Run git on the repository, or on the sandbox's files."""
        done = subprocess.run(
            ["git", *QUIET, *args],
            cwd=self.path,
            env=self.files if files else self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def reset(self, tree: str) -> None:
        """Make the files those of a tree."""
        if self.index.exists():
            self.git("clean", "-ffdxq", files=True)
        self.git("read-tree", "--reset", "-u", tree, files=True)

    def run(self, argv: Sequence[str]) -> None:
        """Run a tool or a gate."""
        subprocess.run(argv, cwd=self.path, env=self.env, check=True, capture_output=True)

    def attempt(self, number: int, branch: "Branch") -> None:
        """One task: change a file, make a patch of it, land it."""
        base = branch.head
        self.reset(base)
        self.git("ls-tree", "-r", "-z", "--name-only", "--full-tree", base)
        self.run(["sh", "-c", 'echo line >> "$1"', "sh", f"task_{number}.txt"])
        self.git("ls-files", "-m", "-o", "-z", files=True)
        tree = self.write_tree()
        for view in (("--raw", "--numstat", "-z", "-M"), ("-p", "--binary", "-M")):
            self.git("diff-tree", "-r", *view, base, tree)
        carrier = write_commit(self.objects, tree, [base], b"patch\n", DATE)
        self.reset(tree)
        with branch.turn:
            self.land(number, branch, base, tree, carrier)

    def write_tree(self) -> str:
        """The tree of the files as they are, by an index that is thrown away."""
        scratch = self.index.with_suffix(".scratch")
        shutil.copy2(self.index, scratch)
        kept, self.files["GIT_INDEX_FILE"] = self.index, str(scratch)
        self.git(*BATCHED, "add", "--all", "--", ".", files=True)
        tree = self.git(*BATCHED, "write-tree", files=True)
        self.files["GIT_INDEX_FILE"] = str(kept)
        return tree

    def land(self, number: int, branch: "Branch", base: str, tree: str, carrier: str) -> None:
        """Merge, judge, commit, move the branch."""
        head = branch.head
        if head != base:
            tree = self.git("merge-tree", "--write-tree", head, carrier)
            self.git("diff-tree", "-r", "--name-only", "-z", head, tree)
            self.git("read-tree", "--reset", "-u", tree, files=True)
        self.run(["true"])
        branch.head = write_commit(self.objects, tree, [head], f"task {number}\n".encode(), DATE)
        self.git(*DURABLE, "update-ref", BRANCH, branch.head, head)


class Branch:
    """The branch that is landed on, one lander at a time."""

    def __init__(self, head: str) -> None:
        self.head, self.turn = head, threading.Lock()


def by_hand(tasks: int, repo: Path, width: int) -> float:
    """Wall seconds to land `tasks` patches on `repo`'s main branch with `width` threads.

    Raises:
        RuntimeError: not every patch is a commit now.
    """
    sandboxes: SimpleQueue[Sandbox] = SimpleQueue()
    found = ["git", "-C", str(repo), "rev-parse", BRANCH]
    branch = Branch(
        subprocess.run(found, check=True, capture_output=True, text=True).stdout.strip()
    )

    def work(number: int) -> None:
        sandbox = sandboxes.get()
        sandbox.attempt(number, branch)
        sandboxes.put(sandbox)

    started = time.perf_counter()
    for number in range(width):
        sandboxes.put(Sandbox(repo, repo.parent / "sandboxes" / str(number)))
    with ThreadPoolExecutor(width) as pool:
        list(pool.map(work, range(tasks)))
    seconds = time.perf_counter() - started
    count = ["git", "-C", str(repo), "rev-list", "--count", "main"]
    commits = int(subprocess.run(count, check=True, capture_output=True, text=True).stdout)
    if commits != tasks + 1:
        raise RuntimeError(f"{commits} commits on main, expected {tasks + 1}")
    return seconds
