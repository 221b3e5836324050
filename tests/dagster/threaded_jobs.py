"""Jobs of the `threaded` executor that run for real, and what became of them."""

import itertools
import threading
from typing import Any

import dagster as dg

from pipeline_defs.executor import threaded_executor

PATIENCE = 30.0
"""Seconds until a step that waits for another is taken as waiting for ever."""
JOBS: dict[str, dg.JobDefinition] = {}
_numbers = itertools.count()


def job_by_key(key: str) -> dg.JobDefinition:
    return JOBS[key]


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
