"""One stop signal per Dagster run, shared by everything that works for the run in this process.

A step thread cannot be interrupted from outside, but its children can be killed. Whoever wants a
run to end (the `threaded` executor on Terminate or Ctrl-C, the command line) sets the run's signal;
whoever runs a subprocess for the run waits on the same signal and kills the child when it is set.
Design section 3, "Executor".
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_signals: dict[str, threading.Event] = {}
_lock = threading.Lock()


def stop_signal(dagster_run_id: str) -> threading.Event:
    """The stop signal of a run: the same event for every caller in this process.

    Args:
        dagster_run_id: Dagster's id of the run (`context.run_id` in an op).

    Returns:
        An event that is set once the run is to stop. In a process whose executor never sets it
        (a multiprocess or Celery step worker) it stays unset, and Dagster's own interrupt applies.
    """
    with _lock:
        return _signals.setdefault(dagster_run_id, threading.Event())


def clear(dagster_run_id: str) -> None:
    """Forget a run that has ended; those who hold its event keep it. Unknown ids are no error."""
    with _lock:
        _signals.pop(dagster_run_id, None)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Cleaning up that a second Ctrl-C or SIGTERM must not cut short. They are dropped meanwhile.

    Dagster raises interrupts inside the teardown of resources. In threads other than the main one
    nothing is done, and nothing needs to be: signals reach the main thread alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stops = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in stops}
    try:
        for number in stops:
            signal.signal(number, lambda *_: None)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
