"""A store in a temporary folder, with a clock that stands still and ids that count."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from state.clock_and_ids import ManualClock, SequentialIds
from state.store import StateStore
from tests.state.world import World


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def world(tmp_path: Path, clock: ManualClock) -> Iterator[World]:
    store = StateStore.open(
        f"sqlite:///{tmp_path / 'pipeline.db'}", clock=clock, ids=SequentialIds()
    )
    with store:
        yield World(store, clock, tmp_path)


@pytest.fixture
def store(world: World) -> StateStore:
    return world.store
