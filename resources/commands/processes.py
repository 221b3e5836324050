"""Runs one command to its end, and leaves nothing of it behind.

A tool may hang, flood its output, ignore SIGTERM or start a daemon. `run_process` bounds its time
and memory (`commands.watching`), and kills what it left running (`commands.leftovers`). It never
uses a shell. Many threads may call it at once. Design sections 4 and 6.
"""

import contextlib
import errno
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from resources.commands.environment import find_command
from resources.commands.leftovers import LEFTOVERS, MARKER
from resources.commands.watching import MEBIBYTE, Ended, Output, Watch, signal_group
from state.errors import PatchlineError


class ProcessNotStarted(PatchlineError):
    """The command could not be started; `retryable` says whether a later try may be luckier."""

    code = "process_not_started"

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class CommandNotFound(ProcessNotStarted):
    """No such program on the command's PATH, or it is not executable."""

    code = "command_not_found"


@dataclass(frozen=True, slots=True)
class ProcessResult:
    """The facts of one ended process; judging them is the caller's business.

    At most one of `timed_out`, `silent`, `stopped` is true: why we ended it. `exit_code` is
    negative when a signal ended it. `output` is stdout and stderr merged, redacted, head and
    tail only when there was more than the cap; `output_bytes` is how much there was.
    `max_rss_bytes` covers its waited-for children, and (on Linux, up to the moment of its exec)
    us: it is never less than our own. `leftovers_alive` are ids of background processes that could
    not be killed.
    """

    argv: tuple[str, ...]
    exit_code: int
    signal: int | None
    timed_out: bool
    silent: bool
    stopped: bool
    seconds: float
    output: str
    output_bytes: int
    cpu_user_sec: float
    cpu_system_sec: float
    max_rss_bytes: int
    leftovers_killed: int
    leftovers_alive: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much output is kept, and how long a process has between SIGTERM and SIGKILL."""

    output_bytes: int = MEBIBYTE
    grace_sec: float = 5.0


DEFAULT_LIMITS = Limits()


def run_process(
    argv: Sequence[str],
    *,
    cwd: str | Path,
    env: Mapping[str, str],
    timeout_sec: float | None,
    silence_sec: float | None = None,
    stop: threading.Event | None = None,
    limits: Limits = DEFAULT_LIMITS,
    redact: Callable[[str], str] | None = None,
    on_start: Callable[[int], None] | None = None,
    input: bytes | None = None,
) -> ProcessResult:
    """Run `argv` in `cwd` with exactly `env` (plus the marker) and wait for its end.

    Args:
        argv: program and arguments; the program is looked up on `env`'s PATH.
        timeout_sec: seconds of wall time, None for no limit.
        silence_sec: seconds without any output, None for no limit.
        stop: when set, the process is ended within about 50 ms.
        limits: how much output is kept, half of it from the head and half from the tail, and
            the seconds between SIGTERM and SIGKILL, both to the whole group.
        redact: applied to the output before it is cut.
        on_start: called with the process id (which is also its group and session).
        input: bytes for stdin; None is /dev/null.

    Raises:
        CommandNotFound: no such program.
        ProcessNotStarted: it could not be started for another reason.
        ProcessStuck: it did not end even after SIGKILL.
    """
    run = LEFTOVERS.enter()
    began = time.monotonic()
    try:
        process = _start(argv, cwd, {**env, MARKER: run.marker}, with_input=input is not None)
    except BaseException:
        LEFTOVERS.leave(run)
        raise
    run.started(process.pid)
    output = Output(limits.output_bytes)
    watch = Watch(process, output, began, timeout_sec, silence_sec, stop, limits.grace_sec, input)
    try:
        if on_start is not None:
            on_start(process.pid)
        watch.until_exit()
        signal_group(process.pid, signal.SIGKILL)  # not yet reaped: the id is still its own
        exit_code, usage = _reap(process)
        swept = LEFTOVERS.sweep(run)
        watch.drain()
    except BaseException:
        # An interrupt or a bug of a callback: the command must not live on without a watcher.
        if process.returncode is None:
            signal_group(process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=1)
        LEFTOVERS.sweep(run)
        raise
    finally:
        watch.close()
    return ProcessResult(
        argv=tuple(argv),
        exit_code=exit_code,
        signal=-exit_code if exit_code < 0 else None,
        timed_out=watch.ended_for is Ended.TIMED_OUT,
        silent=watch.ended_for is Ended.SILENT,
        stopped=watch.ended_for is Ended.STOPPED,
        seconds=time.monotonic() - began,
        output=output.text(redact),
        output_bytes=output.total,
        cpu_user_sec=usage.ru_utime,
        cpu_system_sec=usage.ru_stime,
        max_rss_bytes=usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        leftovers_killed=swept.killed,
        leftovers_alive=swept.alive,
    )


def _start(
    argv: Sequence[str], cwd: str | Path, env: Mapping[str, str], *, with_input: bool
) -> subprocess.Popen[bytes]:
    if not argv or not argv[0]:
        raise CommandNotFound("The command is empty: give it at least a program to run.")
    try:
        return subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=env,
            stdin=subprocess.PIPE if with_input else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
        )
    except ValueError as error:  # a NUL byte, or a variable name with "="
        raise ProcessNotStarted(f"Cannot start {argv[0]!r}: {error}.") from error
    except OSError as error:
        raise _not_started(argv, cwd, env, error) from error


def _not_started(
    argv: Sequence[str], cwd: str | Path, env: Mapping[str, str], error: OSError
) -> ProcessNotStarted:
    """The same failure in words for people, with what to do about it."""
    program = argv[0]
    if not os.path.isdir(cwd):
        return ProcessNotStarted(
            f"Cannot start {program!r}: its working folder {str(cwd)!r} is not there.",
            retryable=True,
        )
    if error.errno == errno.E2BIG:
        return ProcessNotStarted(
            f"Cannot start {program!r}: its arguments and environment are too long for the system "
            f"({len(argv)} arguments). Narrow the scope, or let the tool find the files itself."
        )
    if error.errno == errno.ENOEXEC:
        return CommandNotFound(
            f"Cannot start {program!r}: the system does not know how to run it. "
            "Is its first line (#!...) missing, or is it built for another machine?"
        )
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ELOOP):
        found = find_command(program, env, cwd=cwd)
        if found is not None:
            return CommandNotFound(
                f"Cannot start {program!r}: {found} is there, but the interpreter that its first "
                "line names is not, or may not be run."
            )
        where = "" if os.sep in program else f" on PATH ({env.get('PATH', os.defpath)})"
        return CommandNotFound(
            f"Cannot start {program!r}: no such executable{where}. "
            "Install it, or correct the command in the plan."
        )
    return ProcessNotStarted(f"Cannot start {program!r}: {error.strerror}.", retryable=True)


def _reap(process: subprocess.Popen[bytes]) -> tuple[int, resource.struct_rusage]:
    """Collect the exit code with the resource use, which Popen.wait would throw away."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage
