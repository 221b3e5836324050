"""Writers killed with -9 wherever they happen to be: what they were told is kept, and once."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.state.soundness import assert_sound, plain
from tests.state.world import World

ROOT = Path(__file__).parents[2]
SEED = 20260102
ROUNDS, WRITERS = 5, 2  # on each of two backends: twenty kills
MOST_LINES = 40


def writer(world: World) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.state.writing_process", *world.address, world.ws_id],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def killed_after(process: subprocess.Popen[str], lines: int) -> list[tuple[str, str]]:
    """Let it write so many lines, kill it in whatever it is doing then; all that it has told."""
    assert process.stdout is not None
    with process:
        told = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        told += process.stdout.readlines()
    whole = [line.split() for line in told if line.endswith("\n")]
    return [(state, task) for state, task in whole]


@pytest.mark.timeout(60)
def test_killed_writers_leave_a_sound_database_and_a_whole_event_file(world: World) -> None:
    chance = random.Random(SEED)
    told: list[tuple[str, str]] = []
    for _ in range(ROUNDS):
        processes = [writer(world) for _ in range(WRITERS)]
        # One is killed while the other goes on; then the other.
        for process in processes:
            told += killed_after(process, chance.randint(1, MOST_LINES))
        with world.open() as store:
            rows = assert_sound(world.url, store.events.path)
    assert rows > ROUNDS * WRITERS
    with plain(world.url) as connection:
        query = "SELECT to_state, entity_id FROM state_transitions WHERE entity_type = 'task'"
        kept = connection.execute(query).fetchall()
    assert len(kept) == len(set(kept))
    assert len(told) == len(set(told))
    assert set(told) <= set(kept)
    # At most one transaction of each writer was kept without its having heard of it.
    assert len(kept) - len(told) <= ROUNDS * WRITERS
