"""What no definition shows: rows that break the rules of their table, and rules switched off."""

import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from state.trigger_parts import AUDIT
from state.upgrade import Drift


def faults(connection: sa.Connection) -> Iterator[Drift]:
    """Everything of that kind in a database."""
    if connection.dialect.name == "sqlite":
        yield from _broken_rows(connection)
        yield from _lost_parents(connection)
    else:
        yield from _replica_sessions(connection)
        yield from _used_numbers(connection)


# SQLite: any connection may leave out CHECKs and foreign keys.

_TABLE = re.compile(r"(?:in|value in) (\w+)")
_COPY = "Restore the file from a copy, or mend the rows by hand; patchline audit verify says more."


def _broken_rows(connection: sa.Connection) -> Iterator[Drift]:
    for (said,) in connection.exec_driver_sql("PRAGMA integrity_check").fetchall():
        if said != "ok":
            found = _TABLE.search(said)
            name = found.group(1) if found else "the file"
            yield Drift("changed", "rows", name, "rows that keep the rules", said, _COPY)


def _lost_parents(connection: sa.Connection) -> Iterator[Drift]:
    rows: list[Any] = list(connection.exec_driver_sql("PRAGMA foreign_key_check"))
    for (table, parent), group in groupby(sorted(rows), key=lambda row: (row[0], row[2])):
        numbers = [row[1] for row in group]
        found = f"{len(numbers)} refer to missing ones; the first has rowid {numbers[0]}"
        yield Drift("changed", "rows", f"{table} of {parent}", "rows that are there", found, _COPY)


# PostgreSQL: a superuser may switch triggers and foreign keys off.

_REPLICA = """
SELECT r.rolname, d.datname, split_part(one, '=', 2)
FROM pg_db_role_setting s
CROSS JOIN unnest(s.setconfig) AS one
LEFT JOIN pg_roles r ON r.oid = s.setrole
LEFT JOIN pg_database d ON d.oid = s.setdatabase
WHERE one LIKE 'session_replication_role=%%' AND one <> 'session_replication_role=origin'
  AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
ORDER BY 1, 2
"""
_SERVER = """
SELECT setting FROM pg_settings WHERE name = 'session_replication_role' AND setting <> 'origin'
  AND source NOT IN ('database', 'user', 'database user')
"""
_NUMBERS = f"""
SELECT (SELECT MAX(transition_id) FROM {AUDIT}) AS newest,
       last_value + CASE WHEN is_called THEN 1 ELSE 0 END AS next
FROM {AUDIT}_transition_id_seq
"""


def _replica_sessions(connection: sa.Connection) -> Iterator[Drift]:
    """In such a session foreign keys are not asked; our own triggers are, in any."""
    quote = connection.dialect.identifier_preparer.quote
    rows: list[Any] = list(connection.exec_driver_sql(_REPLICA))
    for role, database, value in rows:
        where = f" IN DATABASE {quote(database)}" if role and database else ""
        whose = f"ROLE {quote(role)}{where}" if role else f"DATABASE {quote(database)}"
        yield _setting(value, whose, f"ALTER {whose} RESET session_replication_role;")
    for (value,) in connection.exec_driver_sql(_SERVER).fetchall():
        mend = "ALTER SYSTEM RESET session_replication_role; (and in postgresql.conf), then reload"
        yield _setting(value, "the server", mend)


def _setting(value: str, whose: str, mend: str) -> Drift:
    found = f"{value} for {whose}"
    name = "session_replication_role"
    return Drift("changed", "setting", name, "origin", found, f"Foreign keys are off there: {mend}")


def _used_numbers(connection: sa.Connection) -> Iterator[Drift]:
    present = f"SELECT to_regclass('{AUDIT}_transition_id_seq'), to_regclass('{AUDIT}')"
    if None in connection.exec_driver_sql(present).one():
        return  # missing, and reported as that
    newest, following = connection.exec_driver_sql(_NUMBERS).one()
    if newest is not None and following <= newest:
        sequence = f"{AUDIT}_transition_id_seq"
        yield Drift(
            "changed",
            "sequence",
            f"{AUDIT}.{sequence}",
            f"a number after {newest} comes next",
            f"{following} comes next",
            f"Set it on: SELECT setval('{sequence}', {newest});",
        )
