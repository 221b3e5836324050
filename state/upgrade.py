"""Which schema a database has, and whether this patchline can work with it (design section 2).

Opening a store asks here. It is light on purpose: what alters a database, and Alembic with it, is
imported only by `upgrade` and `check`.
"""

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from state.errors import StoreUnavailableError
from state.schema import METADATA
from state.trigger_sql import PREFIX, trigger_statements

REVISIONS = ("0001", "0002", "0003", "0004")
"""Every revision in `state/migrations/versions`, oldest first."""

HEAD = REVISIONS[-1]
"""The revision whose schema the models describe."""

UNVERSIONED = "0001"
"""The revision of databases that were made before versions were kept."""

VERSIONS = sa.Table(
    "patchline_version",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="patchline_version_pkc"),
)
"""Where a database says which revision it has: one row, in the form that Alembic wants."""

_OURS = frozenset({"state_transitions", "patch_ledger_entries", "circuit_breakers"})
# Tables that tell a database of ours: Dagster's own has `runs` too.

_SQLITE_TRIGGERS = sa.text(
    "SELECT name FROM sqlite_master WHERE type = 'trigger' AND substr(name, 1, :length) = :prefix"
).bindparams(prefix=PREFIX, length=len(PREFIX))
_TRIGGERS = sa.text(
    "SELECT t.tgname, c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
    " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = current_schema()"
    " AND NOT t.tgisinternal AND left(t.tgname, :length) = :prefix"
).bindparams(prefix=PREFIX, length=len(PREFIX))
_TRIGGER_FUNCTIONS = sa.text(
    "SELECT p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
    " WHERE n.nspname = current_schema() AND p.prorettype = to_regtype('trigger')"
    " AND left(p.proname, :length) = :prefix"
).bindparams(prefix=PREFIX, length=len(PREFIX))


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What bringing a database up to date has done.

    `database` is its file or address (no password); `before` is None for a database that was empty;
    `revisions` were applied, in this order; `copy` is the SQLite file as it was, when there was
    anything to keep; `restored` names the triggers that were missing or changed in a database that
    needed no revision.
    """

    database: str
    before: str | None
    after: str
    revisions: tuple[str, ...] = ()
    copy: Path | None = None
    restored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference between a database and the schema it should have.

    `problem` is missing, extra or changed; `kind` says of what: table, column, primary key, foreign
    key, unique, check, index, trigger, rule, row security, sequence, setting, or the rows of a
    table; `expected` and `found` are definitions, None where there is none; `mend` says what to do.
    """

    problem: str
    kind: str
    name: str
    expected: str | None
    found: str | None
    mend: str


def place(connection: sa.Connection) -> str:
    """The database in words: the file, or the address without its password."""
    url = connection.engine.url
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.render_as_string(hide_password=True)


def version_of(connection: sa.Connection) -> str | None:
    """The revision a database is at; None when it holds no table at all.

    Raises:
        StoreUnavailableError: it is somebody else's database.
    """
    present = set(sa.inspect(connection).get_table_names())
    if VERSIONS.name in present:
        found = connection.execute(sa.select(VERSIONS.c.version_num)).scalar()
        if found is not None:
            return found
    tables = present - {VERSIONS.name}
    if not tables:
        return None
    if tables >= _OURS:
        return UNVERSIONED
    some = ", ".join(sorted(tables)[:5])
    raise StoreUnavailableError(
        f"The database {place(connection)} is not patchline's: it holds other tables ({some}). "
        "Give patchline one of its own: set PATCHLINE_HOME or PATCHLINE_DATABASE_URL."
    )


def require_version(connection: sa.Connection) -> None:
    """Refuse a database whose revision is not HEAD. Raises as `require_current`."""
    version = version_of(connection)
    if version == HEAD:
        return
    where = place(connection)
    if version is None:
        raise StoreUnavailableError(
            f"The database {where} is empty. Make its tables: patchline db upgrade."
        )
    refuse_newer(version, where)
    raise StoreUnavailableError(
        f"The database {where} has schema {version} and this patchline needs {HEAD}. "
        "End its runs, then bring it up to date: patchline db upgrade."
    )


