"""Watching one running process: its output in bounded memory, its limits, its exit."""

import contextlib
import errno
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from enum import Enum

from state.errors import PatchlineError

MEBIBYTE = 1024 * 1024

_CHUNK = 65536
_MARGIN = 4096  # read beyond the cut, so that a secret lying on the cut is seen whole
_STOP_POLL_SEC = 0.04
_EXIT_POLL_SEC = 0.02  # only where the system has no pidfd
_UNKILLABLE_SEC = 10.0


class ProcessStuck(PatchlineError):
    """The process outlived SIGKILL (it hangs in the kernel, or belongs to another user)."""

    code = "process_stuck"


def signal_group(pid: int, number: signal.Signals) -> None:
    # Gone already, or (macOS) only zombies left: both mean there is nobody to signal. A group
    # that truly may not be signalled shows as ProcessStuck.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


class Output:
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


class Ended(Enum):
    """Why we ended a process that did not end by itself."""

    TIMED_OUT = "timed_out"
    SILENT = "silent"
    STOPPED = "stopped"


class Watch:
    """Reads a process's output and watches its limits until it has exited."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        output: Output,
        began: float,
        timeout_sec: float | None,
        silence_sec: float | None,
        stop: threading.Event | None,
        grace_sec: float,
        input: bytes | None,
    ) -> None:
        assert process.stdout is not None
        self.ended_for: Ended | None = None
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
                signal_group(self._process.pid, signal.SIGTERM)
                signal_group(self._process.pid, signal.SIGCONT)  # a stopped one must hear it too
                self._kill_at = now + self._grace_sec
        elif self._kill_at is not None and now >= self._kill_at:
            if self._killed:
                raise ProcessStuck(
                    f"Process {self._process.pid} ({self._process.args!r}) did not end within "
                    f"{_UNKILLABLE_SEC:.0f} s of SIGKILL. It hangs in the system (a dead network "
                    "disk?) or belongs to another user; end it by hand."
                )
            signal_group(self._process.pid, signal.SIGKILL)
            self._killed = True
            self._kill_at = now + _UNKILLABLE_SEC

    def _verdict(self, now: float) -> Ended | None:
        if self._stop is not None and self._stop.is_set():
            return Ended.STOPPED
        if self._deadline is not None and now >= self._deadline:
            return Ended.TIMED_OUT
        if self._silence_sec is not None and now - self._heard >= self._silence_sec:
            return Ended.SILENT
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
