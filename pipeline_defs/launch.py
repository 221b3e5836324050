"""Executing a run in this process: the same job that the UI launches, without a daemon."""

import logging
from pathlib import Path
from typing import Any

import dagster as dg

from pipeline_defs.dagster_home import dagster_instance
from pipeline_defs.dagster_privates import execute_as_of_location
from pipeline_defs.jobs import build_job
from pipeline_defs.names import START
from pipeline_defs.revisions import Revision, open_revision
from pipeline_defs.runs import RUN_TAG, Launch
from state.home import Home

LOCATION = "patchline"
"""The code location's name in workspace.yaml; its jobs list the runs of the command line too."""
QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}


def job_of_revision(path: str, source: str) -> dg.JobDefinition:
    """The plan job of a revision file; step processes call this to rebuild the job."""
    return build_job(open_revision(Path(path), source))


def execute_run(
    home: Home,
    revision: Revision,
    run_id: str,
    max_concurrent: int | None = None,
    launch: Launch | None = None,
) -> bool:
    """Execute an SSOT run to its end in this process.

    Args:
        home: the patchline home; Dagster's records go to its DAGSTER_HOME.
        revision: the plan revision that the run follows.
        run_id: the SSOT run, pending or to be resumed.
        max_concurrent: how many tasks at the same time, instead of the plan's number.
        launch: what was asked for; kept with Dagster's run, so that running it again from the UI
            works on the same repository and branch.

    Returns:
        Whether Dagster calls it a success; the state has the facts.
    """
    for name in ("dagster", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    job = dg.build_reconstructable_job(
        "pipeline_defs.launch",
        "job_of_revision",
        reconstructable_kwargs={"path": str(revision.path), "source": str(revision.source)},
    )
    run_config: dict[str, Any] = {"loggers": QUIET}
    if max_concurrent:
        run_config["execution"] = {"config": {"max_concurrent": max_concurrent}}
    if launch:
        asked = {"repo": launch.repo, "target": launch.target, "base": launch.base}
        run_config["ops"] = {START: {"config": asked}}
    with dagster_instance(home) as instance:
        return execute_as_of_location(job, LOCATION, instance, run_config, {RUN_TAG: run_id})
