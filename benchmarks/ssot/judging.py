"""What is required of the figures (ratios within one run), and whether it was reached."""

import statistics
from dataclasses import dataclass
from typing import Any

SINGLE_OF_FLOOR = 0.6
BATCHED_OF_FLOOR = 0.5
FOUR_PROCESSES_TIMES_ONE = 2.5
CLAIMS_TIMES_PROCRASTINATE = 1.0
VERIFIED_PER_SEC = 60_000.0
_PEER_OF_CLAIMS = ("procrastinate", "postgresql")  # it knows no other database
Cell = dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """A requirement and the figure it is held against."""

    what: str
    required: float
    measured: float

    @property
    def met(self) -> bool:
        """Whether it was reached."""
        return self.measured >= self.required


def judge(repetitions: list[list[Cell]]) -> list[Verdict]:
    """Every requirement of which the figures were measured; medians over the repetitions."""
    figures = _Figures(repetitions)
    verdicts: list[Verdict] = []
    for name, required in (("single", SINGLE_OF_FLOOR), ("batched", BATCHED_OF_FLOOR)):
        for backend in ("sqlite", "postgresql"):
            found = figures.median("of_floor", name, backend, 1)
            what = f"{name} transitions on {backend}, of the floor"
            verdicts += _verdict(what, required, found)
    scaling = figures.ratio(("single", "postgresql", 4), ("single", "postgresql", 1))
    what = "single transitions on postgresql, 4 processes, times one process"
    verdicts += _verdict(what, FOUR_PROCESSES_TIMES_ONE, scaling)
    for backend in ("sqlite", "postgresql"):
        for processes in figures.processes:
            ours, theirs = ("claims", backend, processes), _PEER_OF_CLAIMS
            found = figures.ratio(ours, (*theirs, processes))
            what = f"claimed and finished on {backend}, times procrastinate, processes: {processes}"
            verdicts += _verdict(what, CLAIMS_TIMES_PROCRASTINATE, found)
    for backend in ("sqlite", "postgresql"):
        found = figures.median("per_s", "verify", backend, 1)
        verdicts += _verdict(f"rows verified a second on {backend}", VERIFIED_PER_SEC, found)
    return verdicts


def _verdict(what: str, required: float, measured: float | None) -> list[Verdict]:
    return [] if measured is None else [Verdict(what, required, measured)]


class _Figures:
    """Cells by what they are of."""

    def __init__(self, repetitions: list[list[Cell]]) -> None:
        self._turns = [
            {(cell["subject"], cell["backend"], cell["processes"]): cell for cell in turn}
            for turn in repetitions
        ]
        self.processes = sorted({key[2] for turn in self._turns for key in turn})

    def median(self, figure: str, *key: Any) -> float | None:
        """Of a figure over the repetitions; None when it was not measured."""
        found = [turn[key][figure] for turn in self._turns if key in turn]
        return statistics.median(found) if found else None

    def ratio(self, one: tuple[Any, ...], other: tuple[Any, ...]) -> float | None:
        """Of the rates of two cells, each in its own repetition; None when one is missing."""
        found = [
            turn[one]["per_s"] / turn[other]["per_s"]
            for turn in self._turns
            if one in turn and other in turn
        ]
        return statistics.median(found) if found else None
