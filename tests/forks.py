"""Processes of their own that need not import anything: forks of one that has it all loaded.

Importing Dagster takes longer than most of what a test has a process do. A fork is a process like
any other: it has its environment, its folder and its files, and may be killed. Tests of what
happens before the first line of ours start the installed command.
"""

import multiprocessing
import multiprocessing.util
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

FORKS = multiprocessing.get_context("forkserver")
PATIENCE_SEC = 90.0
"""How long a process may be silent."""
FORKS.set_forkserver_preload(["tests.loaded"])


def _kill_all() -> None:
    for process in multiprocessing.active_children():
        process.kill()


# Python waits at its end for those that a failed test has left.
multiprocessing.util.Finalize(None, _kill_all, exitpriority=0)


def fork(
    program: Callable[[], int | None],
    folder: Path,
    environment: Mapping[str, str],
    out: Path | None = None,
    err: Path | None = None,
) -> BaseProcess:
    """Start a process with an environment and streams of its own.

    Args:
        program: what it does, by its place in a module; it ends with the code that this gives.
        folder: its current folder.
        environment: its whole environment.
        out: the file that its output goes to, by default none.
        err: the same for its messages.
    """
    streams = [str(path or os.devnull) for path in (out, err)]
    process = FORKS.Process(target=_live, args=(program, folder, dict(environment), streams))
    process.start()
    return process


def _live(
    program: Callable[[], int | None],
    folder: Path,
    environment: dict[str, str],
    streams: Sequence[str],
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in enumerate(streams, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.exit(program())


class Companion:
    """A process that a test talks to. It has the test's environment, folder and streams.

    Args:
        program: what it does, by its place in a module. Its last argument is its end of a pipe.
        given: the arguments before that.
    """

    def __init__(self, program: Callable[..., None], *given: Any) -> None:
        self._pipe, theirs = FORKS.Pipe()
        arguments = (program, given, dict(os.environ), theirs)
        self._process = FORKS.Process(target=_accompany, args=arguments)
        self._process.start()
        theirs.close()

    def tell(self, word: Any) -> None:
        """Send it a word."""
        self._pipe.send(word)

    def hear(self) -> Any:
        """What it says next."""
        assert self._pipe.poll(PATIENCE_SEC), f"it was silent for {PATIENCE_SEC:g} s"
        return self._pipe.recv()

    def killed(self) -> list[Any]:
        """Kill it in whatever it is doing; all that it had said and nobody has heard."""
        self._process.kill()
        said: list[Any] = []
        # It ends in mid-word (OSError) or between words.
        with suppress(EOFError, OSError):
            while True:
                said.append(self._pipe.recv())
        assert self._end() == -signal.SIGKILL
        return said

    def ended(self) -> None:
        """Wait for its end, which must be a good one."""
        assert self._end() == 0

    def _end(self) -> int | None:
        self._process.join(PATIENCE_SEC)
        self._pipe.close()
        return self._process.exitcode


def _accompany(
    program: Callable[..., None],
    given: Sequence[Any],
    environment: dict[str, str],
    test: Connection,
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    program(*given, test)
