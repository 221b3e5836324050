"""Plan revisions: write-once copies of plan files, named by the hash of their content.

`plans/<plan>/<sha256>.yaml` is the file as it was read, byte for byte; `plans/<plan>/current.json`
names the revision that the plan's jobs are built from and the file that it came from. A run keeps
to its revision, whatever happens to the plan file meanwhile. Source: design section 3.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline_defs.plan.loader import LoadedPlan, parse_plan
from pipeline_defs.plan.model import Plan
from state.crash_points import crash_point
from state.errors import PlanError
from state.home import Home
from state.whole_files import write_whole

PHASE_HASH_LENGTH = 12


@dataclass(frozen=True)
class Revision:
    """One immutable version of a plan.

    Attributes:
        plan: the plan.
        sha256: hash of the revision's bytes.
        path: the write-once copy.
        source: the plan file it was registered from.
    """

    plan: Plan
    sha256: str
    path: Path
    source: Path

    @property
    def phase_id(self) -> str:
        """`<plan>@<first 12 of sha256>` (design section 6)."""
        return f"{self.plan.plan}@{self.sha256[:PHASE_HASH_LENGTH]}"


def register(home: Home, loaded: LoadedPlan) -> Revision:
    """Keep a loaded plan as a revision and make it the plan's current one. Idempotent."""
    home.create()
    folder = home.plans / loaded.plan.plan
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{loaded.sha256}.yaml"
    if not path.exists():
        write_whole(path, loaded.data)
    crash_point("revision-kept", "a revision of the plan is on disk; the plan does not name it")
    source = Path(loaded.path).absolute()
    pointer = json.dumps({"sha256": loaded.sha256, "source": str(source)}, indent=2).encode()
    current = folder / "current.json"
    if not current.exists() or current.read_bytes() != pointer:
        write_whole(current, pointer)
    return Revision(loaded.plan, loaded.sha256, path, source)


def current_revisions(home: Home) -> Iterator[Revision | PlanError]:
    """The current revision of every registered plan, or why it cannot be read, in name order."""
    for pointer in sorted(home.plans.glob("*/current.json")):
        try:
            named = json.loads(pointer.read_bytes())
            yield open_revision(pointer.with_name(f"{named['sha256']}.yaml"), named["source"])
        except PlanError as error:
            yield error


def open_revision(path: Path, source: str | Path) -> Revision:
    """Read a revision back.

    Raises:
        PlanError: its content is no valid plan (it was valid for an older version, say).
    """
    data = path.read_bytes()
    return Revision(parse_plan(data, str(path)), path.stem, path, Path(source))
