"""A row that somebody put into the history past the store holds nobody up."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from state.errors import HistoryDamagedError, StoreUsageError
from state.event_export import export_events, select_events
from state.event_follow import EventFollower, follow
from state.event_repair import repair
from state.event_rows import read_records
from state.schema import state_transitions
from state.store import StateStore
from state.trigger_sql import drop_statements
from tests.state.event_series import lines_of, table
from tests.state.world import World

DAMAGE = {
    "no JSON": "metadata = '{'",
    "a list": "metadata = '[1]'",
    "a number": "metadata = '12'",
    "bytes for JSON": "metadata = x'00ff'",
    "no number of JSON": """metadata = '{"a":1e400}'""",
    "no number at all": """metadata = '{"a":NaN}'""",
    "endless": f"metadata = '{'[' * 100_000}'",
    "bytes for text": "reason = x'ff00'",
    "no UTF-8": "reason = CAST(x'ff41' AS TEXT)",
    "text for a number": "entity_version = 'x'",
}


POSTGRESQL_TAKES = ("a list", "a number", "no number of JSON")
EACH = [
    *(("sqlite", name) for name in DAMAGE),
    *(("postgresql", name) for name in POSTGRESQL_TAKES),
]
with_each = pytest.mark.parametrize(("url", "damaged"), EACH, indirect=True)


def tamper(world: World, *statements: str) -> None:
    """Run SQL as somebody would who took the triggers away first; each must change a row."""
    engine = sa.create_engine(world.url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        for statement in drop_statements(engine.dialect.name):
            connection.exec_driver_sql(statement)
        for statement in statements:
            assert connection.exec_driver_sql(statement).rowcount != 0, statement
    engine.dispose()


@pytest.fixture
def damaged(world: World, request: pytest.FixtureRequest) -> World:
    """A store with six rows, the fourth of which nobody can read, and no event file."""
    for _ in range(4):
        world.make("worker")
    tamper(world, f"UPDATE state_transitions SET {DAMAGE[request.param]} WHERE transition_id = 4")
    world.store.events.path.unlink()
    return world


@with_each
def test_changes_are_kept_and_the_file_ends_before_the_row(
    damaged: World, caplog: pytest.LogCaptureFixture
) -> None:
    store = damaged.store
    worker = damaged.make("worker")
    store.transition("worker", worker, "idle")
    assert store.get("worker", worker).state == "idle"
    assert [event["entity_type"] for event in lines_of(store.events.path)] == [
        *("run", "workstream", "worker")
    ]
    assert "lags behind" in caplog.text
    assert "audit row 4" in caplog.text
    assert "patchline audit verify" in caplog.text


@with_each
def test_the_store_closes_and_opens(damaged: World, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        damaged.store.close()
        assert "audit row 4" in caplog.text
        caplog.clear()
        with damaged.open() as store:
            assert len(store.find("worker")) == 4
    assert "audit row 4" in caplog.text


@with_each
def test_readers_are_told_which_row_it_is(damaged: World) -> None:
    store = damaged.store
    reading: list[Callable[[], object]] = [
        lambda: list(export_events(store, select_events(store))),
        lambda: repair(store.events),
        lambda: records(store),
    ]
    for read in reading:
        with pytest.raises(HistoryDamagedError, match=r"audit row 4 .* patchline audit verify"):
            read()
    assert len(list(export_events(store, select_events(store, since="4")))) == 2


@with_each
def test_an_export_gives_what_comes_before(damaged: World) -> None:
    found = export_events(damaged.store, select_events(damaged.store))
    assert [next(found)["entity_type"] for _ in range(3)] == ["run", "workstream", "worker"]
    with pytest.raises(HistoryDamagedError):
        next(found)


@with_each
def test_the_file_goes_on_once_the_row_is_put_right(damaged: World) -> None:
    tamper(
        damaged,
        "UPDATE state_transitions SET metadata = '{}', reason = NULL, entity_version = 1"
        " WHERE transition_id = 4",
    )
    damaged.make("worker")
    assert lines_of(damaged.store.events.path) == table(damaged.store)


def records(store: StateStore) -> object:
    with store.reading() as connection:
        return read_records(connection, sa.select(state_transitions))


# Lines of the file


@pytest.mark.parametrize("line", [b"x", b"{}", b"[]", b'"x"', b'{"event_id":7}', b"\xff"])
def test_a_follower_says_where_a_file_is_damaged_and_goes_on_once_it_is_mended(
    world: World, line: bytes
) -> None:
    for _ in range(3):
        world.make("worker")
    path = world.store.events.path
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], line + b"\n", *lines[3:]]))
    place = len(lines[0] + lines[1])
    seen: list[dict[str, Any]] = []
    with EventFollower(path) as follower:
        for _ in range(2):
            with pytest.raises(StoreUsageError, match=rf"byte {place} of .*db repair-events"):
                seen.extend(follower.read())
        assert seen == table(world.store)[:2]
        assert repair(world.store.events) == [path]
        assert [*seen, *follower.read()] == table(world.store)
    assert list(follow(path)) == table(world.store)


@pytest.mark.parametrize("event_id", ["evt_\\ud800", "evt_\\u0000"])
def test_an_event_id_that_no_database_holds_is_not_of_this_one(world: World, event_id: str) -> None:
    path = world.store.events.path
    path.write_text('{"event_id":"' + event_id + '"}\n')
    world.make("worker")
    assert lines_of(path) == table(world.store)
