"""Writers of events that die at their n-th call of the system, one after another."""

import os
import signal
from multiprocessing.connection import Connection
from typing import Any

from state import event_lock, event_writer
from state.store import StateStore

WATCHED = frozenset({"write", "pwrite", "rename", "open", "fsync", "ftruncate", "replace"})


class Dying:
    """The `os` module; at the n-th watched call the process is killed, in the middle of a write."""

    def __init__(self, calls: int) -> None:
        self._left = calls

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        return self._watched(name, real) if name in WATCHED else real

    def _watched(self, name: str, real: Any) -> Any:
        def call(*args: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                if name in ("write", "pwrite"):
                    real(args[0], args[1][: len(args[1]) // 2], *args[2:])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args)

        return call


def write(url: str, path: str, calls: int) -> None:
    """Open the store, write some events, close; dies on the way."""
    event_writer.os = event_lock.os = Dying(calls)  # type: ignore[attr-defined]
    with StateStore.open(url, events=path) as store:
        for _ in range(7):
            with store.batch() as tx:
                worker = tx.create("worker").worker_id
                tx.transition("worker", worker, "idle")
            store.transition("worker", worker, "shutdown")


def die_at_every_call(url: str, path: str, calls: int, step: int, test: Connection) -> None:
    """One writer after another, each a process: the first dies at call 1, the next `step` later.

    Says how many died and how many came to their end.
    """
    died = ended = 0
    for number in range(1, calls + 1, step):
        child = os.fork()
        if child == 0:
            write(url, path, number)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        died += status == signal.SIGKILL
        ended += status == 0
    test.send((died, ended))
