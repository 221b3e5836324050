"""A store in a temporary place, with a clock that stands still and ids that count.

Every test that asks for `world` or `store` runs on both backends.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from state.clock_and_ids import ManualClock, SequentialIds
from state.store import EVENT_FILE, StateStore
from tests import postgres
from tests.state.world import World


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


@pytest.fixture(scope="session")
def new_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file that a store has made and nothing was written to."""
    path = tmp_path_factory.mktemp("new") / "pipeline.db"
    StateStore.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def world(url: str, tmp_path: Path, clock: ManualClock, new_file: Path) -> Iterator[World]:
    if url.startswith("sqlite"):
        shutil.copy(new_file, tmp_path)  # making it anew takes as long as all else of a small test
    store = StateStore.open(url, clock=clock, ids=SequentialIds(), events=tmp_path / EVENT_FILE)
    with store:
        yield World(store, clock, tmp_path, url)


@pytest.fixture
def store(world: World) -> StateStore:
    return world.store
