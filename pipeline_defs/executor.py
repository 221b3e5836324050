"""The `threaded` executor: steps run as threads of the run worker (design section 3, "Executor").

Tools, gates and git are subprocesses, so a thread per step is enough and costs milliseconds, where
a process per step costs seconds. Resources are initialised once per run and shared by the threads.

Dagster has no public way to write an executor that runs steps in its own process. Everything in it
that leans on `dagster._core` is in this file and in `executor_run.py`, and
`tests/dagster/test_dagster_internals.py` checks each name and signature, so that an upgrade that
moves one fails there and says which.

What differs from Dagster's in-process executor, besides the threads:
  * After an interrupt no step is retried. Dagster honours an op's RetryPolicy even when the failure
    is the interrupt itself (dagster issue #15026).
  * An interrupt nobody announced (Ctrl-C, SIGTERM) is recorded as a cancellation, so the run ends
    CANCELED and not FAILURE, unless run monitoring is going to resume it.
  * stdout and stderr are captured for the whole process: threads share one pair of descriptors.
    For the same reason Python loggers that `dagster.yaml` manages reach every running step's log.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import dagster as dg
from dagster._core.events import EngineEventData
from dagster._core.execution.api import ExecuteRunWithPlanIterable
from dagster._core.execution.compute_logs import create_compute_log_file_key
from dagster._core.execution.context.system import PlanExecutionContext, PlanOrchestrationContext
from dagster._core.execution.context_creation_job import PlanExecutionContextManager
from dagster._core.execution.plan.active import ActiveExecution
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode, get_retries_config
from dagster._utils.error import serializable_error_info_from_exc_info

from pipeline_defs.executor_run import ThreadedRun


@dg.executor(
    name="threaded",
    config_schema={
        "max_concurrent": dg.Field(
            int, default_value=4, description="How many steps may run at the same time."
        ),
        "stop_grace_sec": dg.Field(
            float,
            default_value=10.0,
            description="Seconds that running steps get to end after the run was interrupted.",
        ),
        "retries": get_retries_config(),
    },
)
def threaded_executor(init_context: dg.InitExecutorContext) -> dg.Executor:
    """Run each step in a thread of the run worker.

    Config: `max_concurrent` (default 4), `stop_grace_sec` (default 10), `retries`.

    Raises:
        dagster.DagsterInvariantViolationError: `max_concurrent` is below 1.
    """
    config = init_context.executor_config
    retries = RetryMode.from_config(config["retries"])  # pyright: ignore[reportArgumentType]
    return ThreadedExecutor(
        max_concurrent=config["max_concurrent"],  # pyright: ignore[reportArgumentType]
        stop_grace_sec=config["stop_grace_sec"],  # pyright: ignore[reportArgumentType]
        retries=retries or RetryMode.ENABLED,
    )


class ThreadedExecutor(dg.Executor):
    """Dagster's face of the executor; `ThreadedRun` does the work."""

    def __init__(self, max_concurrent: int, stop_grace_sec: float, retries: RetryMode) -> None:
        if max_concurrent < 1:
            raise dg.DagsterInvariantViolationError(
                f"threaded executor: max_concurrent is {max_concurrent}; it must be at least 1."
                " Change it under execution.config in the run config."
            )
        self._max_concurrent = max_concurrent
        self._stop_grace_sec = stop_grace_sec
        self._retries = retries

    @property
    def retries(self) -> RetryMode:
        """Whether steps may be retried."""
        return self._retries

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        """Run the plan and yield its events (the protocol of `dagster.Executor`)."""
        pid, steps = os.getpid(), execution_plan.step_keys_to_execute
        data = EngineEventData.in_process(pid, steps)
        yield dg.DagsterEvent.engine_event(
            plan_context,
            f"Executing steps in at most {self._max_concurrent} threads (pid: {pid})",
            data,
        )
        yield from ExecuteRunWithPlanIterable(
            execution_plan=plan_context.execution_plan,
            iterator=self._iterate,
            execution_context_manager=PlanExecutionContextManager(
                job=plan_context.job,
                retry_mode=plan_context.retry_mode,
                execution_plan=plan_context.execution_plan,
                run_config=plan_context.run_config,
                dagster_run=plan_context.dagster_run,
                instance=plan_context.instance,
                raise_on_error=plan_context.raise_on_error,
                output_capture=plan_context.output_capture,
                step_dependency_config=self.step_dependency_config,
            ),
        )
        yield dg.DagsterEvent.engine_event(plan_context, f"Finished steps (pid: {pid})", data)

    def _iterate(
        self, job_context: PlanExecutionContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        with ExitStack() as stack:
            pools = stack.enter_context(
                InstanceConcurrencyContext(job_context.instance, job_context.dagster_run)
            )
            active = stack.enter_context(
                ActiveExecution(
                    execution_plan,
                    retry_mode=job_context.retry_mode,
                    instance_concurrency_context=pools,
                    step_dependency_config=job_context.step_dependency_config,
                )
            )
            run = ThreadedRun(
                job_context, active, pools, self._max_concurrent, self._stop_grace_sec
            )
            yield from _with_captured_output(job_context, execution_plan, run.events())


def _with_captured_output(
    context: PlanExecutionContext, plan: ExecutionPlan, events: Iterator[dg.DagsterEvent]
) -> Iterator[dg.DagsterEvent]:
    """Capture the process's stdout and stderr while `events` lasts, filed under all steps.

    A capture that cannot be set up or closed costs the run its output, not its life: it becomes
    an engine event with the error, as Dagster's own executors do.
    """
    manager = context.instance.compute_log_manager
    step_keys = [step.key for step in plan.get_steps_to_execute_in_topo_order()]
    log_key = manager.build_log_key_for_run(context.run_id, create_compute_log_file_key())
    with ExitStack() as stack:
        try:
            log_context = stack.enter_context(manager.capture_logs(log_key))
            yield dg.DagsterEvent.capture_logs(context, step_keys, log_key, log_context)
        except Exception:
            yield _capture_failed(context, "setting up")
        yield from events
        try:
            stack.close()
        except Exception:
            yield _capture_failed(context, "cleaning up")


def _capture_failed(context: PlanExecutionContext, doing: str) -> dg.DagsterEvent:
    error = serializable_error_info_from_exc_info(sys.exc_info())
    message = f"Exception while {doing} compute log capture"
    return dg.DagsterEvent.engine_event(context, message, EngineEventData(error=error))
