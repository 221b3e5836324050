"""A driver's connection on which SQLAlchemy statements run at the driver's own speed.

SQLAlchemy says what the SQL is; it is compiled once for each shape and then handed to the driver as
it is. Executing through SQLAlchemy costs several times what SQLite itself needs for a row, and the
store does it a dozen times in every step of a task.
"""

from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, Protocol

from sqlalchemy import JSON, Boolean, ColumnElement, Dialect, Executable
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

from state.canonical import canonical_json

_Convert = Callable[[Any], Any] | None


class Row(Protocol):
    """A row: attributes by column name, values in the order of the columns."""

    def __getattr__(self, name: str, /) -> Any: ...

    def __iter__(self) -> Iterator[Any]: ...


def as_dict(row: Row) -> dict[str, Any]:
    """A row as a plain dictionary by column name."""
    return row._asdict()


class Prepared:
    """A statement compiled for one dialect and one set of given columns."""

    __slots__ = ("_constants", "_decoders", "_encoders", "_make", "_pick", "sql")

    def __init__(self, statement: Any, names: Sequence[str], dialect: Dialect) -> None:
        compiled: SQLCompiler = statement.compile(dialect=dialect, column_keys=list(names))
        self.sql = str(compiled)
        order = list(compiled.positiontup or ())
        every = compiled.construct_params(dict.fromkeys(names))
        self._constants = {name: every[name] for name in order if name not in names}
        self._encoders = [
            (place, encode)
            for place, name in enumerate(order)
            if name in names and (encode := _encoder(compiled.binds[name].type, dialect))
        ]
        self._pick = _picker(order)
        columns: list[ColumnElement[Any]] = list(getattr(statement, "exported_columns", ()))
        # Column names are ours: none begins with an underscore or is a word of Python's.
        self._make = _row_type(str(column.key) for column in columns)
        self._decoders = [
            (place, decode)
            for place, column in enumerate(columns)
            if (decode := _decoder(column.type, dialect)) is not None
        ]

    def bind(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        """The parameters as the driver takes them, in order."""
        bound = self._pick({**values, **self._constants} if self._constants else values)
        if not self._encoders:
            return bound
        cells = list(bound)
        for place, encode in self._encoders:
            cells[place] = encode(cells[place])
        return tuple(cells)

    def row(self, raw: Sequence[Any]) -> Any:
        """What the driver gave, as a row."""
        if not self._decoders:
            return self._make(raw)
        cells = list(raw)
        for place, decode in self._decoders:
            cells[place] = decode(cells[place])
        return self._make(cells)


def _picker(names: Sequence[str]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    if len(names) > 1:
        return itemgetter(*names)
    return lambda values: tuple([values[name] for name in names])


def _row_type(names: Iterable[str]) -> Callable[[Iterable[Any]], Any]:
    made: Any = namedtuple("Row", names)  # pyright: ignore[reportUntypedNamedTuple]
    return made._make


def _encoder(kind: TypeEngine[Any], dialect: Dialect) -> _Convert:
    encode = kind.dialect_impl(dialect).bind_processor(dialect)
    if encode is None or not isinstance(kind, JSON):
        return encode
    return lambda value: encode(value) if value is None else canonical_json(value)


def _decoder(kind: TypeEngine[Any], dialect: Dialect) -> _Convert:
    if not isinstance(kind, JSON | Boolean):
        return None  # both drivers give these as we want them
    decode = kind.dialect_impl(dialect).result_processor(dialect, None)
    if decode is None or not isinstance(kind, JSON):
        return decode
    return lambda text: {} if text == "{}" else [] if text == "[]" else decode(text)


class Statements:
    """The prepared statements of one database, shared by its connections."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._prepared: dict[tuple[Executable, tuple[str, ...]], Prepared] = {}

    def prepared(self, statement: Executable, names: tuple[str, ...]) -> Prepared:
        """The statement for these given names; compiled at its first use.

        Statements must be the same object each time (see `state.statements`): they are remembered.
        """
        key = (statement, names)
        found = self._prepared.get(key)
        if found is None:
            found = self._prepared[key] = Prepared(statement, names, self._dialect)
        return found


@cache
def statements_for(dialect_name: str) -> Statements:
    """The statements of all databases of a kind: what is compiled depends on nothing else.

    Args:
        dialect_name: `sqlite` or `postgresql`.
    """
    if dialect_name == "sqlite":
        return Statements(sqlite.dialect(json_serializer=canonical_json))
    return Statements(psycopg.dialect(paramstyle="format", json_serializer=canonical_json))


class Connection:
    """One connection of a driver (sqlite3, psycopg). Not for several threads at once.

    Args:
        driver: the driver's connection.
        statements: of its database.
        broken_rule: the driver's exception for a row that breaks a rule of the database.

    Attributes:
        failed: what the driver has failed with, other than a broken rule; nothing is executed any
            more. The database may have ended the transaction by itself (SQLite does when the disk
            is full): what came next would be kept alone. Whoever begins a transaction clears it.
    """

    def __init__(self, driver: Any, statements: Statements, broken_rule: type[Exception]) -> None:
        self.driver, self.broken_rule = driver, broken_rule
        self.failed: Exception | None = None
        self._statements = statements

    def rows(self, statement: Executable, values: Mapping[str, Any]) -> list[Row]:
        """Every row of a query, or of a write that returns what it wrote."""
        prepared = self._statements.prepared(statement, tuple(values))
        make = prepared.row
        return [make(raw) for raw in self._execute(prepared, values).fetchall()]

    def first(self, statement: Executable, values: Mapping[str, Any]) -> Row | None:
        """The first row, or None."""
        prepared = self._statements.prepared(statement, tuple(values))
        # All are fetched: a statement that is half read would still be at work at the commit.
        found = self._execute(prepared, values).fetchall()
        return prepared.row(found[0]) if found else None

    def scalar(self, statement: Executable, values: Mapping[str, Any]) -> Any:
        """The first column of the first row; None when there is no row."""
        row: Any = self.first(statement, values)
        return None if row is None else row[0]

    def write(self, statement: Executable, values: Mapping[str, Any]) -> int:
        """How many rows a write has changed."""
        prepared = self._statements.prepared(statement, tuple(values))
        return self._execute(prepared, values).rowcount

    def _execute(self, prepared: Prepared, values: Mapping[str, Any]) -> Any:
        if self.failed is not None:
            raise self.failed
        bound = prepared.bind(values)
        try:
            return self.driver.execute(prepared.sql, bound)
        except self.broken_rule:
            raise
        except Exception as error:
            self.failed = error
            raise
