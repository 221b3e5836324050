"""One run of the `threaded` executor: its steps started, their reports taken in, and its end.

Leans on `dagster._core`, as `executor.py` does: see there.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from functools import partial

import dagster as dg
from dagster._core.events import EngineEventData
from dagster._core.execution.context.system import PlanExecutionContext, StepExecutionContext
from dagster._core.execution.plan.active import ActiveExecution
from dagster._core.execution.plan.execute_plan import (
    _trigger_hook,
    dagster_event_sequence_for_step,
)
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.execution.plan.state import KnownExecutionState
from dagster._core.execution.plan.step import ExecutionStep
from dagster._core.execution.retries import RetryMode

from pipeline_defs.step_threads import StepThreads
from resources.execution.stopping import clear, stop_signal

TICK_SECONDS = 0.2
"""How late a signal, a stop request or a freed pool slot is noticed while all steps are silent.
Steps' own events end the wait at once, so this is no delay on the way from step to step."""

_INTERRUPTS = (dg.DagsterExecutionInterruptedError, KeyboardInterrupt)
_log = logging.getLogger(__name__)


class _ThreadStepContext(StepExecutionContext):
    """A step's context that knows the stop signal and owns its event loop.

    Retries are off once the signal is set, whatever the op's RetryPolicy says. A loop of its own
    lets async ops run side by side: an asyncio loop belongs to one thread.
    """

    def __init__(
        self,
        plan: PlanExecutionContext,
        step: ExecutionStep,
        known: KnownExecutionState,
        stop: threading.Event,
    ) -> None:
        self._stop = stop
        self._own_loop: asyncio.AbstractEventLoop | None = None
        super().__init__(
            plan_data=plan.plan_data,
            execution_data=plan._execution_data,
            log_manager=plan.log.with_tags(**step.logging_tags),
            step=step,
            output_capture=plan.output_capture,
            # The set of ready outputs is ActiveExecution's own and grows while threads read it.
            known_state=known._replace(ready_outputs=set(known.ready_outputs)),
            event_loop=plan.event_loop,
        )
        missing = [key for key in self.required_resource_keys if not hasattr(self.resources, key)]
        if missing:
            raise dg.DagsterInvariantViolationError(
                f"Step {step.key} needs the resources {missing}, which the run did not initialise."
            )

    @property
    def retry_mode(self) -> RetryMode:
        return RetryMode.DISABLED if self._stop.is_set() else super().retry_mode

    @property
    def event_loop(self) -> asyncio.AbstractEventLoop:
        if self._own_loop is None:
            self._own_loop = asyncio.new_event_loop()
        return self._own_loop

    def close(self) -> None:
        """Close the event loop, if the step made one."""
        if self._own_loop is not None:
            self._own_loop.run_until_complete(self._own_loop.shutdown_asyncgens())
            self._own_loop.close()


def _step_events(context: _ThreadStepContext) -> Iterator[dg.DagsterEvent]:
    """A step's events, then its hooks' events. Dagster stores each one as it is made."""
    try:
        seen: list[dg.DagsterEvent] = []
        for event in dagster_event_sequence_for_step(context):
            seen.append(event)
            yield event
        yield from _trigger_hook(context, seen)
    finally:
        context.close()


