"""Kills at any moment, again and again within one run: it ends as if nobody had been killed.

Every other run is killed at the so-many-th point that it passes, the others after a while of real
time: in the middle of a write, of git, of Dagster.
"""

import os
import random
import time
from collections.abc import Sequence

import pytest

from tests.crash.arena import Arena
from tests.crash.crashing import Baseline, Crashes, again
from tests.crash.scenarios import KILLED, named

KILLS_IN_A_RUN = 3
RUNS = 100 if os.environ.get("PATCHLINE_LONG_TESTS") == "1" else 4
SCENARIOS = ("`run`, everything at once", "`run`, two workstreams merged")
STARTING_SEC = 0.1


@pytest.mark.parametrize("seed", range(RUNS))
def test_a_run_that_is_killed_again_and_again_loses_nothing(crashes: Crashes, seed: int) -> None:
    luck = random.Random(seed)
    scenario = named(SCENARIOS[seed // 2 % 2])
    baseline = crashes.baseline(scenario)
    kills = 0
    while kills < KILLS_IN_A_RUN:
        words = scenario.begin(crashes.arena)
        kills += kill_again_and_again(
            crashes.arena, words, baseline, luck, KILLS_IN_A_RUN - kills, by_time=bool(seed % 2)
        )
        crashes.assert_as_undisturbed(baseline, crashes.take_up(words))


def kill_again_and_again(
    arena: Arena,
    words: Sequence[str],
    baseline: Baseline,
    luck: random.Random,
    wanted: int,
    *,
    by_time: bool,
) -> int:
    """Kill a command, and those that take it up, until it comes to its end; says how often."""
    for kills in range(wanted):
        asked = again(arena, words)
        if by_time:
            process = arena.start(asked)
            time.sleep(luck.uniform(STARTING_SEC, baseline.seconds / 2))
            process.kill()
            done = arena.ended(process)
        else:
            number = luck.randint(1, len(baseline.passed) // 2)
            done = arena.run(asked, armed=f"*:{number}")
        if done.code != KILLED:
            return kills
    return wanted
