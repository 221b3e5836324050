"""What the benchmarks share: what the figures depend on, how they are told, where they are kept.

A benchmark is a folder with a `run.py`, a README.md that has a place for its newest table, and
`results/` with every record that was kept. A record says when it was measured in `measured_at`.
"""

import json
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- results -->\n", "<!-- /results -->"
"""What the table stands between in README.md."""


def measured_at() -> str:
    """The time now, as a record has it: UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def machine() -> dict[str, Any]:
    """What figures depend on, whatever is measured. The load is the last minute's."""
    return {
        "system": platform.platform(),
        "cpus": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def spread(values: Iterable[float | None], digits: int) -> str:
    """`median (lowest-highest)`; the value alone if there is but one, a dash if there is none.

    Args:
        values: one for each repetition; None where nothing was measured.
        digits: behind the point.
    """
    found = [value for value in values if value is not None]
    if not found:
        return "-"
    middle = f"{statistics.median(found):,.{digits}f}"
    if len(found) == 1:
        return middle
    return f"{middle} ({min(found):,.{digits}f}-{max(found):,.{digits}f})"


def verdict_table(verdicts: Sequence[Mapping[str, Any]]) -> list[str]:
    """The Markdown lines that hold `what` was `measured` against what is `required`."""
    return [
        "| required | at least | measured | |",
        "| --- | ---: | ---: | --- |",
        *(
            f"| {one['what']} | {one['required']:,g} | {one['measured']:,.2f} |"
            f" {'yes' if one['met'] else 'no'} |"
            for one in verdicts
        ),
    ]


def keep(folder: Path, record: Mapping[str, Any], table: str) -> None:
    """Write a record to `results/` and its table into README.md; what it replaces is its own.

    Args:
        folder: of the benchmark.
        record: everything that was measured.
        table: the same as Markdown.
    """
    results = folder / "results"
    results.mkdir(exist_ok=True)
    name = record["measured_at"].replace("-", "").replace(":", "")
    (results / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")
    readme = folder / "README.md"
    head, rest = readme.read_text().split(BEGIN)
    _, tail = rest.split(END)
    readme.write_text(f"{head}{BEGIN}\n{table}\n\n{END}{tail}")
