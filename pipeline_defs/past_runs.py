"""What a run that is over had been told to do: its plan revision, read back.

Whoever lands or takes back something for a run afterwards keeps to the gates, scopes and policy
that the run had, whatever happens to the plan file meanwhile.
"""

from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from pipeline_defs.orders import run_spec
from pipeline_defs.plan.loader import parse_plan
from resources.git.repository import Repository
from resources.specs import RunSpec
from state.errors import PatchlineError, PreflightError
from state.home import Home
from state.store import StateStore


class RevisionDamaged(PatchlineError):
    """A plan revision is not what its hash says."""

    code = "revision_damaged"


def repository_of_run(home: Home, run: Any) -> Repository:
    """The repository that a run worked on.

    Raises:
        PreflightError: it is no longer where it was.
    """
    folder = Path(run.repo)
    if not folder.is_dir():
        raise PreflightError(
            f"{folder}, the repository of run {run.run_id}, is not there any more",
            hint="put it back where it was",
        )
    return Repository.open(folder, home.root)


def spec_of_run(store: StateStore, home: Home, run: Any) -> RunSpec:
    """The spec that a run follows, or followed. Reads only.

    Args:
        store: the state; it has the text of every revision that ever ran.
        home: where the revisions lie, byte for byte, unless somebody has cleared them away.
        run: the row of the run.

    Raises:
        PreflightError: the run was made without a plan.
        PlanError: its revision is no valid plan for this version of patchline.
        RevisionDamaged: nobody has the revision's text any more.
    """
    if run.phase_id is None:
        raise PreflightError(
            f"run {run.run_id} follows no plan, so nothing says what its patches must pass",
            hint="make the change with a new run",
        )
    phase = store.get("phase", run.phase_id)
    path = home.plans / phase.plan / f"{phase.sha256}.yaml"
    for read in (path.read_bytes, phase.document.encode):
        with suppress(OSError):
            data = read()
            if sha256(data).hexdigest() == phase.sha256:
                return run_spec(parse_plan(data, str(path)), Path(phase.source).parent)
    raise RevisionDamaged(
        f"the revision {phase.phase_id} is not what run {run.run_id} began with: neither "
        f"{path} nor the database has a text with its hash; restore that file from a copy"
    )
