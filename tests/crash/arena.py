"""A folder with a home and a repository in which commands are run, killed and asked again.

What a scenario begins with is made once and copied back before each crash: always to the same
folder, for the state holds absolute paths.
"""

import os
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from state.crash_points import arm, record
from state.home import Home
from tests.cli.shell import patchline
from tests.forks import fork
from tests.resources.gitbox import git

DEADLINE_SEC = 60.0


def program(words: Sequence[str], armed: str | None, passed: str | None) -> int:
    """One `patchline` command in a process of its own, armed, or noting the points it passes."""
    names: list[str] = []
    arm(armed)
    record(names if passed else None)
    try:
        return patchline(words)
    finally:
        if passed:
            Path(passed).write_text("\n".join(names), encoding="utf-8")


@dataclass(frozen=True)
class Ended:
    """How a command ended; a negative code is the signal that killed it."""

    code: int
    out: str
    err: str
    passed: tuple[str, ...] = ()


@dataclass
class Arena:
    """The folder, and the states of it that are kept.

    Args:
        folder: where everything is; it may be replaced at any time.
    """

    folder: Path
    environment: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def work(self) -> Path:
        """What is copied and restored."""
        return self.folder / "work"

    @property
    def repo(self) -> Path:
        return self.work / "repo"

    @property
    def home(self) -> Home:
        return Home.at(self.work / "home")

    @property
    def database(self) -> Path:
        return self.home.root / "pipeline.db"

    def begin(self, name: str, make: Callable[["Arena"], None]) -> None:
        """Bring the folder to a state that `make` makes the first time."""
        kept = self.folder / f"kept-{name}"
        shutil.rmtree(self.work, ignore_errors=True)
        if not kept.exists():
            self.work.mkdir(parents=True)
            make(self)
            shutil.copytree(self.work, kept, symlinks=True)
        else:
            shutil.copytree(kept, self.work, symlinks=True)

    def git(self, *words: str) -> str:
        """Git in the repository, as a person would use it."""
        return git(self.repo, *words)

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """What the database says, without the store, which would mend what it finds; [] if none."""
        if not self.database.exists():
            return []
        with closing(sqlite3.connect(self.database)) as connection:
            try:
                return connection.execute(query, values).fetchall()
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):
                    return []  # killed before the schema was kept
                raise

    def start(
        self, words: Sequence[str], armed: str | None = None, passed: Path | None = None
    ) -> BaseProcess:
        """Start a command and come back at once."""
        kept = ("PATH", "HOME", "LANG", "TMPDIR")
        env = {name: os.environ[name] for name in kept if name in os.environ}
        env |= {"PATCHLINE_HOME": str(self.home.root), **self.environment}
        noted = str(passed) if passed else None
        return fork(partial(program, tuple(words), armed, noted), self.work, env, *self._streams())

    def ended(self, process: BaseProcess, passed: Path | None = None) -> Ended:
        """Wait for the end of a command."""
        process.join(DEADLINE_SEC)
        out, err = (stream.read_text(encoding="utf-8") for stream in self._streams())
        if process.exitcode is None:
            process.kill()
            raise AssertionError(f"a command has not ended:\n{out}\n{err}")
        noted = passed.read_text(encoding="utf-8").split("\n") if passed else ()
        return Ended(process.exitcode, out, err, tuple(name for name in noted if name))

    def run(self, words: Sequence[str], armed: str | None = None, note: bool = False) -> Ended:
        """Run a command to its end, be it that it is killed."""
        passed = self.folder / "passed" if note else None
        return self.ended(self.start(words, armed, passed), passed)

    def _streams(self) -> tuple[Path, Path]:
        return self.folder / "out", self.folder / "err"
