"""What patchline needs of Dagster's private parts besides its executor, behind plain functions.

`tests/dagster/test_dagster_internals.py` checks each name and signature used here and in
`pipeline_defs/executor*.py`, so that an upgrade that moves one fails there and says which.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import dagster as dg
from dagster._core.definitions.definitions_load_context import (
    DefinitionsLoadContext,
    DefinitionsLoadType,
)
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._core.execution.api import execute_run
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._utils.interrupts import capture_interrupts

REPOSITORY = "__repository__"
"""Dagster's name for the one repository of a code location that is made of `Definitions`."""


def remembered_load(key: str) -> str | None:
    """What `remember_load` was given when the code location was loaded.

    Returns:
        The value, in a run worker or step process, which rebuilds the location; None where it is
        loaded afresh.
    """
    context = DefinitionsLoadContext.get()
    if context.load_type is DefinitionsLoadType.INITIALIZATION:
        return None
    return context.reconstruction_metadata.get(key)


def remember_load(key: str, value: str) -> None:
    """Have a value handed to every process that rebuilds the code location being loaded now.

    Only where the location is a function under `dg.definitions`; to be called at each load, also
    with what was remembered. (`Definitions.with_reconstruction_metadata` looks made for this, but
    reaches no run worker.)
    """
    DefinitionsLoadContext.get().add_to_pending_reconstruction_metadata(key, value)


def deferring_interrupts() -> AbstractContextManager[None]:
    """Keep SIGINT and SIGTERM for the execution within, from its very beginning to its very end.

    Dagster keeps them only while steps may run: one that came just before or after that would be
    a KeyboardInterrupt in the middle of its bookkeeping. What comes before stops the execution at
    its first step; what comes after changes nothing.
    """
    return capture_interrupts()


def execute_as_of_location(
    job: ReconstructableJob,
    location: str,
    instance: dg.DagsterInstance,
    run_config: Mapping[str, Any],
    tags: Mapping[str, str],
) -> bool:
    """Execute a job in this process, recorded as a run of a code location.

    `dg.execute_job` records no code location, and then the UI neither links the run to its job nor
    offers to run it again.

    Returns:
        Whether the run succeeded.
    """
    definition = job.get_definition()
    origin = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(location), REPOSITORY)
    run = instance.create_run_for_job(
        job_def=definition,
        run_config=run_config,
        tags={**definition.run_tags, **tags},
        remote_job_origin=origin.get_job_origin(definition.name),
        job_code_origin=job.get_python_origin(),
    )
    with execute_run(job, run, instance, raise_on_error=False) as result:
        return result.success
