"""Empty databases of both kinds, for tests of the schema itself."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from tests import postgres


def address(engine: sa.Engine) -> str:
    """The address of its database, as a user writes it."""
    return engine.url.render_as_string(hide_password=False)


@contextmanager
def empty_postgres() -> Iterator[sa.Engine]:
    """A new database on the tests' server, without any table."""
    name = f"empty_{uuid.uuid4().hex}"
    server = make_url(postgres.server().get_uri()).set(drivername="postgresql+psycopg")
    admin = sa.create_engine(server, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE template0")
    engine = sa.create_engine(server.set(database=name), poolclass=NullPool)
    try:
        yield engine
    finally:
        engine.dispose()
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def empty_sqlite(folder: Path) -> Iterator[sa.Engine]:
    """The file `pipeline.db` of the folder, which is not there yet."""
    engine = sa.create_engine(f"sqlite:///{folder / 'pipeline.db'}", poolclass=NullPool)
    yield engine
    engine.dispose()
