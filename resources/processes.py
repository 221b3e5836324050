"""Runs one command to its end, and leaves nothing of it behind.

A tool may hang, flood its output, ignore SIGTERM or start a daemon. `run_process` bounds its time
and memory, and kills what it left running, also after setsid and a double fork (design, sections
4 and 6). It never uses a shell. Many threads may call it at once.

Leftovers need help from the system. On Linux this process becomes a child subreaper, so orphans
of a command come back to it as children. They are recognised by their session, by a marker in
their environment, or, when they shed both, by a tag in their resource limits, which survives
setsid, fork, exec and an emptied environment. Children that other code of this process starts
carry none of these and are never touched. Elsewhere than on Linux only the process group is killed.
"""

import contextlib
import ctypes
import errno
import fnmatch
import itertools
import os
import random
import resource
import selectors
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from state.errors import PatchlineError

MEBIBYTE = 1024 * 1024
MARKER = "PATCHLINE_PROCESS"
INHERITED = ("PATH", "HOME", "LANG", "LC_*", "TZ", "TMPDIR")

_LINUX = sys.platform == "linux"
_CHUNK = 65536
_MARGIN = 4096  # read beyond the cut, so that a secret lying on the cut is seen whole
_STOP_POLL_SEC = 0.04
_EXIT_POLL_SEC = 0.02  # only where the system has no pidfd
_UNKILLABLE_SEC = 10.0
_SWEEP_SEC = 5.0
_SETTLE_SEC = 0.05
_RESCANS = 1
_NO_PID_WRAP_SEC = 0.5  # in less time no system hands out all its process ids


class ProcessNotStarted(PatchlineError):
    """The command could not be started; `retryable` says whether a later try may be luckier."""

    code = "process_not_started"

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class CommandNotFound(ProcessNotStarted):
    """No such program on the command's PATH, or it is not executable."""

    code = "command_not_found"


class ProcessStuck(PatchlineError):
    """The process outlived SIGKILL (it hangs in the kernel, or belongs to another user)."""

    code = "process_stuck"


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


def run_process(
    argv: Sequence[str],
    *,
    cwd: str | Path,
    env: Mapping[str, str],
    timeout_sec: float | None,
    silence_sec: float | None = None,
    stop: threading.Event | None = None,
    output_cap: int = MEBIBYTE,
    redact: Callable[[str], str] | None = None,
    on_start: Callable[[int], None] | None = None,
    input: bytes | None = None,
    grace_sec: float = 5.0,
) -> ProcessResult:
    """Run `argv` in `cwd` with exactly `env` (plus the marker) and wait for its end.

    Args:
        argv: program and arguments; the program is looked up on `env`'s PATH.
        timeout_sec: seconds of wall time, None for no limit.
        silence_sec: seconds without any output, None for no limit.
        stop: when set, the process is ended within about 50 ms.
        output_cap: bytes of output kept, half of them from the head and half from the tail.
        redact: applied to the output before it is cut.
        on_start: called with the process id (which is also its group and session).
        input: bytes for stdin; None is /dev/null.
        grace_sec: seconds between SIGTERM and SIGKILL, both to the whole group.

    Raises:
        CommandNotFound: no such program.
        ProcessNotStarted: it could not be started for another reason.
        ProcessStuck: it did not end even after SIGKILL.
    """
    run = _LEFTOVERS.enter()
    began = time.monotonic()
    try:
        process = _start(argv, cwd, {**env, MARKER: run.marker}, with_input=input is not None)
    except BaseException:
        _LEFTOVERS.leave(run)
        raise
    run.started(process.pid)
    output = _Output(output_cap)
    watch = _Watch(process, output, began, timeout_sec, silence_sec, stop, grace_sec, input)
    try:
        if on_start is not None:
            on_start(process.pid)
        watch.until_exit()
        _signal_group(process.pid, signal.SIGKILL)  # not yet reaped: the id is still its own
        exit_code, usage = _reap(process)
        swept = _LEFTOVERS.sweep(run)
        watch.drain()
    except BaseException:
        # An interrupt or a bug of a callback: the command must not live on without a watcher.
        if process.returncode is None:
            _signal_group(process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=1)
        _LEFTOVERS.sweep(run)
        raise
    finally:
        watch.close()
    return ProcessResult(
        argv=tuple(argv),
        exit_code=exit_code,
        signal=-exit_code if exit_code < 0 else None,
        timed_out=watch.ended_for is _Ended.TIMED_OUT,
        silent=watch.ended_for is _Ended.SILENT,
        stopped=watch.ended_for is _Ended.STOPPED,
        seconds=time.monotonic() - began,
        output=output.text(redact),
        output_bytes=output.total,
        cpu_user_sec=usage.ru_utime,
        cpu_system_sec=usage.ru_stime,
        max_rss_bytes=usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        leftovers_killed=swept.killed,
        leftovers_alive=swept.alive,
    )


