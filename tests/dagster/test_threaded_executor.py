"""The threaded executor, run for real: Dagster instances on disk, jobs through `dg.execute_job`."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator

from pipeline_defs.executor import threaded_executor
from resources.execution.stopping import stop_signal

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0
JOBS: dict[str, dg.JobDefinition] = {}
_numbers = itertools.count()


def job_by_key(key: str) -> dg.JobDefinition:
    return JOBS[key]


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    quiet = {"telemetry": {"enabled": False}}
    home = str(tmp_path_factory.mktemp("dagster"))
    with dg.DagsterInstance.local_temp(home, overrides=quiet) as made:
        yield made


def run(
    graph: dg.GraphDefinition,
    instance: dg.DagsterInstance,
    *,
    raise_on_error: bool = False,
    resources: dict[str, Any] | None = None,
    hooks: set[dg.HookDefinition] | None = None,
    **config: Any,
) -> dg.JobExecutionResult:
    key = str(next(_numbers))
    JOBS[key] = graph.to_job(executor_def=threaded_executor, resource_defs=resources, hooks=hooks)
    return dg.execute_job(
        dg.build_reconstructable_job(__name__, "job_by_key", (key,)),
        instance=instance,
        run_config={"execution": {"config": config}},
        raise_on_error=raise_on_error,
    )


def status(result: dg.JobExecutionResult, instance: dg.DagsterInstance) -> dg.DagsterRunStatus:
    stored = instance.get_run_by_id(result.run_id)
    assert stored is not None
    return stored.status


def logged(
    result: dg.JobExecutionResult, instance: dg.DagsterInstance, step: str | None = None
) -> list[tuple[str | None, str]]:
    """(step key, event type) as the UI lists them."""
    events = [log.dagster_event for log in instance.all_logs(result.run_id) if log.dagster_event]
    return [
        (event.step_key, event.event_type_value)
        for event in events
        if step is None or event.step_key == step
    ]


class Gauge:
    """Counts who is inside, and the most there ever were."""

    def __init__(self) -> None:
        self._lock, self._inside, self.most = threading.Lock(), 0, 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1


def test_steps_run_side_by_side(instance: dg.DagsterInstance) -> None:
    barrier = threading.Barrier(4)

    @dg.op
    def meet() -> None:
        barrier.wait(PATIENCE)

    @dg.graph
    def meeting() -> None:
        for number in range(4):
            meet.alias(f"meet_{number}")()

    assert run(meeting, instance, max_concurrent=4).success


def test_no_more_than_max_concurrent_steps_run_at_once(instance: dg.DagsterInstance) -> None:
    pair, gauge = threading.Barrier(2), Gauge()

    @dg.success_hook
    def in_hook(context: dg.HookContext) -> None:
        with gauge:
            pair.wait(PATIENCE)

    @dg.op
    def meet() -> None:
        with gauge:
            pair.wait(PATIENCE)

    @dg.graph
    def meetings() -> None:
        for number in range(6):
            meet.alias(f"meet_{number}")()

    assert run(meetings, instance, hooks={in_hook}, max_concurrent=2).success
    assert gauge.most == 2


def test_max_concurrent_below_one_is_refused(instance: dg.DagsterInstance) -> None:
    @dg.op
    def never() -> None: ...

    @dg.graph
    def nothing() -> None:
        never()

    result = run(nothing, instance, max_concurrent=0)
    assert status(result, instance) == dg.DagsterRunStatus.FAILURE
    failure = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)[0]
    assert "max_concurrent is 0; it must be at least 1" in str(failure.dagster_event)


def test_a_failed_step_stops_its_dependents_and_no_others(instance: dg.DagsterInstance) -> None:
    @dg.op(out=dg.Out(dg.Nothing))
    def bad() -> None:
        raise ValueError("no")

    @dg.op(out=dg.Out(dg.Nothing))
    def good() -> None: ...

    @dg.op(ins={"start": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing))
    def follow() -> None: ...

    @dg.graph
    def two_branches() -> None:
        follow.alias("after_after_bad")(follow.alias("after_bad")(bad()))
        follow.alias("after_good")(good())

    result = run(two_branches, instance)
    assert status(result, instance) == dg.DagsterRunStatus.FAILURE
    assert {e.step_key for e in result.get_step_success_events()} == {"good", "after_good"}
    assert result.failure_data_for_node("bad") is not None
    assert not logged(result, instance, "after_bad")
    assert not logged(result, instance, "after_after_bad")


def test_a_missing_optional_output_skips_downstream(instance: dg.DagsterInstance) -> None:
    @dg.op(out={"kept": dg.Out(int), "dropped": dg.Out(int, is_required=False)})
    def choose() -> Iterator[dg.Output[int]]:
        yield dg.Output(1, "kept")

    @dg.op
    def use(value: int) -> int:
        return value + 1

    @dg.graph
    def choice() -> None:
        kept, dropped = choose()
        use.alias("use_kept")(kept)
        use.alias("again")(use.alias("use_dropped")(dropped))

    with run(choice, instance) as result:
        assert result.success
        assert result.output_for_node("use_kept") == 2
    assert logged(result, instance, "use_dropped") == [("use_dropped", "STEP_SKIPPED")]
    assert logged(result, instance, "again") == [("again", "STEP_SKIPPED")]


def test_a_nested_graph_with_nothing_fan_in_keeps_its_order(instance: dg.DagsterInstance) -> None:
    seen: list[str] = []

    @dg.op(ins={"start": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing))
    def note(context: dg.OpExecutionContext) -> None:
        seen.append(str(context.op_handle))

    @dg.graph(ins={"start": dg.GraphIn()}, out=dg.GraphOut())
    def inner(start: Any) -> Any:
        opened = note.alias("open")(start)
        return note.alias("close")([note.alias(f"task_{n}")(opened) for n in range(3)])

    @dg.graph
    def outer() -> None:
        inner.alias("second")(inner.alias("first")())

    assert run(outer, instance).success
    tasks = ["task_0", "task_1", "task_2"]
    for start, name in ((0, "first"), (5, "second")):
        assert seen[start] == f"{name}.open"
        assert sorted(seen[start + 1 : start + 4]) == [f"{name}.{task}" for task in tasks]
        assert seen[start + 4] == f"{name}.close"


def test_dynamic_outputs_fan_out_and_in(instance: dg.DagsterInstance) -> None:
    @dg.op(out=dg.DynamicOut(int))
    def spread() -> Iterator[dg.DynamicOutput[int]]:
        for number in range(3):
            yield dg.DynamicOutput(number, str(number))

    @dg.op
    def double(value: int) -> int:
        return value * 2

    @dg.op
    def total(values: list[int]) -> int:
        return sum(values)

    @dg.graph
    def dynamic() -> None:
        total(spread().map(double).collect())

    with run(dynamic, instance) as result:
        assert result.output_for_node("total") == 6


def test_async_ops_run_side_by_side(instance: dg.DagsterInstance) -> None:
    barrier = threading.Barrier(2)

    @dg.op
    async def meet() -> int:
        return barrier.wait(PATIENCE)

    @dg.graph
    def meeting() -> None:
        meet.alias("one")()
        meet.alias("other")()

    assert run(meeting, instance, max_concurrent=2).success


def test_a_steps_events_are_stored_in_order(instance: dg.DagsterInstance) -> None:
    @dg.op
    def busy(context: dg.OpExecutionContext) -> int:
        context.log_event(dg.AssetMaterialization("thing"))
        return 1

    @dg.graph
    def several() -> None:
        for number in range(8):
            busy.alias(f"busy_{number}")()

    result = run(several, instance, max_concurrent=8)
    before, after = ["STEP_START", "ASSET_MATERIALIZATION"], ["HANDLED_OUTPUT", "STEP_SUCCESS"]
    expected = [*before, "STEP_OUTPUT", *after]
    for number in range(8):
        kinds = [kind for _, kind in logged(result, instance, f"busy_{number}")]
        assert [kind for kind in kinds if kind in expected] == expected
        streamed = [event.event_type_value for event in result.events_for_node(f"busy_{number}")]
        assert streamed == kinds
    everything = [kind for _, kind in logged(result, instance)]
    assert everything[-1] == "PIPELINE_SUCCESS"


def test_a_waiting_retry_does_not_hold_up_others(instance: dg.DagsterInstance) -> None:
    attempts: list[int] = []

    @dg.op(tags={"dagster/priority": "1"})
    def flaky(context: dg.OpExecutionContext) -> None:
        attempts.append(context.retry_number)
        if context.retry_number == 0:
            raise dg.RetryRequested(max_retries=1, seconds_to_wait=0.5)

    @dg.op
    def other() -> None: ...

    @dg.graph
    def retrying() -> None:
        flaky()
        other()

    result = run(retrying, instance, max_concurrent=1)
    assert result.success
    assert attempts == [0, 1]
    order = logged(result, instance)
    at = [
        order.index(("flaky", "STEP_UP_FOR_RETRY")),
        order.index(("other", "STEP_START")),
        order.index(("flaky", "STEP_RESTARTED")),
    ]
    assert at == sorted(at)
    logs = instance.all_logs(result.run_id)
    assert logs[at[2]].timestamp - logs[at[0]].timestamp >= 0.49


def test_disabled_retries_fail_the_step(instance: dg.DagsterInstance) -> None:
    @dg.op(retry_policy=dg.RetryPolicy(max_retries=2))
    def flaky() -> None:
        raise ValueError("no")

    @dg.graph
    def once() -> None:
        flaky()

    result = run(once, instance, retries={"disabled": {}})
    assert status(result, instance) == dg.DagsterRunStatus.FAILURE
    assert ("flaky", "STEP_RESTARTED") not in logged(result, instance)


def test_hooks_fire_for_the_step_they_belong_to(instance: dg.DagsterInstance) -> None:
    fired: list[tuple[str, str]] = []

    @dg.success_hook
    def on_success(context: dg.HookContext) -> None:
        fired.append(("success", context.op.name))

    @dg.failure_hook
    def on_failure(context: dg.HookContext) -> None:
        fired.append(("failure", f"{context.op.name}: {context.op_exception}"))

    @dg.failure_hook
    def broken(context: dg.HookContext) -> None:
        raise RuntimeError("the hook is broken")

    @dg.op
    def good() -> None: ...

    @dg.op
    def bad() -> None:
        raise ValueError("no")

    @dg.graph
    def hooked() -> None:
        good.with_hooks({on_success, on_failure})()
        bad.with_hooks({on_success, on_failure, broken})()

    result = run(hooked, instance)
    assert sorted(fired) == [("failure", "bad: no"), ("success", "good")]
    assert ("bad", "HOOK_ERRORED") in logged(result, instance)
    assert ("good", "HOOK_COMPLETED") in logged(result, instance)


def test_resources_are_opened_once_and_shared(instance: dg.DagsterInstance) -> None:
    opened: list[object] = []
    closed: list[object] = []
    used: list[object] = []

    @dg.resource
    def shared() -> Iterator[object]:
        opened.append(object())
        yield opened[-1]
        closed.append(opened[-1])

    @dg.op(required_resource_keys={"shared"})
    def use(context: dg.OpExecutionContext) -> None:
        used.append(context.resources.shared)

    @dg.graph
    def users() -> None:
        for number in range(3):
            use.alias(f"use_{number}")()

    assert run(users, instance, resources={"shared": shared}).success
    assert closed == opened
    assert used == opened * 3
    assert len(opened) == 1


def test_a_resource_that_cannot_open_fails_the_run(instance: dg.DagsterInstance) -> None:
    @dg.resource
    def broken() -> None:
        raise ValueError("no")

    @dg.op(required_resource_keys={"broken"})
    def use() -> None: ...

    @dg.graph
    def user() -> None:
        use()

    result = run(user, instance, resources={"broken": broken})
    assert status(result, instance) == dg.DagsterRunStatus.FAILURE
    assert ("use", "STEP_START") not in logged(result, instance)


def test_a_pool_limits_steps_across_the_instance(instance: dg.DagsterInstance) -> None:
    gauge = Gauge()
    instance.event_log_storage.set_concurrency_slots("narrow", 1)

    @dg.op(pool="narrow")
    def pooled() -> None:
        with gauge:
            time.sleep(0.05)

    @dg.graph
    def swimmers() -> None:
        pooled.alias("one")()
        pooled.alias("other")()

    assert run(swimmers, instance, max_concurrent=4).success
    assert gauge.most == 1
    assert instance.event_log_storage.get_concurrency_info("narrow").active_slot_count == 0


def test_what_a_step_raises_reaches_the_caller_that_asked_for_it(
    instance: dg.DagsterInstance,
) -> None:
    both = threading.Barrier(2)

    @dg.op
    def bad(context: dg.OpExecutionContext) -> None:
        both.wait(PATIENCE)
        raise KeyError(context.op.name)

    @dg.graph
    def failing() -> None:
        bad.alias("one")()
        bad.alias("other")()

    with pytest.raises(KeyError) as caught:
        run(failing, instance, raise_on_error=True)
    assert "Another step raised KeyError" in "".join(caught.value.__notes__)


def test_an_error_outside_any_ops_code_fails_the_run(instance: dg.DagsterInstance) -> None:
    def answer(context: object, events: object) -> Any:
        return "not a hook result"

    @dg.op
    def good() -> None: ...

    @dg.graph
    def hooked() -> None:
        good()

    result = run(hooked, instance, hooks={dg.HookDefinition(name="nonsense", hook_fn=answer)})
    assert status(result, instance) == dg.DagsterRunStatus.FAILURE
    failure = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)[0]
    assert "hook unexpectedly returned result not a hook result" in str(failure.dagster_event)


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
    program = Path(__file__).with_name("job_to_interrupt.py")
    process = subprocess.Popen(
        [sys.executable, str(program), str(tmp_path)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    pid_files = [tmp_path / "left.pid", tmp_path / "right.pid"]
    left_alive: list[int] = []
    try:
        deadline = time.monotonic() + PATIENCE * 2
        while not all(file.exists() for file in pid_files):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "the ops never started"
            time.sleep(0.02)
        for number in signals:
            process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE * 2)
    finally:
        process.kill()
        for child in (int(file.read_text()) for file in pid_files if file.exists()):
            with suppress(ProcessLookupError):
                os.kill(child, 0)
                left_alive.append(child)
                os.kill(child, signal.SIGKILL)

    assert process.returncode == 0, err
    assert out.split()[-1] == "CANCELED"
    assert left_alive == []
    assert not (tmp_path / "after").exists()
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        (stored,) = instance.get_runs()
        kinds = [e.dagster_event_type for e in instance.all_logs(stored.run_id)]
    assert kinds.count(dg.DagsterEventType.STEP_START) == 2
    assert kinds.count(dg.DagsterEventType.STEP_FAILURE) == 2
    assert dg.DagsterEventType.STEP_UP_FOR_RETRY not in kinds
    assert dg.DagsterEventType.STEP_RESTARTED not in kinds
