"""The running step threads of a run and the queue on which they report.

Knows nothing of Dagster's private parts: `executor_run.py` hands it the events to pass on.
Source: design section 3, "Executor".
"""

import contextvars
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

import dagster as dg

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StepEnded:
    """A step thread's last message; `error` is what escaped it."""

    step_key: str
    error: BaseException | None


class StepThreads:
    """The running step threads and the queue on which they report."""

    def __init__(self) -> None:
        self._messages: SimpleQueue[dg.DagsterEvent | StepEnded] = SimpleQueue()
        self._running: set[str] = set()
        self._abandoned = threading.Event()

    @property
    def running(self) -> Sequence[str]:
        """Keys of the steps whose last message was not received yet."""
        return sorted(self._running)

    def start(self, key: str, events: Callable[[], Iterator[dg.DagsterEvent]]) -> None:
        """Run a step in a thread of its own. Daemon: a step that ignores the stop signal must
        not keep the process from exiting."""
        run = contextvars.copy_context().run
        args = (self._work, key, events)
        threading.Thread(target=run, args=args, name=f"step {key}", daemon=True).start()
        self._running.add(key)

    def receive(self, timeout: float) -> dg.DagsterEvent | StepEnded | None:
        """The next message, or None after `timeout` seconds of silence."""
        try:
            message = self._messages.get(timeout=timeout)
        except Empty:
            return None
        if isinstance(message, StepEnded):
            self._running.remove(message.step_key)
        return message

    def drain(self, timeout: float) -> Sequence[str]:
        """Wait up to `timeout` seconds for all threads, and give up on the rest.

        Returns:
            The steps that are still running. What a step raises from here on, and what nobody
            has received yet, goes to the Python log.
        """
        deadline = time.monotonic() + timeout
        while self._running and (left := deadline - time.monotonic()) > 0:
            log_error(self.receive(left))
        self._abandoned.set()
        while (message := self.receive(0)) is not None:
            log_error(message)
        return self.running

    def _work(self, key: str, events: Callable[[], Iterator[dg.DagsterEvent]]) -> None:
        error: BaseException | None = None
        try:
            for event in events():
                self._messages.put(event)
        except BaseException as escaped:
            error = escaped
        ended = StepEnded(key, error)
        # In this order: an end that comes too late for drain() to receive sees `_abandoned`.
        self._messages.put(ended)
        if self._abandoned.is_set():
            log_error(ended)


def log_error(message: dg.DagsterEvent | StepEnded | None) -> None:
    """Put what a step raised into the Python log, when there is no run left to report it to."""
    if isinstance(message, StepEnded) and message.error is not None:
        _log.error("step %s raised as its run ended", message.step_key, exc_info=message.error)
