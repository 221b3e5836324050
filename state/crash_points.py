"""Named places between two durable effects, where a test can have the process killed.

What must hold after a crash is only as good as the list of places where one was tried. A point is
its call: `crash_point("branch-moved", "the commit is on its branch; the ledger says verified")`.
The crash wing of the tests finds every call in the source, kills a process at each, and writes
docs/CRASH_MATRIX.md. Unless a test arms it, a point does nothing.
"""

import os
import signal
import threading

ARMED_BY = "PATCHLINE_CRASH_POINT"
"""The environment variable that arms a process: `name`, `name:3` (its third time), or `*:137` (the
137th time at any point)."""
ANY = "*"


class _Armed:
    """A point at which this process dies, and how often it still passes it."""

    def __init__(self, spelled: str) -> None:
        name, _, number = spelled.partition(":")
        self.name, self.left = name, int(number or 1)
        self._guard = threading.Lock()

    def pass_by(self, name: str) -> None:
        if self.name not in (name, ANY):
            return
        with self._guard:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


_armed: _Armed | None = _Armed(os.environ[ARMED_BY]) if os.environ.get(ARMED_BY) else None
_passed: list[str] | None = None


def crash_point(name: str, between: str) -> None:
    """Die here, as if the machine had lost its power, if this process was armed to.

    Args:
        name: unique in the product, in `words-with-hyphens`.
        between: what is on disk by now, and what is not: a sentence for docs/CRASH_MATRIX.md.
    """
    if _passed is not None:
        _passed.append(name)
    if _armed is not None:
        _armed.pass_by(name)


def arm(spelled: str | None) -> None:
    """Arm this process, as `PATCHLINE_CRASH_POINT` does, or disarm it (None)."""
    global _armed
    _armed = _Armed(spelled) if spelled else None


def record(passed: list[str] | None) -> None:
    """Note the name of every point that this process passes in a list, or no longer (None)."""
    global _passed
    _passed = passed