def allowed_environment(
    *,
    allow: Iterable[str] = (),
    extra: Mapping[str, str] | None = None,
    caller: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The environment for a tool or gate: little of the caller's, so that runs repeat.

    Of `caller` (None: this process's) only PATH, HOME, LANG, LC_*, TZ, TMPDIR and what `allow`
    names (a name or a pattern such as `AWS_*`). The folder of our own interpreter goes to the end
    of PATH, so that programs installed beside patchline are found last. `extra` wins over
    everything, PATH included. Design, section 6.
    """
    caller = os.environ if caller is None else caller
    patterns = (*INHERITED, *allow)
    env = {
        name: value
        for name, value in caller.items()
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    }
    folders = env.get("PATH", os.defpath).split(os.pathsep)
    beside = str(Path(sys.executable).parent)
    env["PATH"] = os.pathsep.join(folders if beside in folders else [*folders, beside])
    env.update(extra or {})
    return env


def find_command(name: str, env: Mapping[str, str], *, cwd: str | Path | None = None) -> str | None:
    """Where `run_process` would find program `name`, or None; for checks before a run.

    A name with a slash is looked up from `cwd`, as the system does.
    """
    if os.sep in name and cwd is not None:
        name = os.path.join(cwd, name)
    return shutil.which(name, path=env.get("PATH", os.defpath))


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


def _signal_group(pid: int, number: signal.Signals) -> None:
    # Gone already, or (macOS) only zombies left: both mean there is nobody to signal. A group
    # that truly may not be signalled shows as ProcessStuck.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


class _Output:
    """What a process printed, in bounded memory: the first bytes and the last ones."""

    def __init__(self, cap: int) -> None:
        self._half = max(cap, 2) // 2
        self._side = self._half + _MARGIN
        self._head = bytearray()
        self._tail = bytearray()
        self.total = 0

    def add(self, chunk: bytes) -> None:
        self.total += len(chunk)
        room = self._side - len(self._head)
        if room > 0:
            self._head += chunk[:room]
            chunk = chunk[room:]
        self._tail += chunk
        if len(self._tail) > 2 * self._side:  # cut seldom, so that a flood of bytes stays cheap
            del self._tail[: -self._side]

    def text(self, redact: Callable[[str], str] | None) -> str:
        """The output as text, redacted; redaction comes before the cut, or half a secret shows."""
        clean = redact or str
        if self.total <= 2 * self._side:  # nothing is lost yet
            text = clean(_decode(self._head + self._tail))
            if len(text) <= 2 * self._half:
                return text
            head, tail = text[: self._half], text[-self._half :]
        else:
            head = clean(_decode(self._head))[:-_MARGIN]
            tail = clean(_decode(self._tail[-self._side :]))[_MARGIN:]
        cut = self.total - 2 * self._half
        return f"{head}\n[patchline: {cut} bytes cut here]\n{tail}"


def _decode(raw: bytes | bytearray) -> str:
    # No NUL: databases refuse it in text.
    return raw.decode("utf-8", errors="replace").replace("\0", "\ufffd")


class _Ended(Enum):
    """Why we ended a process that did not end by itself."""

    TIMED_OUT = "timed_out"
    SILENT = "silent"
    STOPPED = "stopped"


class _Watch:
    """Reads a process's output and watches its limits until it has exited."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        output: _Output,
        began: float,
        timeout_sec: float | None,
        silence_sec: float | None,
        stop: threading.Event | None,
        grace_sec: float,
        input: bytes | None,
    ) -> None:
        assert process.stdout is not None
        self.ended_for: _Ended | None = None
        self._process = process
        self._output = output
        self._deadline = None if timeout_sec is None else began + timeout_sec
        self._silence_sec = silence_sec
        self._heard = began
        self._stop = stop
        self._grace_sec = grace_sec
        self._kill_at: float | None = None
        self._killed = False
        self._input = memoryview(input or b"")
        self._out = process.stdout.fileno()
        self._selector = selectors.DefaultSelector()
        self._pidfd = _open_pidfd(process.pid)
        self._open()

    def _open(self) -> None:
        os.set_blocking(self._out, False)
        self._selector.register(self._out, selectors.EVENT_READ, self._read)
        if self._pidfd is not None:
            self._selector.register(self._pidfd, selectors.EVENT_READ, None)
        if self._process.stdin is not None:
            os.set_blocking(self._process.stdin.fileno(), False)
            self._selector.register(self._process.stdin, selectors.EVENT_WRITE, self._write)

    def until_exit(self) -> None:
        """Return when the process has exited (it is still to be reaped)."""
        while True:
            now = time.monotonic()
            self._judge(now)
            exited = False
            for key, _ in self._selector.select(self._pause(now)):
                if key.data is None:
                    exited = True
                else:
                    key.data()
            if exited or (self._pidfd is None and _has_exited(self._process.pid)):
                return

    def drain(self) -> None:
        """Read what is still in the pipe; never wait for a process that keeps it open."""
        for _ in range(4 * MEBIBYTE // _CHUNK):
            if self._out not in self._selector.get_map() or not self._read():
                return

    def close(self) -> None:
        self._selector.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
        for pipe in (self._process.stdout, self._process.stdin):
            if pipe is not None:
                pipe.close()

    def _judge(self, now: float) -> None:
        if self.ended_for is None:
            self.ended_for = self._verdict(now)
            if self.ended_for is not None:
                _signal_group(self._process.pid, signal.SIGTERM)
                _signal_group(self._process.pid, signal.SIGCONT)  # a stopped one must hear it too
                self._kill_at = now + self._grace_sec
        elif self._kill_at is not None and now >= self._kill_at:
            if self._killed:
                raise ProcessStuck(
                    f"Process {self._process.pid} ({self._process.args!r}) did not end within "
                    f"{_UNKILLABLE_SEC:.0f} s of SIGKILL. It hangs in the system (a dead network "
                    "disk?) or belongs to another user; end it by hand."
                )
            _signal_group(self._process.pid, signal.SIGKILL)
            self._killed = True
            self._kill_at = now + _UNKILLABLE_SEC

    def _verdict(self, now: float) -> _Ended | None:
        if self._stop is not None and self._stop.is_set():
            return _Ended.STOPPED
        if self._deadline is not None and now >= self._deadline:
            return _Ended.TIMED_OUT
        if self._silence_sec is not None and now - self._heard >= self._silence_sec:
            return _Ended.SILENT
        return None

    def _pause(self, now: float) -> float | None:
        """Seconds until something must be looked at even if nothing happens."""
        times = [self._kill_at] if self.ended_for is not None else [self._deadline]
        if self.ended_for is None and self._silence_sec is not None:
            times.append(self._heard + self._silence_sec)
        if self.ended_for is None and self._stop is not None:
            times.append(now + _STOP_POLL_SEC)  # an Event cannot be selected on
        if self._pidfd is None:
            times.append(now + _EXIT_POLL_SEC)
        return max(0.0, min((at for at in times if at is not None), default=now + 3600) - now)

    def _read(self) -> bool:
        """Take one chunk; False when there is none."""
        try:
            chunk = os.read(self._out, _CHUNK)
        except BlockingIOError:
            return False
        if not chunk:
            self._selector.unregister(self._out)
            return False
        self._heard = time.monotonic()
        self._output.add(chunk)
        return True

    def _write(self) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        try:
            self._input = self._input[os.write(stdin.fileno(), self._input[:_CHUNK]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it need not read what it is given
            self._input = self._input[:0]
        if not self._input:
            self._selector.unregister(stdin)
            stdin.close()


def _open_pidfd(pid: int) -> int | None:
    """A descriptor that becomes readable when the process exits; None where there is none."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EPERM, errno.EINVAL):  # old kernel or a sandbox
            return None
        raise


def _has_exited(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


class _Process(NamedTuple):
    """One line of the process table; `start` is in clock ticks since boot."""

    pid: int
    state: str
    ppid: int
    sid: int
    start: int

    @property
    def key(self) -> tuple[int, int]:
        """Unique also when a process id is used again."""
        return self.pid, self.start


class _Seen(NamedTuple):
    """One look at the process table, and what makes an empty one inconclusive.

    A process that vanished while we looked may have forked unseen; one without a visible
    environment may show it in a moment.
    """

    found: list[_Process]
    vanished: bool
    unclear: bool


class _Swept(NamedTuple):
    killed: int = 0
    alive: tuple[int, ...] = ()


@dataclass(eq=False, slots=True)
class _Run:
    """A command in progress, as the search for leftovers sees it."""

    marker: str
    tag: int
    at: float = field(default_factory=time.monotonic)
    pid: int = 0

    def started(self, pid: int) -> None:
        """Note the process, and tag it with a limit that means nothing: 70,000 years of real time.

        The tag comes a moment after the start. What is forked before it is known by its session
        or marker, unless it sheds both within that moment.
        """
        self.pid = pid
        if _LINUX:
            # Refused for a program of another user, or where an administrator set this limit.
            with contextlib.suppress(OSError, ValueError):
                _, hard = resource.getrlimit(resource.RLIMIT_RTTIME)
                resource.prlimit(pid, resource.RLIMIT_RTTIME, (self.tag, hard))

    def owns(self, process: _Process) -> bool | None:
        """None: it shows no environment, as every process does for a moment during exec."""
        if process.sid == self.pid:
            return True
        if b" %d " % self.tag in _read_if_there(f"/proc/{process.pid}/limits"):
            return True
        if process.state == "Z":
            return False
        environ = _read_if_there(f"/proc/{process.pid}/environ")
        return self.marker.encode() in environ if environ else None


class _Leftovers:
    """Finds and kills what an ended command left behind, while other commands go on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._live: set[_Run] = set()
        self._adopting = False

    def enter(self) -> _Run:
        """Register a command that is about to start."""
        # An outer patchline's marker stays in front: its search must find our commands too.
        outer = os.environ.get(MARKER)
        marker = uuid.uuid4().hex
        tag = 2**61 + random.SystemRandom().getrandbits(60)
        run = _Run(f"{outer}/{marker}" if outer else marker, tag)
        with self._lock:
            if _LINUX and not self._adopting:
                self._adopting = _become_subreaper()
            self._live.add(run)
        return run

    def leave(self, run: _Run) -> None:
        with self._lock:
            self._live.discard(run)

    def sweep(self, run: _Run) -> _Swept:
        """Kill and reap whatever ended command `run` left; give up after some seconds."""
        self.leave(run)
        if not _LINUX or (self._adopting and not _has_children()):
            return _Swept()
        mine: set[tuple[int, int]] = set()
        killed: set[int] = set()
        began = time.monotonic()
        pause = 0.0005
        for scans in itertools.count(1):
            seen = self._find(run, mine)
            past = time.monotonic() - began
            if not seen.found:
                again = (seen.vanished and scans <= _RESCANS) or seen.unclear
                if not again or past > _SETTLE_SEC:
                    break
            elif past > _SWEEP_SEC:
                return _Swept(len(killed), tuple(p.pid for p in seen.found if p.state != "Z"))
            for process in seen.found:
                _end(process)
            killed.update(p.pid for p in seen.found if p.state != "Z")
            if seen.found or seen.unclear:
                time.sleep(pause)
                pause = min(2 * pause, 0.02)
        return _Swept(len(killed))

    def _find(self, run: _Run, mine: set[tuple[int, int]]) -> _Seen:
        """The live leftovers of `run`, and the dead ones that only we can reap; adds to `mine`."""
        me = os.getpid()
        with self._lock:
            others = {other.pid for other in self._live}
        table, vanished = _candidates(run, others)
        unclear = False
        for process in table:
            if process.key not in mine:
                owned = run.owns(process)
                if owned:
                    mine.add(process.key)
                unclear |= owned is None and process.ppid == me
        grown = -1
        while grown != len(mine):
            grown = len(mine)
            parents = {pid for pid, _ in mine}
            mine.update(p.key for p in table if p.ppid in parents)
        found = [p for p in table if p.key in mine and (p.state != "Z" or p.ppid == me)]
        return _Seen(found, vanished, unclear)

    def forget(self) -> None:
        """In a forked child: other commands, and the adoption of orphans, are the parent's."""
        self.__init__()


def _candidates(run: _Run, others: set[int]) -> tuple[list[_Process], bool]:
    """Processes in sessions that are neither ours nor another live command's; did any vanish?

    Cheap after a short command: ids are handed out in a circle, so what came later lies between
    the command's and the newest.
    """
    known = {os.getsid(0), *others}
    pids = {int(name) for name in os.listdir("/proc") if name.isdigit()} - others
    newest = _newest_pid()  # after the listing, so that all of it is older
    if time.monotonic() - run.at < _NO_PID_WRAP_SEC and newest >= run.pid:
        pids = {pid for pid in pids if run.pid <= pid <= newest}
    stats = [_stat(pid) for pid in pids]
    return [p for p in stats if p is not None and p.sid not in known], None in stats


def _become_subreaper() -> bool:
    """Let orphans of our commands become our children; False where the system refuses."""
    pr_set_child_subreaper = 36
    return ctypes.CDLL(None, use_errno=True).prctl(pr_set_child_subreaper, 1, 0, 0, 0) == 0


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)  # looks, takes nothing
    except ChildProcessError:
        return False
    return True


def _end(process: _Process) -> None:
    """SIGKILL it, or reap it when it is dead and ours. Never waits for any other child."""
    if process.state == "Z":
        with contextlib.suppress(ChildProcessError):  # reaped by its own owner meanwhile
            os.waitpid(process.pid, os.WNOHANG)
        return
    # Gone meanwhile, or of another user: the latter is reported when the sweep gives up.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(process.pid, signal.SIGKILL)


def _stat(pid: int) -> _Process | None:
    try:
        text = _read_all(f"/proc/{pid}/stat")
    except (FileNotFoundError, ProcessLookupError):
        return None
    rest = text[text.rindex(b")") + 2 :].split()  # the name before it may hold anything
    return _Process(pid, rest[0].decode(), int(rest[1]), int(rest[3]), int(rest[19]))


def _read_if_there(path: str) -> bytes:
    try:
        return _read_all(path)
    except OSError:  # gone, dead, or not ours to read: other signs must tell
        return b""


def _newest_pid() -> int:
    return int(_read_all("/proc/loadavg").split()[-1])


def _read_all(path: str) -> bytes:
    # Plain system calls: this is read for many processes after every command.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = chunk = os.read(fd, _CHUNK)
        while len(chunk) == _CHUNK:
            chunk = os.read(fd, _CHUNK)
            text += chunk
        return text
    finally:
        os.close(fd)


_LEFTOVERS = _Leftovers()
os.register_at_fork(after_in_child=_LEFTOVERS.forget)
