"""Running one git command: its environment, its answer, and waiting for somebody else's lock."""

import contextlib
import os
import re
import resource
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from state.errors import PatchlineError

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
HELD_LOCK = re.compile(r"Unable to create '.*\.lock': File exists", re.DOTALL)
"""What git says when another git command is at work: an index, a ref, the packed refs."""
LONGEST_PAUSE = 0.5


class GitError(PatchlineError):
    """A git command ended in a way that its caller did not expect."""

    code = "git_failed"

    def __init__(self, argv: Sequence[str], exit_code: int, stderr: str) -> None:
        self.argv, self.exit_code, self.stderr = tuple(argv), exit_code, stderr.strip()
        super().__init__(
            f"git {_command(argv)} failed with exit code {exit_code}: {self.stderr[-2000:]}"
        )


class GitOverrunError(GitError):
    """A git command took more time or memory than it was given, and was ended."""

    code = "git_overrun"


@dataclass(frozen=True)
class Bounds:
    """What a git command may use of the machine while it reads what nobody trusts.

    Attributes:
        seconds: how long it may run.
        memory: bytes of memory of its own (mapped files do not count); held on Linux.
        file_size: bytes that one file which it writes may have; held on Linux.
    """

    seconds: float
    memory: int
    file_size: int


UNTRUSTED = Bounds(seconds=30.0, memory=1 << 30, file_size=1 << 30)
"""For what tools and patch files have brought."""


@cache
def caller_environment() -> dict[str, str]:
    """The caller's environment without anything that speaks to git, and without configuration."""
    return {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | dict(ZERO_CONFIG)


def run_git(
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: Path,
    stdin: bytes = b"",
    expect: Sequence[int] = (0,),
    patience: float = 0.0,
    bounds: Bounds | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a git command to its end.

    Args:
        argv: the command, beginning with `git`.
        env: its whole environment.
        cwd: where it runs.
        stdin: what it reads.
        expect: exit codes that are answers.
        patience: seconds to try again while another process holds a lock of git's; a command that
            did not get its lock has changed nothing.
        bounds: what it may use of the machine; None is no limit.

    Raises:
        GitError: any other exit code.
        GitOverrunError: it went beyond its bounds.
    """
    deadline, pause = time.monotonic() + patience, 0.02
    while True:
        if bounds is None:
            done = subprocess.run(
                argv, env=env, cwd=cwd, input=stdin, capture_output=True, start_new_session=True
            )
        else:
            done = _run_within(bounds, argv, env, cwd, stdin)
        if done.returncode in expect:
            return done
        stderr = done.stderr.decode("utf-8", "replace")
        if not HELD_LOCK.search(stderr) or time.monotonic() + pause > deadline:
            raise GitError(argv, done.returncode, stderr)
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def _run_within(
    bounds: Bounds, argv: Sequence[str], env: Mapping[str, str], cwd: Path, stdin: bytes
) -> subprocess.CompletedProcess[bytes]:
    process = subprocess.Popen(
        argv,
        env=env,
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    with process:
        try:
            _confine(process.pid, bounds)  # before it is given anything to read
            output, errors = process.communicate(stdin, bounds.seconds)
        except subprocess.TimeoutExpired as error:
            _end(process)
            text = f"it has not ended within {bounds.seconds:g} s"
            raise GitOverrunError(argv, process.wait(), text) from error
        except BaseException:
            _end(process)
            raise
    code = process.returncode
    if code == -signal.SIGXFSZ or b"fatal: Out of memory" in errors:
        raise GitOverrunError(argv, code, errors.decode("utf-8", "replace"))
    return subprocess.CompletedProcess(argv, code, output, errors)


def _confine(pid: int, bounds: Bounds) -> None:
    """Limit a child that waits for its input. Not everywhere: what is limited is bounded before.

    A function to run in the child before git is none for a process with threads.
    """
    if not hasattr(resource, "prlimit"):
        return
    with contextlib.suppress(ProcessLookupError):  # it has ended without reading
        resource.prlimit(pid, resource.RLIMIT_DATA, (bounds.memory, bounds.memory))
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (bounds.file_size, bounds.file_size))


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _command(argv: Sequence[str]) -> str:
    """The git command among its arguments: what follows the `-c name=value` pairs."""
    place = 1
    while argv[place : place + 1] == ["-c"]:
        place += 2
    return argv[place] if place < len(argv) else argv[0]
