"""What the store costs: transitions, claims and verification, against raw SQL and against peers.

Every subject of the store runs right after its floor, the same SQL through sqlite3 or psycopg by
hand; subjects take turns, so that a busy machine hurts all of them alike. How fast the disk is
(fdatasync) is measured before each.

    python benchmarks/ssot/run.py

prints a table, writes `results/<UTC time>.json` next to this file and puts the table into
README.md. It exits with 1 when a required ratio is missed. To compare something else, add a
function to SUBJECTS (see `subjects.py`).
"""

import argparse
import platform
import sqlite3
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import places
import subjects
from judging import Verdict, judge
from places import Postgresql, Sqlite
from subjects import Bench, Cell, Measure, Sizes

from benchmarks.reporting import keep, machine, measured_at, spread, verdict_table

HERE = Path(__file__).resolve().parent
SUBJECTS: dict[str, tuple[str, Measure]] = {
    "transitions-sqlite": ("sqlite", subjects.lives),
    "transitions-postgresql": ("postgresql", subjects.lives),
    "claims-sqlite": ("sqlite", subjects.claims),
    "claims-postgresql": ("postgresql", subjects.claims),
    "procrastinate": ("postgresql", subjects.peer("procrastinate")),
    "pgqueuer": ("postgresql", subjects.peer("pgqueuer")),
    "dbos": ("postgresql", subjects.peer("dbos")),
    "verify-sqlite": ("sqlite", subjects.verification),
    "verify-postgresql": ("postgresql", subjects.verification),
}
PROCESSES = (1, 4, 8)
FULL = Sizes(lives=2000, claims=10_000, rows=1_000_000, processes=PROCESSES)
QUICK = Sizes(lives=200, claims=400, rows=50_000, processes=(1, 4))
PACKAGES = ("sqlalchemy", "psycopg", "procrastinate", "pgqueuer", "asyncpg", "dbos")


def repetition(bench: Bench, chosen: Iterable[str]) -> list[Cell]:
    """One turn of every subject, for each number of processes."""
    backends = {"sqlite": bench.sqlite, "postgresql": bench.postgresql}
    cells: list[Cell] = []
    for processes in bench.sizes.processes:
        for name in chosen:
            backend, measure = SUBJECTS[name]
            if measure is subjects.verification and processes > 1:
                continue
            for cell in measure(bench, backends[backend], processes):
                print(_progress(cell), file=sys.stderr, flush=True)
                cells.append(cell)
    return cells


def _progress(cell: Cell) -> str:
    share = f", {cell['of_floor']:.2f} of the floor" if "of_floor" in cell else ""
    return (
        f"{cell['subject']} {cell['backend']} x{cell['processes']}: {cell['per_s']:.0f}/s{share}"
        f" (disk {cell['fdatasync_per_s']:.0f}/s)"
    )


def table(record: dict[str, Any]) -> str:
    """The Markdown that goes into README.md."""
    about, repetitions = record["environment"], record["repetitions"]
    versions = ", ".join(f"{name} {said}" for name, said in about["versions"].items())
    disk = [cell["fdatasync_per_s"] for turn in repetitions for cell in turn]
    lines = [
        f"Measured {record['measured_at']}: {len(repetitions)} interleaved repetitions,"
        f" {about['cpus']} CPUs, load {about['load_before']} before; {versions}. fdatasync"
        f" {spread(disk, 0)} a second. Median (lowest-highest).",
        "",
        "| subject | database | processes | a second | floor a second | of the floor"
        " | claim p50 ms | p95 ms | enqueued a second |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    digits = {
        "per_s": 0,
        "floor_per_s": 0,
        "of_floor": 2,
        "p50_ms": 2,
        "p95_ms": 2,
        "enqueued_per_s": 0,
    }
    for places_of_cell in zip(*repetitions, strict=True):
        first = places_of_cell[0]
        cells = [
            spread([cell[key] for cell in places_of_cell if key in cell], places_after)
            for key, places_after in digits.items()
        ]
        what = f"| {first['subject']} | {first['backend']} | {first['processes']} | "
        lines.append(what + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *verdict_table(record["verdicts"])])


def environment(postgresql: Postgresql) -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "versions": {
            "Python": platform.python_version(),
            "SQLite": sqlite3.sqlite_version,
            "PostgreSQL": postgresql.version,
            **{name: version(name) for name in PACKAGES},
        },
        "postgresql": postgresql.settings,
        **machine(),
    }


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--subjects", nargs="+", choices=SUBJECTS, default=list(SUBJECTS))
    parser.add_argument("--processes", nargs="+", type=int, help=f"default {PROCESSES}")
    parser.add_argument("--lives", type=int, help="tasks taken through their four transitions")
    parser.add_argument("--claims", type=int, help="tasks or jobs claimed and finished")
    parser.add_argument("--rows", type=int, help="audit rows verified")
    parser.add_argument("--folder", type=Path, help="on the disk to use; default: temporary files")
    parser.add_argument("--quick", action="store_true", help="a short look; records nothing")
    parser.add_argument("--no-record", action="store_true", help="leave results and README alone")
    return parser.parse_args()


def sizes(options: argparse.Namespace) -> Sizes:
    """How much of everything was asked for."""
    usual = QUICK if options.quick else FULL
    return Sizes(
        options.lives or usual.lives,
        options.claims or usual.claims,
        options.rows or usual.rows,
        tuple(options.processes or usual.processes),
    )


def main() -> int:
    """Measure, record, and judge: 0 when every required ratio that was measured is reached."""
    options = arguments()
    places_used: tuple[Sqlite, Postgresql] = places.opened(options.folder)
    wanted = sizes(options)
    bench = Bench(*places_used, wanted, {})
    turns = 1 if options.quick else options.repetitions
    record: dict[str, Any] = {
        "measured_at": measured_at(),
        "sizes": vars(wanted),
        "environment": environment(places_used[1]),
        "repetitions": [],
    }
    verdicts: list[Verdict] = []
    for _ in range(turns):
        record["repetitions"].append(repetition(bench, options.subjects))
        verdicts = judge(record["repetitions"])
        record["verdicts"] = [vars(one) | {"met": one.met} for one in verdicts]
        if not (options.no_record or options.quick):  # each turn takes long, and may be the last
            keep(HERE, record, table(record))
    print(table(record))
    missed = [one for one in verdicts if not one.met]
    for one in missed:
        print(f"missed: {one.what}: {one.measured:.2f} < {one.required:g}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
