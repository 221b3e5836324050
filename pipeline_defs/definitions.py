"""The code location: every job of every registered plan.

Plans come from the revisions under the home and from the folder named by `PATCHLINE_PLANS`
(default `examples/plans`), whose files are registered when the location loads. A plan that cannot
be read is left out with a warning; it never takes the others down. Source: issue 2 item 5.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from pipeline_defs.jobs import build_jobs
from pipeline_defs.plan.loader import load_plan
from pipeline_defs.revisions import current_revisions, register
from resources.configurable import default_resources
from state.errors import PlanError
from state.home import Home

PLAN_SUFFIXES = (".yaml", ".yml", ".json")
DEFAULT_PLANS = "examples/plans"

log = dg.get_dagster_logger("patchline")


def plan_files(folder: Path) -> Iterator[Path]:
    """The plan files that lie directly in a folder, in name order."""
    if folder.is_dir():
        yield from sorted(path for path in folder.iterdir() if path.suffix in PLAN_SUFFIXES)


def load_definitions(home: Home, folder: Path) -> dg.Definitions:
    """Register the folder's plans and build the jobs of every plan's current revision."""
    for path in plan_files(folder):
        try:
            register(home, load_plan(path))
        except PlanError as error:
            log.warning("left out: %s", error)
    jobs: list[dg.JobDefinition] = []
    for revision in current_revisions(home):
        if isinstance(revision, PlanError):
            log.warning("left out: %s", revision)
        else:
            jobs.extend(build_jobs(revision))
    return dg.Definitions(jobs=jobs, resources=default_resources(home))


defs = load_definitions(Home.find(), Path(os.environ.get("PATCHLINE_PLANS") or DEFAULT_PLANS))
