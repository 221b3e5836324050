"""Processes of their own that need not import anything: forks of one that has it all loaded.

Importing Dagster takes longer than most of what a test has a process do. A fork is a process like
any other: it has its environment, its folder and its files, and may be killed. Tests of what
happens before the first line of ours start the installed command.
"""

import multiprocessing
import multiprocessing.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

FORKS = multiprocessing.get_context("forkserver")
"""Makes processes that talk to the test through `FORKS.Pipe()`, and whose streams are its own."""
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
