"""A store in a temporary place, with a clock that stands still and ids that count.

Every test that asks for `world` or `store` runs on both backends.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from state.clock_and_ids import ManualClock, SequentialIds
from state.store import EVENT_FILE, StateStore
from tests import postgres
from tests.new_databases import new_database
from tests.state.databases import empty_postgres, empty_sqlite
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


@pytest.fixture
def world(url: str, tmp_path: Path, clock: ManualClock) -> Iterator[World]:
    if url.startswith("sqlite"):
        new_database(tmp_path / "pipeline.db")
    store = StateStore.open(url, clock=clock, ids=SequentialIds(), events=tmp_path / EVENT_FILE)
    with store:
        yield World(store, clock, tmp_path, url)


@pytest.fixture
def store(world: World) -> StateStore:
    return world.store


@pytest.fixture(name="postgres")
def empty_postgres_database() -> Iterator[sa.Engine]:
    """A PostgreSQL database without any table."""
    with empty_postgres() as engine:
        yield engine


@pytest.fixture(name="sqlite")
def empty_sqlite_file(tmp_path: Path) -> Iterator[sa.Engine]:
    """A SQLite file, `pipeline.db`, that is not there yet."""
    with empty_sqlite(tmp_path) as engine:
        yield engine


@pytest.fixture(params=["sqlite", "postgres"])
def empty(request: pytest.FixtureRequest) -> sa.Engine:
    """An empty database of each kind."""
    return request.getfixturevalue(request.param)
