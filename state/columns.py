"""Kinds of columns, and what every machine's table has; CHECK constraints come from the data."""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
)
from sqlalchemy.sql.schema import SchemaItem

from state.facts import FLAGS, NEEDS, SINGLE_END
from state.machines import MACHINES

METADATA = MetaData()
_Col = Column[Any]
BIG = BigInteger().with_variant(Integer(), "sqlite")


def text(name: str, to: str | None = None, *, null: bool = True, key: bool = False) -> _Col:
    """A text column; `to` makes it a foreign key (`table.column`)."""
    more: list[SchemaItem] = [ForeignKey(to)] if to else []
    return Column(name, Text, *more, primary_key=key, nullable=null and not key)


def number(name: str, default: int | None = None) -> _Col:
    """A whole number; without a default it may be null."""
    return Column(name, BIG, default=default, nullable=default is None)


def real(name: str) -> _Col:
    """A number of seconds; may be null."""
    return Column(name, Float)


def flag(name: str, default: bool = False) -> _Col:
    """A yes or no."""
    return Column(name, Boolean, default=default, nullable=False)


def document(name: str, default: Any = None) -> _Col:
    """A JSON value; `list` or `dict` as a default makes an empty one."""
    return Column(name, JSON(none_as_null=True), default=default, nullable=default is None)


def _in(states: Any) -> str:
    return ", ".join(f"'{state}'" for state in states)


def _ordered(name: str, columns: list[_Col]) -> list[CheckConstraint]:
    names = {column.name for column in columns}
    pairs = [("created_at", "updated_at"), ("created_at", "started_at")]
    pairs += [("started_at", "completed_at"), ("created_at", "completed_at")]
    have = names | {"created_at", "updated_at"}
    return [
        CheckConstraint(f"{late} >= {early}", name=f"ck_{name}_order_{early}_{late}")
        for early, late in pairs
        if early in have and late in have
    ]


def _checks(machine: str, columns: list[_Col]) -> list[CheckConstraint]:
    one = MACHINES[machine]
    checks = [CheckConstraint(f"state IN ({_in(one.states)})", name=f"ck_{one.table}_state")]
    if end := SINGLE_END.get(machine):
        rule = f"(state IN ({_in(sorted(one.terminal))})) = ({end} IS NOT NULL)"
        checks.append(CheckConstraint(rule, name=f"ck_{one.table}_end"))
    for state, needed in NEEDS.get(machine, {}).items():
        for column in needed:
            rule = f"state <> '{state}' OR {column} IS NOT NULL"
            checks.append(CheckConstraint(rule, name=f"ck_{one.table}_{state}_{column}"))
    by_flag: dict[str, list[str]] = {}
    for state, needed in FLAGS.get(machine, {}).items():
        for column in needed:
            by_flag.setdefault(column, []).append(state)
    for column, states in by_flag.items():
        rule = f"state NOT IN ({_in(states)}) OR {column}"
        checks.append(CheckConstraint(rule, name=f"ck_{one.table}_{column}"))
    return checks + _ordered(one.table, columns)


def machine_table(
    machine: str,
    *columns: _Col,
    indexed: tuple[str, ...] = (),
    listed: bool = True,
    more: tuple[SchemaItem, ...] = (),
) -> Table:
    """The table of a machine: its key first, what every machine has, then its own columns.

    Args:
        machine: its name.
        columns: of its own.
        indexed: columns with an index each. Every index costs something at every write, so there is
            one only where a query needs it (tests/state/test_query_plans.py): rows are never
            deleted, so a foreign key alone needs none.
        listed: whether it gets so many rows that those of a state are found by an index, in the
            order of making.
        more: constraints and indexes.
    """
    one = MACHINES[machine]
    own = list(columns)
    return Table(
        one.table,
        METADATA,
        text(one.key, key=True),
        Column("state", Text, nullable=False),
        Column("version", BIG, nullable=False, default=1),
        *own,
        text("created_at", null=False),
        text("updated_at", null=False),
        document("metadata", dict),
        text("audit_head"),
        *_checks(machine, own),
        *more,
        *([Index(f"ix_{one.table}_state", "state", "created_at", one.key)] if listed else []),
        *(Index(f"ix_{one.table}_{name}", name) for name in indexed),
    )
