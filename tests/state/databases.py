"""Empty databases of both kinds, for tests of the schema itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from tests import postgres


def address(engine: sa.Engine) -> str:
    """The address of its database, as a user writes it."""
    return engine.url.render_as_string(hide_password=False)


@contextmanager
def empty_postgres() -> Iterator[sa.Engine]:
    """A new database on the tests' server, without any table."""
    with postgres.database("template0") as url:
        engine = sa.create_engine(url, poolclass=NullPool)
        try:
            yield engine
        finally:
            engine.dispose()


@contextmanager
def empty_sqlite(folder: Path) -> Iterator[sa.Engine]:
    """The file `pipeline.db` of the folder, which is not there yet."""
    engine = sa.create_engine(f"sqlite:///{folder / 'pipeline.db'}", poolclass=NullPool)
    yield engine
    engine.dispose()
