"""The store of a home, for commands that read it: nothing is made, and damage is an error."""

from collections.abc import Generator
from contextlib import contextmanager
from json import JSONDecodeError

from state.checkpoints import refuse_damaged
from state.database import parse_url, sqlite_path
from state.errors import HistoryDamagedError, PreflightError
from state.home import Home
from state.raw_history import damage_told
from state.store import StateStore


@contextmanager
def existing_store(home: Home) -> Generator[StateStore | None]:
    """The store of a home for the duration of a block; None when nothing ever ran there.

    Raises:
        HistoryDamagedError: the block has read something that the store has never written.
    """
    url = parse_url(home.database_url)
    if url.get_backend_name() == "sqlite" and not sqlite_path(url).exists():
        yield None
        return
    with StateStore.open(home.database_url, events=home.events) as store:
        try:
            with damage_told(store, refuse_damaged):
                yield store
        except (JSONDecodeError, UnicodeDecodeError) as error:
            raise HistoryDamagedError(
                f"The database {store.database.name} has something else in the place of JSON: "
                f"{error}."
            ) from error


@contextmanager
def required_store(home: Home) -> Generator[StateStore]:
    """The store of a home that has one; see `existing_store`.

    Raises:
        PreflightError: there is none.
    """
    with existing_store(home) as store:
        if store is None:
            raise PreflightError(
                f"there is no database {sqlite_path(parse_url(home.database_url))}: nothing has "
                "run in this home yet",
                hint="set PATCHLINE_HOME to the home that you mean, or run a plan first",
            )
        yield store
