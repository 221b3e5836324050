"""Writers killed with -9 wherever they happen to be: what they were told is kept, and once."""

import random
import signal
from contextlib import suppress

import pytest

from tests.forks import FORKS
from tests.state.soundness import assert_sound, plain
from tests.state.world import World
from tests.state.writing_process import write

SEED = 20260102
ROUNDS, WRITERS = 5, 2  # on each of two backends: twenty kills
MOST_WORDS = 40


class Writer:
    """A process that writes until it is killed."""

    def __init__(self, world: World) -> None:
        self._hears, theirs = FORKS.Pipe(duplex=False)
        self._process = FORKS.Process(target=write, args=(*world.address, world.ws_id, theirs))
        self._process.start()
        theirs.close()

    def killed_after(self, words: int) -> list[tuple[str, str]]:
        """Kill it in whatever it is doing after so many words; all that it has told."""
        with self._hears:
            told = [self._hears.recv() for _ in range(words)]
            self._process.kill()
            # It ends in mid-word (OSError) or between words.
            with suppress(EOFError, OSError):
                while True:
                    told.append(self._hears.recv())
        self._process.join()
        assert self._process.exitcode == -signal.SIGKILL
        return told


@pytest.mark.timeout(60)
def test_killed_writers_leave_a_sound_database_and_a_whole_event_file(world: World) -> None:
    chance = random.Random(SEED)
    told: list[tuple[str, str]] = []
    for _ in range(ROUNDS):
        writers = [Writer(world) for _ in range(WRITERS)]
        # One is killed while the other goes on; then the other.
        for writer in writers:
            told += writer.killed_after(chance.randint(1, MOST_WORDS))
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
