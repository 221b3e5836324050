"""`docs/DATABASE_SCHEMA.md`: every table with its columns, keys, rules, indexes and triggers."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    MetaData,
    Table,
    UniqueConstraint,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.schema import ScalarElementColumnDefault

from state.canonical import canonical_json
from state.entities import KINDS
from state.handbook.column_meanings import COMMON, MACHINE_COLUMNS
from state.handbook.markdown import GENERATED, code, codes, mermaid, page, table
from state.handbook.table_meanings import (
    INDEXES,
    PARENT_INDEX,
    RECORD_COLUMNS,
    STATE_INDEX,
    TABLES,
    UNKNOWN,
)
from state.machines import MACHINES
from state.trigger_parts import Watch
from state.trigger_sql import Postgresql, Sqlite
from state.triggers import watches
from state.upgrade import VERSIONS

_Kind = TypeVar("_Kind")
_DIALECTS = (sqlite.dialect(), postgresql.dialect())
_MACHINE_OF = {machine.table: machine.name for machine in MACHINES.values()}
_IN_SQLITE, _IN_POSTGRESQL = " (SQLite only)", " (PostgreSQL only)"
_HEADINGS = ("column", "type", "null", "default", "meaning")


def schema_page(metadata: MetaData) -> str:
    """The whole page about these tables and the triggers on them."""
    tables = list(metadata.tables.values())
    blocks: list[Sequence[str]] = [[GENERATED], ["# Database schema"], *_intro(tables)]
    for one in tables:
        blocks += _chapter(one)
    return page(blocks)


def _intro(tables: Sequence[Table]) -> list[list[str]]:
    return [
        [
            f"{len(tables)} tables, the single source of truth for every state. Nothing but the",
            "store writes them; everybody may read. [STATE_MACHINES.md](STATE_MACHINES.md) has the",
            "states and transitions.",
        ],
        table(
            ("table", "holds"),
            [(f"[{one.name}](#{one.name})", TABLES.get(one.name, UNKNOWN)) for one in tables],
        ),
        ["## Conventions"],
        [
            "- Times are text, `YYYY-MM-DDTHH:MM:SS.ffffffZ` in UTC: comparing the text compares",
            "  the times. Names of times end in `_at`.",
            "- Ids are text: a prefix and a ULID, which sorts by the time of making.",
            "- Where SQLite and PostgreSQL have different names for a type, SQLite's is first.",
            f"- {code(VERSIONS.name)} holds the revision of the schema; `patchline db upgrade`",
            "  writes it.",
            "- Defaults are filled in by the store, not by the database.",
            "- As in all SQL, a CHECK also holds where a missing value leaves it undecided.",
            "- *Refused* are writes that a trigger stops, whoever makes them. The error says",
            "  `patchline:<code>: <why>`. Those that only one of the two databases has name it. In",
            "  PostgreSQL TRUNCATE is refused as well; SQLite has no such word. What SQLite cannot",
            "  hold at all stands in [DIFFERENCES.md](DIFFERENCES.md), under C.",
        ],
        ["## Relationships"],
        ["Keys, states and foreign keys; the line's label is the column that refers."],
        mermaid(_diagram(tables)),
    ]


def _diagram(tables: Iterable[Table]) -> Iterator[str]:
    yield "erDiagram"
    for one in tables:
        yield f"    {one.name} {{"
        for column in one.columns:
            if marks := _marks(column):
                yield f"        {_types(column)[0].lower()} {column.name} {', '.join(marks)}"
            elif column.name == "state":
                yield f"        text {column.name}"
        yield "    }"
    for one in tables:
        for column in one.columns:
            for reference in column.foreign_keys:
                parent = "|o" if column.nullable else "||"
                named = f"{reference.column.table.name} {parent}--o{{ {one.name}"
                yield f"    {named} : {column.name}"


def _marks(column: Column[Any]) -> list[str]:
    return ["PK"] * column.primary_key + ["FK"] * bool(column.foreign_keys)


def _chapter(one: Table) -> list[Sequence[str]]:
    machine = _MACHINE_OF.get(one.name)
    about = TABLES.get(one.name, UNKNOWN)
    if machine is not None:
        about += f" Its machine is [{machine}](STATE_MACHINES.md#{machine})."
    blocks: list[Sequence[str]] = [
        [f"## {one.name}"],
        [about],
        table(_HEADINGS, [_column(column) for column in one.columns]),
        _keys(one),
    ]
    checks = sorted(_of_type(one, CheckConstraint), key=lambda check: str(check.name))
    if checks:
        rows = [(code(check.name), code(_flat(check.sqltext))) for check in checks]
        blocks.append(table(("CHECK", "rule"), rows))
    if one.indexes:
        indexes = sorted(one.indexes, key=lambda index: str(index.name))
        rows = [(code(index.name), _on(index), index_reason(index)) for index in indexes]
        blocks.append(table(("index", "on", "because"), rows))
    refused = _refused(one.name)
    if refused:
        blocks.append(table(("refused", "code", "why"), refused))
    return blocks


def _refused(table_name: str) -> list[tuple[str, ...]]:
    """What the triggers of a table refuse, and where, when it is not in both databases."""
    sqlite_has, postgres_has = (
        [row for watch in watches(one) if watch.table == table_name for row in _rules(watch)]
        for one in (Sqlite(), Postgresql())
    )
    rows = dict.fromkeys([*sqlite_has, *postgres_has])
    return [
        (event, rule, why + (_IN_SQLITE if row not in postgres_has else ""))
        if row in sqlite_has
        else (event, rule, why + _IN_POSTGRESQL)
        for row in rows
        for event, rule, why in [row]
    ]


def _rules(watch: Watch) -> Iterator[tuple[str, str, str]]:
    where = f" where {code(watch.when)}" if watch.when else ""
    late = " at the commit" if watch.at_commit else ""
    for rule in watch.rules:
        yield f"{watch.event}{where}{late}", code(rule.code), rule.message


def _column(column: Column[Any]) -> tuple[str, ...]:
    return (
        code(column.name),
        " / ".join(dict.fromkeys(_types(column))),
        "yes" if column.nullable else "no",
        _default(column),
        meaning(column.table.name, column.name) or UNKNOWN,
    )


def _types(column: Column[Any]) -> list[str]:
    return [column.type.compile(dialect=dialect) for dialect in _DIALECTS]


def _default(column: Column[Any]) -> str:
    if column.default is None:
        return ""
    if isinstance(column.default, ScalarElementColumnDefault):
        return code(canonical_json(column.default.arg))
    made: Callable[[Any], Any] = vars(column.default)["arg"]
    return code(canonical_json(made(None)))


def meaning(table_name: str, column: str) -> str | None:
    """What a column means; None when nobody has said it."""
    if table_name in _MACHINE_OF:
        return MACHINE_COLUMNS[table_name].get(column) or COMMON.get(column)
    return RECORD_COLUMNS.get(table_name, {}).get(column)


def index_reason(index: Index) -> str:
    """Why an index is there."""
    reason = INDEXES.get(str(index.name))
    if reason is not None:
        return reason
    columns = list(index.columns)
    if len(columns) == 1 and columns[0].foreign_keys:
        return PARENT_INDEX
    if [column.name for column in columns] == ["state"]:
        return STATE_INDEX
    return UNKNOWN


def _on(index: Index) -> str:
    columns = codes(_flat(part).replace(f"{_table_name(index)}.", "") for part in index.expressions)
    where: Mapping[str, Any] = index.dialect_options["sqlite"]
    partial = where["where"]
    unique = "unique: " if index.unique else ""
    return unique + columns + (f" where {code(_flat(partial))}" if partial is not None else "")


def _table_name(index: Index) -> str:
    return index.table.name if index.table is not None else ""


def _keys(one: Table) -> list[str]:
    lines = [f"- Primary key: {codes(column.name for column in one.primary_key)}"]
    for unique in sorted(_of_type(one, UniqueConstraint), key=lambda found: str(found.name)):
        names = codes(column.name for column in unique.columns)
        lines.append(f"- Unique: {names}")
    foreign = _of_type(one, ForeignKeyConstraint)
    for key in sorted(foreign, key=lambda found: list(found.column_keys)):
        (element,) = key.elements
        target = element.column
        deleted = f", on delete {key.ondelete.lower()}" if key.ondelete else ""
        lines.append(
            f"- {code(element.parent.name)} refers to "
            f"[{target.table.name}](#{target.table.name}).{code(target.name)}{deleted}"
        )
    fixed = {name for kind in KINDS.values() if kind.table is one for name in kind.identity}
    if fixed:
        names = codes(column.name for column in one.columns if column.name in fixed)
        lines.append(f"- Given when the row is made and never changed: {names}")
    return lines


def _of_type(one: Table, wanted: type[_Kind]) -> list[_Kind]:
    return [constraint for constraint in one.constraints if isinstance(constraint, wanted)]


def _flat(clause: object) -> str:
    """A piece of SQL on one line."""
    return re.sub(r"\s+", " ", str(clause))
