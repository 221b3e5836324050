"""A job of two ops with a child each, to be interrupted from outside: see test_executor_interrupts.

Runs in a process of its own, on the Dagster home that the environment names. Its current folder
receives `<op>.pid`, the process id of each op's child.
"""

import subprocess
from pathlib import Path

import dagster as dg

from pipeline_defs.executor import threaded_executor
from resources.execution.stopping import stop_signal
from tests.migrations_once import read_dagsters_migrations_once

QUIET = {"telemetry": {"enabled": False}}


@dg.op(retry_policy=dg.RetryPolicy(max_retries=3), out=dg.Out(dg.Nothing))
def hold(context: dg.OpExecutionContext) -> None:
    child = subprocess.Popen(["sleep", "300"], start_new_session=True)
    partial = Path(f"{context.op.name}.tmp")
    partial.write_text(str(child.pid))
    partial.rename(partial.with_suffix(".pid"))
    stop_signal(context.run_id).wait()
    child.kill()
    child.wait()
    raise RuntimeError("the child was killed")


@dg.op(ins={"start": dg.In(dg.Nothing)})
def after() -> None:
    Path("after").touch()


@dg.job(executor_def=threaded_executor)
def interrupted() -> None:
    after(start=hold.alias("left")())
    hold.alias("right")()


def run_the_job() -> None:
    """Run it to its end, and print the status that Dagster has written down."""
    read_dagsters_migrations_once()
    with (
        dg.DagsterInstance.local_temp(str(Path.cwd()), overrides=QUIET) as instance,
        dg.execute_job(dg.reconstructable(interrupted), instance=instance) as result,
    ):
        stored = instance.get_run_by_id(result.run_id)
        assert stored is not None
        print(stored.status.value)