class ThreadedRun:
    """One run: starts steps, takes in what they report, ends them when the run is interrupted.

    Only the thread that iterates `events()` touches ActiveExecution and yields events; step
    threads talk to it through the queue.
    """

    def __init__(
        self,
        context: PlanExecutionContext,
        active: ActiveExecution,
        pools: InstanceConcurrencyContext,
        max_concurrent: int,
        stop_grace_sec: float,
    ) -> None:
        self._context = context
        self._active = active
        self._pools = pools
        self._max_concurrent = max_concurrent
        self._grace = stop_grace_sec
        self._stop = stop_signal(context.run_id)
        self._threads = StepThreads()
        self._next_look = 0.0
        self._deadline: float | None = None
        self._interrupted = False
        self._errors: list[BaseException] = []

    def events(self) -> Iterator[dg.DagsterEvent]:
        """Run to the end.

        Raises:
            dagster.DagsterExecutionInterruptedError: the run was interrupted.
            BaseException: what escaped a step thread, with the others as notes.
        """
        try:
            while True:
                yield from self._notice_interrupt()
                # Before is_complete: a finished step's dynamic outputs become steps only here.
                yield from self._start_steps()
                if not self._threads.running and (self._stopping or self._active.is_complete):
                    break
                yield from self._take_in()
                if self._deadline is not None and time.monotonic() > self._deadline:
                    break
            yield from self._finish()
        except BaseException:
            # Also a consumer that went away (GeneratorExit): nothing more may be yielded here,
            # but no thread may go on working for a run that is over.
            self._stop.set()
            if left := self._threads.drain(self._grace if self._deadline is None else 0.0):
                _log.error("run %s ended with steps still running: %s", self._context.run_id, left)
            raise
        finally:
            if not self._threads.running:
                clear(self._context.run_id)

    @property
    def _stopping(self) -> bool:
        return self._deadline is not None

    def _notice_interrupt(self) -> Iterator[dg.DagsterEvent]:
        # Always read it: a captured signal left pending would be raised inside the teardown of
        # a resource and cut that short.
        interrupted = self._active.check_for_interrupts()
        if not self._stopping and (interrupted or self._stop.is_set()):
            yield from self._begin_stop("Received a request to stop")

    def _begin_stop(self, why: str) -> Iterator[dg.DagsterEvent]:
        self._deadline = time.monotonic() + self._grace
        self._stop.set()
        if not self._errors:
            self._interrupted = True
            self._active.mark_interrupted()
            self._record_cancellation()
        running = self._threads.running
        yield dg.DagsterEvent.engine_event(
            self._context,
            f"{why}: starting no more steps, stopping {len(running)} running ones",
            EngineEventData.interrupted(running),
        )

    def _record_cancellation(self) -> None:
        """Say that this interrupt is a cancellation, unless Dagster is to resume the run."""
        instance, run_id = self._context.instance, self._context.run_id
        run = instance.get_run_by_id(run_id)
        if run is None or run.status != dg.DagsterRunStatus.STARTED:
            return
        if not instance.run_will_resume(run_id):
            instance.report_run_canceling(run, "The run was interrupted: canceling it.")

    def _start_steps(self) -> Iterator[dg.DagsterEvent]:
        # Only the end of a step or the clock makes steps ready; looking at each event would cost
        # a pass over all pending steps each time.
        if self._stopping or time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + TICK_SECONDS
        yield from self._active.plan_events_iterator(self._context)
        # Not ActiveExecution's own limit: it counts a step as done while its hooks still run.
        free = self._max_concurrent - len(self._threads.running)
        steps = self._active.get_steps_to_execute(limit=free)
        yield from self._active.concurrency_event_iterator(self._context)
        for step in steps:
            known = self._active.get_known_state()
            context = _ThreadStepContext(self._context, step, known, self._stop)
            self._threads.start(step.key, partial(_step_events, context))

    def _take_in(self) -> Iterator[dg.DagsterEvent]:
        message = self._threads.receive(self._seconds_to_wait())
        if isinstance(message, dg.DagsterEvent):
            yield message
            self._active.handle_event(message)
            return
        self._next_look = 0.0
        if message is not None:
            if message.error is not None:
                yield from self._take_in_error(message.step_key, message.error)
            self._active.verify_complete(self._context, message.step_key)

    def _take_in_error(self, step_key: str, error: BaseException) -> Iterator[dg.DagsterEvent]:
        if not isinstance(error, _INTERRUPTS):
            # Either the caller asked for raise_on_error, or the framework failed under the step.
            self._errors.append(error)
        if not self._stopping:
            yield from self._begin_stop(f"Step {step_key} raised {type(error).__name__}")

    def _seconds_to_wait(self) -> float:
        """Until a retry is due, but no longer than a tick (signals do not end a wait)."""
        if self._pools.has_pending_claims():
            return TICK_SECONDS
        until_retry = self._active.sleep_interval()
        if until_retry:
            return min(max(until_retry, 0.001), TICK_SECONDS)
        return TICK_SECONDS if self._threads.running else 0.001

    def _finish(self) -> Iterator[dg.DagsterEvent]:
        if left := self._threads.running:
            yield dg.DagsterEvent.engine_event(
                self._context,
                f"Steps still running {self._grace:g} s after the request to stop, left behind:"
                f" {', '.join(left)}. Their op ignores resources.execution.stopping.stop_signal.",
                EngineEventData.interrupted(left),
            )
        if self._stopping:
            self._active.check_for_interrupts()  # As in _notice_interrupt: leave none pending.
            raise self._reason()

    def _reason(self) -> BaseException:
        """Why the run was stopped, with whatever else was raised as notes."""
        if self._interrupted:
            reason, others = dg.DagsterExecutionInterruptedError("Interrupted."), self._errors
        else:
            reason, *others = self._errors
        for other in others:
            reason.add_note(f"Another step raised {type(other).__name__}: {other}")
        return reason