def refuse_newer(version: str, where: str) -> None:
    """Refuse a revision that this patchline has never heard of. Raises as `require_current`."""
    if version not in REVISIONS:
        raise StoreUnavailableError(
            f"The database {where} has schema {version} and this patchline knows none after "
            f"{HEAD}: this patchline is older than the database. Upgrade patchline."
        )


def require_current(connection: sa.Connection) -> None:
    """Refuse a database that the store cannot work with.

    Raises:
        StoreUnavailableError: it is empty, older or newer than this patchline, somebody else's, or
            lacks tables; the message names the command to run.
    """
    require_version(connection)
    missing = METADATA.tables.keys() - set(sa.inspect(connection).get_table_names())
    if missing:
        raise StoreUnavailableError(
            f"The database {place(connection)} lacks our tables {', '.join(sorted(missing))}. "
            "Restore it from a copy; patchline db check says all that is wrong with it."
        )


def stamp(connection: sa.Connection, revision: str = HEAD) -> None:
    """Write down the revision of a database whose schema was made at once from the models."""
    VERSIONS.create(connection, checkfirst=True)
    connection.execute(VERSIONS.delete())
    connection.execute(VERSIONS.insert().values(version_num=revision))


def create(connection: sa.Connection) -> None:
    """Make the present schema in an empty database: tables, indexes, triggers, version.

    All of it in the caller's transaction.
    """
    METADATA.create_all(connection)
    install_triggers(connection)
    stamp(connection)


def install_triggers(connection: sa.Connection) -> None:
    """Put the triggers of the present state machines into a database that has none of ours."""
    postgres = connection.dialect.name == "postgresql"
    where = [connection.exec_driver_sql("SELECT current_schema()").scalar_one()] if postgres else []
    for statement in trigger_statements(connection.dialect.name, *where):
        run_literally(connection, statement)


def drop_triggers(connection: sa.Connection) -> None:
    """Take away all triggers of ours that are there, also those that other versions have made."""
    if connection.dialect.name == "sqlite":
        for name in connection.execute(_SQLITE_TRIGGERS).scalars():
            run_literally(connection, f'DROP TRIGGER "{name}"')
        return
    # By name first: one of ours may have been made to call another function than ours.
    for name, table in connection.execute(_TRIGGERS):
        run_literally(connection, f'DROP TRIGGER "{name}" ON "{table}"')
    for name in connection.execute(_TRIGGER_FUNCTIONS).scalars():
        run_literally(connection, f'DROP FUNCTION "{name}"() CASCADE')


def run_literally(connection: sa.Connection, statement: str) -> None:
    """Run SQL as it is written: `%` and `:` in the text of a trigger are no parameters."""
    connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


def upgrade(database_url: str) -> Upgrade:
    """Bring a database from nothing or any earlier revision to HEAD; twice is once.

    One transaction for each revision: one that fails leaves the database at the revision before.
    Two upgrades at once wait for each other. A SQLite file is copied before it is altered, to
    `<file>.before-<revision>`.

    Raises:
        StoreUnavailableError: it cannot be opened or written, is newer than this patchline, or is
            somebody else's.
        StoreUsageError: the address is not one, or names a kind of database we do not use.
    """
    from state.migrations import runner

    return runner.upgrade(database_url)


def check(database_url: str) -> list[Drift]:
    """What in a database differs from the models and triggers; empty when nothing does.

    So do rows that break the rules of their table, and settings that switch rules off. Nothing is
    written. On PostgreSQL the reference is made in a schema of its own inside a
    transaction that is rolled back, so the role must be allowed to create one.

    Raises:
        StoreUnavailableError: as `require_current`, but for missing tables, which are reported.
        StoreUsageError: the address is not one, or names a kind of database we do not use.
    """
    from state.migrations import drift

    return drift.check(database_url)
