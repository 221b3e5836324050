"""Writers killed with -9 wherever they happen to be: what they were told is kept, and once."""

import random

import pytest

from tests.forks import Companion
from tests.state.soundness import assert_sound, plain
from tests.state.world import World
from tests.state.writing_process import write

SEED = 20260102
ROUNDS, WRITERS = 5, 2  # on each of two backends: twenty kills
MOST_WORDS = 40


@pytest.mark.timeout(60)
def test_killed_writers_leave_a_sound_database_and_a_whole_event_file(world: World) -> None:
    chance = random.Random(SEED)
    told: list[tuple[str, str]] = []
    for _ in range(ROUNDS):
        writers = [Companion(write, *world.address, world.ws_id) for _ in range(WRITERS)]
        # One is killed while the other goes on; then the other.
        for writer in writers:
            told += [writer.hear() for _ in range(chance.randint(1, MOST_WORDS))]
            told += writer.killed()
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
