"""What a database does to answer: the indexes that it takes, and how much it looks at."""

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import sqlalchemy as sa

from state.connection import Connection, Prepared
from state.store import StateStore

Asked = list[tuple[str, Any]]
"""Statements, with their values as the driver takes them."""

TICK = 100
"""Steps of SQLite's virtual machine between two counts."""

_INDEX = re.compile(r"USING (?:COVERING )?INDEX (\w+)")


@dataclass
class Work:
    """What was done for some statements.

    Attributes:
        indexes: that were used.
        scanned: tables that were gone through in no order of an index.
        rows: that were looked at, by table (PostgreSQL).
        steps: of the virtual machine (SQLite).
        plans: in the database's words.
    """

    indexes: set[str] = field(default_factory=set)
    scanned: set[str] = field(default_factory=set)
    rows: Counter[str] = field(default_factory=Counter)
    steps: int = 0
    plans: list[str] = field(default_factory=list)


@contextmanager
def queries(store: StateStore) -> Iterator[Asked]:
    """What is asked of the store's database meanwhile, in both of the ways there are."""
    seen: Asked = []
    plain = Connection._execute

    def note(_connection: Any, _cursor: Any, text: str, values: Any, *_: Any) -> None:
        seen.append((text, values))

    def execute(self: Connection, prepared: Prepared, values: Any) -> Any:
        seen.append((prepared.sql, prepared.bind(values)))
        return plain(self, prepared, values)

    sa.event.listen(store.database.engine, "before_cursor_execute", note)
    try:
        with patch.object(Connection, "_execute", execute):
            yield seen
    finally:
        sa.event.remove(store.database.engine, "before_cursor_execute", note)
        seen[:] = [one for one in seen if one[0].startswith(("SELECT", "WITH"))]


def work_of(engine: sa.Engine, asked: Asked) -> Work:
    """Ask again and look at what is done. Nothing is kept."""
    work = Work()
    if engine.dialect.name == "sqlite":
        with closing(sqlite3.connect(str(engine.url.database))) as driver:
            for text, values in asked:
                _of_sqlite(driver, text, values, work)
    else:
        with engine.connect() as connection:
            for text, values in asked:
                _of_postgresql(connection, text, values, work)
    return work


def _of_sqlite(driver: sqlite3.Connection, text: str, values: Any, work: Work) -> None:
    names = _aliases(text)
    for row in driver.execute(f"EXPLAIN QUERY PLAN {text}", values):
        step: str = row[3]
        work.plans.append(step)
        work.indexes |= set(_INDEX.findall(step))
        if step.startswith("SCAN ") and "USING" not in step:
            name = step.split()[1]
            work.scanned.add(names.get(name, name))
    with counted_steps(driver) as count:
        driver.execute(text, values).fetchall()
        work.steps += count()


@contextmanager
def counted_steps(driver: sqlite3.Connection) -> Iterator[Callable[[], int]]:
    """Says how many steps the virtual machine has made so far."""
    ticks = 0

    def tick() -> int:
        nonlocal ticks
        ticks += 1
        return 0

    driver.set_progress_handler(tick, TICK)
    try:
        yield lambda: ticks * TICK
    finally:
        driver.set_progress_handler(None, 0)


def _aliases(text: str) -> dict[str, str]:
    return {alias: table for table, alias in re.findall(r"(\w+) AS (\w+)", text)}


def _of_postgresql(connection: sa.Connection, text: str, values: Any, work: Work) -> None:
    with connection.begin() as transaction:
        explain = "EXPLAIN (ANALYZE, FORMAT JSON)"
        (plan,) = connection.exec_driver_sql(f"{explain} {text}", values).scalar_one()
        work.plans.append(json.dumps(plan["Plan"], indent=1))
        _walk(plan["Plan"], work)
        # Few rows are best read in turn; what matters is that an index could find them.
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        (plan,) = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {text}", values).scalar_one()
        _walk(plan["Plan"], Work(indexes=work.indexes))
        transaction.rollback()


def _walk(node: dict[str, Any], work: Work) -> None:
    if "Index Name" in node:
        work.indexes.add(node["Index Name"])
    if node["Node Type"] == "Seq Scan":
        work.scanned.add(node["Relation Name"])
    if "Relation Name" in node and "Actual Rows" in node:
        removed = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
        seen = node["Actual Rows"] + sum(node.get(name, 0) for name in removed)
        work.rows[node["Relation Name"]] += int(seen * node["Actual Loops"])
    for child in node.get("Plans", ()):
        _walk(child, work)
