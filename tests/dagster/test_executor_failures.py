"""The `threaded` executor: what a failure of a step, a hook or a resource does, and retries."""

import threading
from typing import Any

import dagster as dg
import pytest

from tests.dagster.threaded_jobs import PATIENCE, logged, run, status


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
