"""Executing a run in the foreground: who holds it, what Ctrl-C means, what is shown meanwhile."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from pipeline_defs.cli.progress import shown_progress
from pipeline_defs.cli.run_lock import executing
from pipeline_defs.revisions import Revision
from state.home import Home
from state.machines import MACHINES
from state.store import StateStore

RUN_ENDED = MACHINES["run"].terminal
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequests:
    """Ctrl-C, SIGTERM and a closed terminal all ask for the same orderly stop.

    While Dagster executes it has its own handler for SIGINT and SIGTERM, which ends the run in
    good order. Around that a signal raises KeyboardInterrupt here, until `over` is set: from then
    on another Ctrl-C must not cut the closing summary short. The wakeup descriptor tells of every
    signal, whoever handles it.
    """

    def __init__(self) -> None:
        self.over = False
        self._requested = False
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(self._writing, False)

    def requested(self) -> bool:
        """Whether somebody has asked for a stop. Safe from any thread."""
        try:
            received = os.read(self._reading, 1024)
        except BlockingIOError:
            received = b""
        if any(number in STOP_SIGNALS for number in received):
            self._requested = True
        return self._requested

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals for the duration of a block. Only in the main thread."""
        before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
        wakeup = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        try:
            signal.signal(signal.SIGINT, self._stop)
            signal.signal(signal.SIGTERM, self._stop)
            if before[signal.SIGHUP] is not signal.SIG_IGN:  # nohup means: go on
                signal.signal(signal.SIGHUP, self._hang_up)
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self._reading)
            os.close(self._writing)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if not self.over:
            signal.default_int_handler(number, frame)

    def _hang_up(self, number: int, frame: FrameType | None) -> None:
        # To whoever handles SIGINT just now: us, or Dagster.
        signal.raise_signal(signal.SIGINT)


def execute(
    store: StateStore,
    home: Home,
    revision: Revision,
    run_id: str,
    *,
    max_concurrent: int | None,
    plain: bool,
) -> bool:
    """Execute a run until it ends or is stopped, showing its progress on stderr.

    Args:
        store: the open state.
        home: the home.
        revision: the plan revision that the run follows.
        run_id: the run.
        max_concurrent: how many tasks at the same time, instead of the plan's number.
        plain: show progress as lines even on a terminal.

    Returns:
        Whether it was stopped from outside before its end.

    Raises:
        PreflightError: another process executes it.
    """
    stops = StopRequests()
    with (
        executing(home, run_id),
        stops.listening(),
        shown_progress(store, run_id, stops.requested, plain=plain),
    ):
        try:
            _execute(home, revision, run_id, max_concurrent)
        except KeyboardInterrupt:
            stops.requested()
        finally:
            stops.over = True
            stopped = stops.requested()
    return stopped and store.get("run", run_id).state not in RUN_ENDED


def _execute(home: Home, revision: Revision, run_id: str, max_concurrent: int | None) -> None:
    from pipeline_defs.launch import execute_run

    execute_run(home, revision, run_id, max_concurrent)


def end_dagster_runs(home: Home, run_id: str) -> None:
    """Tell Dagster the truth about runs of a process that died: they were canceled.

    Only for a run that nobody executes. A killed process leaves its Dagster run STARTED for good.
    """
    import dagster as dg

    from pipeline_defs.dagster_home import dagster_instance
    from pipeline_defs.runs import RUN_TAG

    with dagster_instance(home) as instance:
        for run in instance.get_runs(dg.RunsFilter(tags={RUN_TAG: run_id})):
            if not run.is_finished:
                instance.report_run_canceled(run, "Its process is gone; the run was taken over.")


def failures(home: Home, dagster_run_id: str | None) -> list[str]:
    """What Dagster recorded as errors of a run that stopped before its end, innermost cause first."""
    import dagster as dg

    from pipeline_defs.dagster_home import dagster_instance

    if dagster_run_id is None:
        return []
    kinds = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    with dagster_instance(home) as instance:
        entries = instance.all_logs(dagster_run_id, of_type=kinds)
    found: dict[str, None] = {}
    for entry in entries:
        error: Any = getattr(entry.get_dagster_event().event_specific_data, "error", None)
        while error is not None and error.cause is not None:
            error = error.cause
        if error is not None:
            found[error.message.strip()] = None
    return list(found)
