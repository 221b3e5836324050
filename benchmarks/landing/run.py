"""How fast patches land: patchline against a bare loop of git, and against mergetrain.

Every subject does the same patches on a fresh copy of the same repository; subjects take turns, so
that a busy machine hurts all of them alike.

    python benchmarks/landing/run.py

prints a table, writes `results/<UTC time>.json` next to this file and puts the table into
README.md. It exits with 1 when a required ratio is missed. To compare something else, add to
SUBJECTS a function `(case, empty folder) -> wall seconds` (see `subjects.py`).
"""

import argparse
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import subjects
from cases import Case

from benchmarks.reporting import keep, machine, measured_at, spread, verdict_table

HERE = Path(__file__).resolve().parent
SUBJECTS: dict[str, subjects.Subject] = {
    "floor": subjects.floor,
    "patchline": subjects.patchline,
    "mergetrain ordered": subjects.mergetrain("ordered"),
    "mergetrain batch": subjects.mergetrain("batch"),
}
GATES = (("true",), ("sleep", "0.2"))
FULL = tuple(
    Case(files, patches, gate)
    for gate in GATES
    for files in (300, 5000)
    for patches in (20, 100, 500)
)
REQUIRED_PER_S, REQUIRED_OF_FLOOR, REQUIRED_OF_LARGE_FLOOR = 15.0, 0.5, 0.4
SLOW_SEC = 600.0
"""A case that would take a subject longer, by what it took before, is left out, and named."""


def measure(cases: Iterable[Case], chosen: Iterable[str], longest: float) -> list[dict[str, Any]]:
    """One turn of every subject for each case."""
    cells: list[dict[str, Any]] = []
    seconds_each: dict[str, float] = {}
    for case in cases:
        for name in chosen:
            expected = seconds_each.get(name, 0.0) * case.patches
            if expected > longest:
                print(f"{name}, {case.name}: left out, about {expected:.0f} s", file=sys.stderr)
                continue
            with tempfile.TemporaryDirectory(prefix="patchline-bench-") as folder:
                seconds = SUBJECTS[name](case, Path(folder))
            seconds_each[name] = seconds / case.patches
            rate = case.patches / seconds
            print(f"{name}, {case.name}: {rate:.1f}/s", file=sys.stderr, flush=True)
            cells.append({"subject": name, **vars(case), "seconds": seconds, "per_s": rate})
    return cells


def rates(turns: list[list[dict[str, Any]]], name: str, case: Case) -> list[float | None]:
    """Patches a second of a subject, one value for each repetition."""
    wanted = {"subject": name, **vars(case)}
    return [next((c["per_s"] for c in turn if wanted.items() <= c.items()), None) for turn in turns]


def shares(one: list[float | None], other: list[float | None]) -> list[float | None]:
    """How many times as fast, repetition by repetition."""
    return [a / b if a and b else None for a, b in zip(one, other, strict=True)]


def verdicts(turns: list[list[dict[str, Any]]], cases: Iterable[Case]) -> list[dict[str, Any]]:
    """What is required, what was measured (medians), and whether that is enough."""
    found: list[dict[str, Any]] = []

    def judge(what: str, required: float, values: Iterable[float | None]) -> None:
        known = [value for value in values if value is not None]
        if known:
            middle = statistics.median(known)
            met = middle >= required
            found.append({"what": what, "required": required, "measured": middle, "met": met})

    for case in cases:
        ours, floor = rates(turns, "patchline", case), rates(turns, "floor", case)
        of_floor = shares(ours, floor)
        if case.gate == ("true",) and case.files <= 300:
            known = [value for value in floor if value is not None]
            half = REQUIRED_OF_FLOOR * statistics.median(known) if known else REQUIRED_PER_S
            judge(f"patches a second, {case.name}", min(REQUIRED_PER_S, half), ours)
        elif case.files > 300:
            judge(f"of the floor, {case.name}", REQUIRED_OF_LARGE_FLOOR, of_floor)
        peer = rates(turns, "mergetrain ordered", case)
        judge(f"times mergetrain ordered, {case.name}", 1.0, shares(ours, peer))
    return found


def table(record: dict[str, Any], cases: tuple[Case, ...]) -> str:
    """The Markdown that goes into README.md."""
    about, turns = record["environment"], record["repetitions"]
    versions = ", ".join(f"{name} {said}" for name, said in about["versions"].items())
    lines = [
        f"Measured {record['measured_at']}: {len(turns)} interleaved repetitions, {about['cpus']}"
        f" CPUs, load {about['load_before']} before; {versions}. Median (lowest-highest).",
        "",
        "| files | patches | gate | floor a second | patchline a second | of the floor"
        " | mergetrain ordered | times that | mergetrain batch |",
        "| ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for case in cases:
        floor, ours, ordered, batch = (rates(turns, name, case) for name in SUBJECTS)
        cells = (
            *(str(case.files), str(case.patches), f"`{' '.join(case.gate)}`", spread(floor, 1)),
            *(spread(ours, 1), spread(shares(ours, floor), 2), spread(ordered, 2)),
            *(spread(shares(ours, ordered), 1), spread(batch, 1)),
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *verdict_table(record["verdicts"])]
    return "\n".join(lines)


def environment() -> dict[str, Any]:
    """What the figures depend on."""
    git = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True).stdout
    return {
        "versions": {
            "Python": platform.python_version(),
            "git": git.split()[-1],
            "mergetrain": version("mergetrain"),
        },
        **machine(),
    }


def main() -> int:
    """Measure, record, and judge: 0 when every required ratio that was measured is reached."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--subjects", nargs="+", choices=SUBJECTS, default=list(SUBJECTS))
    parser.add_argument("--files", type=int, nargs="+", help="only these sizes")
    parser.add_argument("--patches", type=int, nargs="+", help="only so many")
    parser.add_argument("--longest", type=float, default=SLOW_SEC, help="seconds of a case")
    parser.add_argument("--no-record", action="store_true", help="leave results and README alone")
    options = parser.parse_args()
    cases = tuple(
        case
        for case in FULL
        if case.files in (options.files or [case.files])
        and case.patches in (options.patches or [case.patches])
    )
    record: dict[str, Any] = {
        "measured_at": measured_at(),
        "environment": environment(),
        "repetitions": [
            measure(cases, options.subjects, options.longest) for _ in range(options.repetitions)
        ],
    }
    record["verdicts"] = verdicts(record["repetitions"], cases)
    print(table(record, cases))
    if not options.no_record:
        keep(HERE, record, table(record, cases))
    return 1 if any(not one["met"] for one in record["verdicts"]) else 0


if __name__ == "__main__":
    sys.exit(main())
