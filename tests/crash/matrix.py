"""docs/CRASH_MATRIX.md: written by killing a command at every point.

`python -m tests.crash.matrix docs` takes a minute or two and writes the page anew; the tests kill
at each point again and compare its line.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.crash.arena import Arena
from tests.crash.crashing import Crash, Crashes
from tests.crash.points import Point, find_points

PAGE = "CRASH_MATRIX.md"
HEAD = """\
# Crash matrix

Written by `make crash-matrix`, which kills a process at every place in this table; do not edit.

A place is a call `crash_point("name", "what is on disk by then")` between two durable effects: a
kept transaction, a git object, a moved ref, a renamed file, a started process. For each of them the
tests in `tests/crash/` run a command, kill its process there with SIGKILL, and do what a person
would do: `patchline resume RUN`, or the same command again where there is no run to go on with.
(`resume` of a run that has ended clears up behind whatever died in it.) Afterwards

* every run, workstream, task, patch, gate, worker and sandbox has come to its end,
* the target has the very tree, and the ledger the very patches, of a command that nobody killed;
  no patch is lost and none is on two commits,
* the commits on branches and the ledger name each other, each commit has the tree that its gates
  passed on, and `git fsck --strict` finds nothing,
* the audit verifies, and the event files are the audit table line by line,
* no process, sandbox, lease, fence or scratch file is left.

The last column tells what became of what was half-way: the state at the kill, and the steps from
there. With `PATCHLINE_LONG_TESTS=1` each place is tried in every command that comes to it, and in
the first also at its second and last time; 300 kills at random moments come on top.

| place | what is on disk by then | killed in | what was half-way, and what became of it |
| --- | --- | --- | --- |
"""


def crash(crashes: Crashes, point: Point) -> Crash:
    """The crash that the page tells of."""
    name = str(point.name)
    return crashes.crash(name, crashes.first(name))


def row(point: Point, crash: Crash) -> str:
    """A point's line."""
    cells = (f"`{point.name}`<br/>{point.file}", point.between, crash.baseline.scenario.told)
    told = crash.told if crash.baseline.scenario.exact else "depends on the other threads"
    return f"| {' | '.join(map(str, cells))} | {told} |\n"


def page(rows: Iterable[str]) -> str:
    return HEAD + "".join(rows)


def write(folder: Path) -> None:
    """Kill at every point and write the page."""
    with tempfile.TemporaryDirectory(prefix="patchline-crash-") as scratch:
        crashes = Crashes(Arena(Path(scratch)))
        rows = [row(point, crash(crashes, point)) for point in find_points()]
    (folder / PAGE).write_text(page(rows), encoding="utf-8")


def show(name: str) -> None:
    """Kill at one point and print its line; what is there when it fails is kept."""
    (point,) = [point for point in find_points() if point.name == name]
    scratch = Path(tempfile.mkdtemp(prefix="patchline-crash-"))
    print(f"in {scratch}", file=sys.stderr)
    print(row(point, crash(Crashes(Arena(scratch)), point)), end="")
    shutil.rmtree(scratch)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--only"]:
        show(sys.argv[2])
    else:
        write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
