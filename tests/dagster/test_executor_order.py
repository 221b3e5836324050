"""The `threaded` executor: what runs when, how much at once, and what steps share."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import dagster as dg

from tests.dagster.threaded_jobs import PATIENCE, Gauge, logged, run, status


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
