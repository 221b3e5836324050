"""The `threaded` executor: how a run ends that is stopped, cancelled or interrupted."""

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator

from pipeline_defs.executor import threaded_executor
from resources.execution.stopping import stop_signal
from tests.dagster.job_to_interrupt import run_the_job
from tests.dagster.threaded_jobs import PATIENCE, logged, run, status
from tests.forks import fork


def test_a_caller_that_stops_listening_stops_the_steps(instance: dg.DagsterInstance) -> None:
    ended = threading.Event()

    @dg.op
    def hold(context: dg.OpExecutionContext) -> None:
        assert stop_signal(context.run_id).wait(PATIENCE)
        ended.set()

    @dg.graph
    def left() -> None:
        hold()

    job = left.to_job(executor_def=threaded_executor)
    stored = instance.create_run_for_job(job)
    events = execute_run_iterator(InMemoryJob(job), stored, instance)
    assert any(event.is_step_start for event in events)
    events.close()
    assert ended.is_set()


def test_a_stop_request_ends_the_run_canceled_and_retries_nothing(
    instance: dg.DagsterInstance,
) -> None:
    begun = threading.Barrier(2)

    @dg.op(retry_policy=dg.RetryPolicy(max_retries=3), out=dg.Out(dg.Nothing))
    def hold(context: dg.OpExecutionContext) -> None:
        begun.wait(PATIENCE)
        assert stop_signal(context.run_id).wait(PATIENCE)
        raise RuntimeError("stopped")

    @dg.op(out=dg.Out(dg.Nothing))
    def ask(context: dg.OpExecutionContext) -> None:
        begun.wait(PATIENCE)
        stop_signal(context.run_id).set()

    @dg.op(ins={"start": dg.In(dg.Nothing)})
    def follow() -> None: ...

    @dg.graph
    def stopped() -> None:
        follow([hold(), ask()])

    result = run(stopped, instance)
    assert status(result, instance) == dg.DagsterRunStatus.CANCELED
    kinds = logged(result, instance)
    assert ("hold", "STEP_FAILURE") in kinds
    assert ("hold", "STEP_UP_FOR_RETRY") not in kinds
    assert not logged(result, instance, "follow")
    assert not stop_signal(result.run_id).is_set(), "the signal of an ended run is forgotten"


def test_an_op_that_raises_the_interrupt_itself_ends_the_run_canceled(
    instance: dg.DagsterInstance,
) -> None:
    @dg.op
    def interrupted() -> None:
        raise dg.DagsterExecutionInterruptedError("enough")

    @dg.graph
    def alone() -> None:
        interrupted()

    result = run(alone, instance)
    assert status(result, instance) == dg.DagsterRunStatus.CANCELED


def test_a_step_that_ignores_the_stop_is_named_and_left_behind(
    instance: dg.DagsterInstance,
) -> None:
    release, begun, ended = threading.Event(), threading.Event(), threading.Event()

    @dg.op
    def deaf() -> None:
        begun.set()
        release.wait(PATIENCE)

    @dg.success_hook
    def over(context: dg.HookContext) -> None:
        ended.set()

    @dg.op
    def ask(context: dg.OpExecutionContext) -> None:
        begun.wait(PATIENCE)
        stop_signal(context.run_id).set()

    @dg.graph
    def stuck() -> None:
        deaf.with_hooks({over})()
        ask()

    try:
        result = run(stuck, instance, stop_grace_sec=0.3)
        assert status(result, instance) == dg.DagsterRunStatus.CANCELED
        told = [log.user_message for log in instance.all_logs(result.run_id)]
        assert any("left behind: deaf." in message for message in told)
        assert stop_signal(result.run_id).is_set(), "the step left behind can still see the signal"
    finally:
        release.set()
        assert ended.wait(PATIENCE)


@pytest.mark.parametrize(
    "signals",
    [[signal.SIGINT], [signal.SIGTERM], [signal.SIGINT, signal.SIGINT]],
    ids=["ctrl_c", "sigterm", "ctrl_c_twice"],
)
def test_an_interrupted_process_kills_its_children_and_ends_canceled(
    tmp_path: Path, signals: list[signal.Signals]
) -> None:
    said, errors = tmp_path / "said", tmp_path / "errors"
    process = fork(run_the_job, tmp_path, dict(os.environ), said, errors)
    pid_files = [tmp_path / "left.pid", tmp_path / "right.pid"]
    left_alive: list[int] = []
    try:
        deadline = time.monotonic() + PATIENCE * 2
        while not all(file.exists() for file in pid_files):
            assert process.is_alive(), errors.read_text()
            assert time.monotonic() < deadline, "the ops never started"
            time.sleep(0.02)
        for number in signals:
            os.kill(process.pid, number)
        process.join(PATIENCE * 2)
    finally:
        process.kill()
        for child in (int(file.read_text()) for file in pid_files if file.exists()):
            with suppress(ProcessLookupError):
                os.kill(child, 0)
                left_alive.append(child)
                os.kill(child, signal.SIGKILL)

    assert process.exitcode == 0, errors.read_text()
    assert said.read_text().split()[-1] == "CANCELED"
    assert left_alive == []
    assert not (tmp_path / "after").exists()
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        (stored,) = instance.get_runs()
        kinds = [e.dagster_event_type for e in instance.all_logs(stored.run_id)]
    assert kinds.count(dg.DagsterEventType.STEP_START) == 2
    assert kinds.count(dg.DagsterEventType.STEP_FAILURE) == 2
    assert dg.DagsterEventType.STEP_UP_FOR_RETRY not in kinds
    assert dg.DagsterEventType.STEP_RESTARTED not in kinds
