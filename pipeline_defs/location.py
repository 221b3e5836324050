"""What the code location is made of: every job of every registered plan.

Plans come from the revisions under the home and from the folder named by `PATCHLINE_PLANS`
(default `examples/plans`), whose files are registered when the location loads. A plan that cannot
be read is left out with a warning; it never takes the others down.

A run worker rebuilds the location from exactly the revisions that it was loaded with, whatever has
become of the plan files since. Loading writes revisions and nothing else: no database, no git.
Source: issue 2 item 5, design section 3.
"""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg

from pipeline_defs.dagster_privates import remember_load, remembered_load
from pipeline_defs.jobs import build_jobs
from pipeline_defs.plan.loader import load_plan
from pipeline_defs.revisions import Revision, current_revisions, open_revision, register
from resources.configurable import default_resources
from state.errors import PlanError
from state.home import Home

PLAN_SUFFIXES = (".yaml", ".yml", ".json")
DEFAULT_PLANS = Path("examples", "plans")
CHECKOUT = Path(__file__).parents[1]
REVISIONS = "patchline/revisions"

log = dg.get_dagster_logger("patchline")


def plans_folder() -> Path:
    """Where plans lie: `$PATCHLINE_PLANS`, or examples/plans here or beside this program."""
    named = os.environ.get("PATCHLINE_PLANS")
    if named:
        return Path(named)
    return DEFAULT_PLANS if DEFAULT_PLANS.is_dir() else CHECKOUT / DEFAULT_PLANS


def plan_files(folder: Path) -> Iterator[Path]:
    """The plan files that lie directly in a folder, in name order."""
    if folder.is_dir():
        yield from sorted(path for path in folder.iterdir() if path.suffix in PLAN_SUFFIXES)


def register_folder(home: Home, folder: Path) -> None:
    """Register the plans that lie in a folder; of two files for one plan the first counts."""
    seen: dict[str, Path] = {}
    for path in plan_files(folder):
        try:
            loaded = load_plan(path)
        except PlanError as error:
            log.warning("left out: %s", error)
            continue
        first = seen.setdefault(loaded.plan.plan, path)
        if first is path:
            register(home, loaded)
        else:
            log.warning("left out: %s: plan %s is %s already", path, loaded.plan.plan, first)


def readable_revisions(home: Home) -> Iterator[Revision]:
    """The current revision of each registered plan, without those that cannot be read."""
    for revision in current_revisions(home):
        if isinstance(revision, PlanError):
            log.warning("left out: %s", revision)
        else:
            yield revision


def named_revisions(document: str) -> list[Revision]:
    """The revisions that `names_of` wrote down."""
    return [open_revision(Path(path), source) for path, source in json.loads(document)]


def names_of(revisions: Sequence[Revision]) -> str:
    """Where revisions lie, as JSON."""
    return json.dumps([[str(revision.path), str(revision.source)] for revision in revisions])


def load_definitions(home: Home, folder: Path) -> dg.Definitions:
    """Register the folder's plans and build the jobs of every plan's current revision."""
    remembered = remembered_load(REVISIONS)
    if remembered is None:
        register_folder(home, folder)
        revisions = list(readable_revisions(home))
    else:
        revisions = named_revisions(remembered)
    remember_load(REVISIONS, names_of(revisions))
    resources = default_resources(home)
    jobs = [job for revision in revisions for job in build_jobs(revision, resources)]
    return dg.Definitions(jobs=jobs, resources=resources)
