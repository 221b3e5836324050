"""A store in a temporary place, with a clock that stands still and ids that count.

Every test that asks for `world` or `store` runs on both backends.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from state.clock_and_ids import ManualClock, SequentialIds
from state.store import EVENT_FILE, StateStore
from tests import postgres
from tests.state.world import World

LONG = (
    "test_analytics",
    "test_bad_luck_",
    "test_enforcement_",
    "test_query_plans",
    "test_verification",
)
"""What the names of the files begin with whose tests take minutes together."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent and item.path.name.startswith(LONG):
            item.add_marker(pytest.mark.long)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'pipeline.db'}"
        return
    with postgres.database() as address:
        yield address


@pytest.fixture
def world(url: str, tmp_path: Path, clock: ManualClock) -> Iterator[World]:
    store = StateStore.open(url, clock=clock, ids=SequentialIds(), events=tmp_path / EVENT_FILE)
    with store:
        yield World(store, clock, tmp_path, url)


@pytest.fixture
def store(world: World) -> StateStore:
    return world.store
