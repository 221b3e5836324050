"""A PostgreSQL server that is restarted, and crashed, while eight threads work: nothing is lost."""

from pathlib import Path

import pytest

from state.clock_and_ids import ManualClock
from state.store import EVENT_FILE, StateStore
from tests.state.load import Load, assert_nothing_lost_and_nothing_twice
from tests.state.private_postgres import private_server
from tests.state.soundness import assert_sound
from tests.state.world import World

ROUNDS = 5


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_restarts_under_load_lose_nothing_and_do_nothing_twice(tmp_path: Path, mode: str) -> None:
    with private_server() as server:
        store = StateStore.open(server.url, events=tmp_path / EVENT_FILE)
        with store:
            load = Load(world := World(store, ManualClock(), tmp_path, server.url))

            def restart_again_and_again() -> None:
                for _ in range(ROUNDS):
                    load.work_until(load.done + 12)
                    server.restart(mode)

            tally = load.during(restart_again_and_again)
        assert_nothing_lost_and_nothing_twice(world, tally)
        assert_sound(server.url, store.events.path)
