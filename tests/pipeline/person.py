"""A person at work on the target while a run lands there: a clone, and git as everybody uses it."""

import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager

from tests.pipeline.lab import Lab, git, write


class Person:
    """Commits to `main` in a clone, and pushes.

    Attributes:
        pushed: their commits that git has taken.
        waited_for: a file that is there once they have pushed on top of what has landed.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab, self._clone = lab, lab.folder / "clone"
        self._seen = lab.head()
        self.pushed: list[str] = []
        self.waited_for = lab.folder / "a-person-has-pushed"
        git(lab.folder, "clone", "-q", str(lab.repo), str(self._clone))

    def pushing_all_the_time(self) -> AbstractContextManager[None]:
        """Push twice a second during a block."""
        return self._at_work(0.5, lambda: True)

    def pushing_after_others(self) -> AbstractContextManager[None]:
        """Push during a block, each time that somebody else has landed.

        Never twice in a row, so nobody who lands there loses to them again and again.
        """
        return self._at_work(0.02, lambda: self._lab.head() != self._seen)

    @contextmanager
    def _at_work(self, pause: float, ready: Callable[[], bool]) -> Iterator[None]:
        """Push during a block; what goes wrong with it is raised at its end."""
        done = threading.Event()
        with ThreadPoolExecutor(1) as thread:
            work = thread.submit(self._work, done, pause, ready)
            try:
                yield
            finally:
                done.set()
            work.result()

    def _work(self, done: threading.Event, pause: float, ready: Callable[[], bool]) -> None:
        try:
            while not done.wait(pause):
                if ready():
                    self._push()
                    self.waited_for.touch()
        finally:
            self.waited_for.touch()  # or those who wait would do so for ever

    def _push(self) -> None:
        number = len(self.pushed)
        write(self._clone, {f"person-{number}.txt": f"{number}\n"})
        git(self._clone, "add", "-A")
        git(self._clone, "commit", "-q", "-m", f"a person's {number}")
        git(self._clone, "pull", "-q", "--rebase", "origin", "main")
        while not self._is_taken():
            git(self._clone, "pull", "-q", "--rebase", "origin", "main")
        self._seen = git(self._clone, "rev-parse", "HEAD")
        self.pushed.append(self._seen)

    def _is_taken(self) -> bool:
        """Whether git takes the commit; not when somebody has landed since it was looked at."""
        push = ["git", "push", "--porcelain", "origin", "HEAD:main"]
        done = subprocess.run(push, cwd=self._clone, capture_output=True, text=True)
        refused = any(line.startswith("!\t") for line in done.stdout.splitlines())
        assert refused or done.returncode == 0, done.stderr
        return not refused
