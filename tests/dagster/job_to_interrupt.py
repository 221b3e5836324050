"""A job for test_threaded_executor: two ops with a child each, to be interrupted from outside.

Run as a program: `python job_to_interrupt.py FOLDER`. The folder becomes the Dagster home and
receives `<op>.pid`, the process id of each op's child.
"""

import subprocess
import sys
from pathlib import Path

import dagster as dg

from pipeline_defs.executor import threaded_executor
from resources.execution.stopping import stop_signal

FOLDER = Path(sys.argv[-1])
QUIET = {"telemetry": {"enabled": False}}


@dg.op(retry_policy=dg.RetryPolicy(max_retries=3), out=dg.Out(dg.Nothing))
def hold(context: dg.OpExecutionContext) -> None:
    child = subprocess.Popen(["sleep", "300"], start_new_session=True)
    partial = FOLDER / f"{context.op.name}.tmp"
    partial.write_text(str(child.pid))
    partial.rename(partial.with_suffix(".pid"))
    stop_signal(context.run_id).wait()
    child.kill()
    child.wait()
    raise RuntimeError("the child was killed")


@dg.op(ins={"start": dg.In(dg.Nothing)})
def after() -> None:
    (FOLDER / "after").touch()


@dg.job(executor_def=threaded_executor)
def interrupted() -> None:
    after(start=hold.alias("left")())
    hold.alias("right")()


if __name__ == "__main__":
    with (
        dg.DagsterInstance.local_temp(str(FOLDER), overrides=QUIET) as instance,
        dg.execute_job(dg.reconstructable(interrupted), instance=instance) as result,
    ):
        print(instance.get_run_by_id(result.run_id).status.value)
