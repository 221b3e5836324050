"""Finds and kills what an ended command left running, also after setsid and a double fork.

On Linux this process becomes a child subreaper, so orphans of a command come back to it as
children. They are recognised by their session, by a marker in their environment, or, when they
shed both, by a tag in their resource limits, which survives setsid, fork, exec and an emptied
environment. Children that other code of this process starts carry none of these and are never
touched. Elsewhere than on Linux only the process group is killed. Design sections 4 and 6.
"""

import contextlib
import ctypes
import itertools
import os
import random
import resource
import signal
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import NamedTuple

MARKER = "PATCHLINE_PROCESS"

_LINUX = sys.platform == "linux"
_CHUNK = 65536
_SWEEP_SEC = 5.0
_SETTLE_SEC = 0.05
_RESCANS = 1
_NO_PID_WRAP_SEC = 0.5  # in less time no system hands out all its process ids


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


class Swept(NamedTuple):
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


class Leftovers:
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

    def sweep(self, run: _Run) -> Swept:
        """Kill and reap whatever ended command `run` left; give up after some seconds."""
        self.leave(run)
        if not _LINUX or (self._adopting and not _has_children()):
            return Swept()
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
                return Swept(len(killed), tuple(p.pid for p in seen.found if p.state != "Z"))
            for process in seen.found:
                _end(process)
            killed.update(p.pid for p in seen.found if p.state != "Z")
            if seen.found or seen.unclear:
                time.sleep(pause)
                pause = min(2 * pause, 0.02)
        return Swept(len(killed))

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


LEFTOVERS = Leftovers()
os.register_at_fork(after_in_child=LEFTOVERS.forget)
