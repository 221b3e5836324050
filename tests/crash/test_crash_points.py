"""Whatever happens between two durable effects: a process that is killed there loses nothing."""

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.crash.crashing import Crashes
from tests.crash.matrix import HEAD, PAGE, crash, row
from tests.crash.points import Point, find_points
from tests.crash.scenarios import SCENARIOS, Scenario

POINTS = find_points()
WRITTEN = Path(__file__).parents[2] / "docs" / PAGE
MEND = f"docs/{PAGE} is out of date: run `make crash-matrix` and commit it"
LONG = os.environ.get("PATCHLINE_LONG_TESTS") == "1"
LEFT_OUT = pytest.param(
    None,
    id="left-out",
    marks=pytest.mark.skip(
        "kills several times more at every point; set PATCHLINE_LONG_TESTS=1 to run it"
    ),
)
IF_LONG = POINTS if LONG else [LEFT_OUT]


def name_of(point: Point) -> str | None:
    return point.name


def told(scenario: Scenario | None) -> str | None:
    return scenario and scenario.told


def test_every_point_has_a_name_of_its_own_and_says_what_is_on_disk() -> None:
    unnamed = [point for point in POINTS if point.name is None or not point.between]
    names = Counter(point.name for point in POINTS)

    assert unnamed == [], "both arguments of crash_point are literal strings"
    assert [name for name, count in names.items() if count > 1] == []


def test_the_page_has_a_line_for_every_point_and_no_other() -> None:
    lines = WRITTEN.read_text(encoding="utf-8").removeprefix(HEAD).splitlines()

    assert [line.split("`", 2)[1] for line in lines] == [point.name for point in POINTS], MEND


@pytest.mark.parametrize("point", POINTS, ids=name_of)
def test_a_process_killed_there_loses_nothing(crashes: Crashes, point: Point) -> None:
    line = row(point, crash(crashes, point))

    assert line in WRITTEN.read_text(encoding="utf-8"), MEND


@pytest.mark.parametrize("point", IF_LONG, ids=name_of)
def test_nor_at_its_second_or_last_time(crashes: Crashes, point: Point) -> None:
    name = str(point.name)
    baseline = crashes.first(name)
    times = baseline.passed.count(name)

    for nth in {2, times} & {*range(2, times + 1)}:
        crashes.crash(name, baseline, nth)


@pytest.mark.parametrize(
    "scenario", SCENARIOS if LONG else [None], ids=lambda one: one.told if one else "none"
)
@pytest.mark.parametrize("point", IF_LONG, ids=name_of)
def test_nor_in_any_other_command(crashes: Crashes, point: Point, scenario: Scenario) -> None:
    name = str(point.name)
    baseline = crashes.baseline(scenario)

    if name in baseline.points and baseline is not crashes.first(name):
        crashes.crash(name, baseline)
