"""Executing a run in the foreground: who holds it, what Ctrl-C means, what is shown meanwhile.

Dagster is imported when there is something to execute: a refusal must not wait for it.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click

from pipeline_defs.cli.output import own_command, print_json
from pipeline_defs.cli.progress import shown_progress
from pipeline_defs.cli.run_lock import executing
from pipeline_defs.cli.summary import print_summary
from pipeline_defs.revisions import Revision
from pipeline_defs.runs import RUN_TAG, Launch
from state.home import Home
from state.machines import MACHINES
from state.queries import run_summary
from state.store import StateStore

RUN_ENDED = MACHINES["run"].terminal
INTERRUPTED = 130
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequests:
    """Ctrl-C, SIGTERM and a closed terminal all ask for the same orderly stop.

    While Dagster executes it has its own handler for SIGINT and SIGTERM, which ends the run in
    good order. Before that a signal raises KeyboardInterrupt here, until `over` is set: from then
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
            return self._requested
        if any(number in STOP_SIGNALS for number in received):
            self._requested = True
        return self._requested

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals for the duration of a block, the last one of the program.

        Only in the main thread.
        """
        before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
        wakeup = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        try:
            signal.signal(signal.SIGINT, self._stop)
            signal.signal(signal.SIGTERM, self._stop)
            if before[signal.SIGHUP] is not signal.SIG_IGN:  # nohup means: go on
                signal.signal(signal.SIGHUP, self._hang_up)
            yield
        finally:
            requested = self.requested()
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                # Who was asked to stop goes on to its exit code, however often it is asked.
                signal.signal(number, signal.SIG_IGN if requested else handler)
            os.close(self._reading)
            os.close(self._writing)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if not self.over:
            signal.default_int_handler(number, frame)

    def _hang_up(self, number: int, frame: FrameType | None) -> None:
        # To whoever handles SIGINT just now: us, or Dagster.
        signal.raise_signal(signal.SIGINT)


def execute_and_report(
    store: StateStore,
    home: Home,
    revision: Revision,
    row: Any,
    *,
    as_json: bool,
    resumed: bool = False,
) -> int:
    """Execute a run until it ends or is stopped, then say how it stands.

    Args:
        store: the open state.
        home: the home.
        revision: the plan revision that the run follows.
        row: the run, pending or running.
        as_json: print its document on stdout instead of a summary for people.
        resumed: an earlier process may have left the run half-way.

    Returns:
        The exit code: 0 succeeded, 1 failed or canceled, 130 stopped from outside.

    Raises:
        PreflightError: another process executes it.
    """
    stops = StopRequests()
    with stops.listening():
        what = "starts" if row.state == "pending" else "goes on"
        click.echo(f"Run {row.run_id} of plan {row.plan} {what} on {row.repo}.", err=True)
        _execute(store, home, revision, row, stops, resumed=resumed, plain=as_json)
        return _report(store, home, row.run_id, stops, as_json=as_json)


def _execute(
    store: StateStore,
    home: Home,
    revision: Revision,
    row: Any,
    stops: StopRequests,
    *,
    resumed: bool,
    plain: bool,
) -> None:
    """Execute a run, showing its progress on stderr."""
    with (
        executing(home, row.run_id),
        shown_progress(store, row.run_id, stops.requested, plain=plain),
    ):
        try:
            with _output_to(home.root / "logs" / f"{row.run_id}.log"):
                if resumed and not _take_up(store, home, row.run_id):
                    return
                _execute_in_dagster(home, revision, row)
        except KeyboardInterrupt:
            pass  # told apart from an end of the run by its state, and by `stops`
        finally:
            stops.over = True


def _take_up(store: StateStore, home: Home, run_id: str) -> bool:
    """Whether there is still something to resume, now that nobody else can execute the run."""
    if store.get("run", run_id).state in RUN_ENDED:
        return False  # another process resumed it and ended it between our look and our lock
    _end_dagster_runs(home, run_id)
    return True


def _execute_in_dagster(home: Home, revision: Revision, row: Any) -> None:
    import dagster as dg

    from pipeline_defs.dagster_privates import deferring_interrupts
    from pipeline_defs.launch import execute_run

    # What the run began with, for somebody who runs it again from the UI.
    launch = Launch(revision, repo=row.repo, target=row.target, base=row.base_commit)
    try:
        with deferring_interrupts():
            execute_run(home, revision, row.run_id, row.max_concurrent, launch)
    except dg.DagsterExecutionInterruptedError as error:
        raise KeyboardInterrupt from error


@contextmanager
def _output_to(log: Path) -> Iterator[None]:
    """Send what this process and its helpers print to a file; it is kept when there is anything.

    Dagster copies what it captures to stdout and stderr, through children that a Ctrl-C in the
    terminal reaches too. Neither may end up in a JSON document or on the board.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    streams = (sys.stdout, sys.stderr)
    saved = [(stream, os.dup(stream.fileno())) for stream in streams]
    try:
        with log.open("ab") as file:
            for stream, _ in saved:
                stream.flush()
                os.dup2(file.fileno(), stream.fileno())
        yield
    finally:
        for stream, descriptor in saved:
            stream.flush()
            os.dup2(descriptor, stream.fileno())
            os.close(descriptor)
        if log.stat().st_size == 0:
            log.unlink()


def _report(store: StateStore, home: Home, run_id: str, stops: StopRequests, as_json: bool) -> int:
    """Say how a run stands whose execution here is over."""
    document = run_summary(store, run_id)
    if as_json:
        print_json(document)
    else:
        print_summary(store, home, document)
    if document["state"] in RUN_ENDED:
        return 0 if document["state"] == "succeeded" else 1
    stopped = stops.requested()
    if not stopped:
        for message in _failures(home, document["dagster_run_id"]):
            click.echo(f"Error: {message}", err=True)
    if as_json:
        again = own_command(home, "resume", run_id)
        click.echo(f"The run has stopped before its end. Go on with: {again}", err=True)
    return INTERRUPTED if stopped else 1


def _end_dagster_runs(home: Home, run_id: str) -> None:
    """Tell Dagster the truth about runs of a process that died: they were canceled.

    Only for a run that nobody else can execute. A killed process leaves its Dagster run STARTED
    for good.
    """
    import dagster as dg

    from pipeline_defs.dagster_home import dagster_instance

    with dagster_instance(home) as instance:
        for run in instance.get_runs(dg.RunsFilter(tags={RUN_TAG: run_id})):
            if not run.is_finished:
                instance.report_run_canceled(run, "Its process is gone; the run was taken over.")


def _failures(home: Home, dagster_run_id: str | None) -> list[str]:
    """The innermost errors that Dagster recorded of a run that stopped before its end."""
    if dagster_run_id is None:
        return []
    import dagster as dg

    from pipeline_defs.dagster_home import dagster_instance

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
