"""Opening the state for commands that only read: they never make one."""

from collections.abc import Iterator
from contextlib import contextmanager

from state.home import Home
from state.store import StateStore


@contextmanager
def existing_store(home: Home) -> Iterator[StateStore | None]:
    """The store of a home for the duration of a block; None when nothing ever ran there."""
    from state.database import sqlite_path

    if not sqlite_path(home.database_url).exists():
        yield None
        return
    with StateStore.open(home.database_url, events=home.events) as store:
        yield store
