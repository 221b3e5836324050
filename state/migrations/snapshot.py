"""What a database's own catalogue says of its schema, in a form in which two can be compared.

The reference is not worked out from the models: it is made for real, by the same backend, and read
in the same way. So nothing has to be known of how a backend spells a CHECK.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from state.migrations.sql_text import parts, plain
from state.upgrade import create

Schema = Mapping[tuple[str, str], str]
"""(kind, name) -> definition; the name of what belongs to a table begins with the table's."""

DISABLED = " DISABLED"
"""What follows the definition of a foreign key that nothing asks for."""


def snapshot(connection: sa.Connection) -> Schema:
    """The schema of a database, of all that is a table's: tables of others too."""
    if connection.dialect.name == "sqlite":
        return dict(_sqlite(connection))
    schema: str = connection.exec_driver_sql("SELECT current_schema()").scalar_one()
    return dict(_postgres(connection, schema))


def reference(connection: sa.Connection) -> Schema:
    """The schema that a new database of this kind gets; the connection's own is left as it is."""
    if connection.dialect.name == "sqlite":
        engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
        try:
            with engine.begin() as fresh:
                create(fresh)
                return dict(_sqlite(fresh))
        finally:
            engine.dispose()
    number: int = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    name = f"patchline_reference_{number}"
    with connection.begin_nested() as inside:
        connection.exec_driver_sql(f"CREATE SCHEMA {name}")
        connection.exec_driver_sql(f"SET LOCAL search_path TO {name}")
        create(connection)
        found = dict(_postgres(connection, name))
        inside.rollback()
    return found


# SQLite


def _sqlite(connection: sa.Connection) -> Iterator[tuple[tuple[str, str], str]]:
    rows: list[Any] = list(
        connection.exec_driver_sql(
            "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL "
            "AND name NOT LIKE 'sqlite!_%' ESCAPE '!' AND type IN ('table', 'index', 'trigger') "
            "ORDER BY type, name"
        )
    )
    for kind, name, table, sql in rows:
        if kind == "table":
            yield from _sqlite_table(name, sql)
        else:
            yield (kind, f"{table}.{name}"), plain(sql)


def _sqlite_table(table: str, sql: str) -> Iterator[tuple[tuple[str, str], str]]:
    found, tail = parts(sql)
    yield ("table", table), " ".join(tail)
    for tokens in found:
        name = None
        if tokens[0] == "constraint":
            name, tokens = tokens[1], tokens[2:]
        text = " ".join(tokens)
        match tokens[:2]:
            case ["primary", "key"]:
                yield ("primary key", table), text
            case ["foreign", "key"]:
                columns = "".join(tokens[3 : tokens.index(")")])
                yield ("foreign key", f"{table}.{columns}"), text
            case ["unique" | "check" as kind, _]:
                yield (kind, f"{table}.{name or text}"), text
            case _:
                yield ("column", f"{table}.{tokens[0]}"), " ".join(tokens[1:])


# PostgreSQL

_COLUMNS = """
SELECT 'column', c.relname || '.' || a.attname,
       format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
       || coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '')
       || CASE a.attidentity WHEN '' THEN '' ELSE ' IDENTITY' END
       || CASE a.attgenerated WHEN '' THEN '' ELSE ' GENERATED' END
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE c.relnamespace = to_regnamespace(%(schema)s) AND a.attnum > 0 AND NOT a.attisdropped
"""
_RULES = """
SELECT 'rule', c.relname || '.' || r.rulename, pg_get_ruledef(r.oid)
FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class AND c.relkind IN ('r', 'p')
WHERE c.relnamespace = to_regnamespace(%(schema)s)
"""
_ROW_SECURITY = """
SELECT 'row security', relname,
       concat_ws(' ', CASE WHEN relrowsecurity THEN 'ENABLED' END,
                 CASE WHEN relforcerowsecurity THEN 'FORCED' END)
FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = to_regnamespace(%(schema)s)
  AND (relrowsecurity OR relforcerowsecurity)
"""
_SEQUENCES = """
SELECT 'sequence', t.relname || '.' || c.relname,
       format('AS %%s INCREMENT BY %%s MINVALUE %%s MAXVALUE %%s START WITH %%s CACHE %%s ',
              format_type(s.seqtypid, NULL), s.seqincrement, s.seqmin, s.seqmax, s.seqstart,
              s.seqcache) || CASE WHEN s.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END
FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid
JOIN pg_depend d ON d.objid = c.oid AND d.deptype IN ('a', 'i')
JOIN pg_class t ON t.oid = d.refobjid
WHERE t.relnamespace = to_regnamespace(%(schema)s)
"""
_TABLES = """
SELECT 'table', relname, CASE relpersistence WHEN 'u' THEN 'UNLOGGED' ELSE '' END
FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = to_regnamespace(%(schema)s)
"""
_CONSTRAINTS = """
SELECT CASE k.contype WHEN 'c' THEN 'check' WHEN 'u' THEN 'unique' WHEN 'f' THEN 'foreign key'
       ELSE 'primary key' END,
       c.relname || CASE WHEN k.contype = 'p' THEN '' WHEN k.contype = 'f' THEN '.' ||
           (SELECT string_agg(a.attname, ',' ORDER BY x.n) FROM unnest(k.conkey)
            WITH ORDINALITY AS x (attnum, n) JOIN pg_attribute a
            ON a.attrelid = c.oid AND a.attnum = x.attnum)
       ELSE '.' || k.conname END,
       pg_get_constraintdef(k.oid) || CASE WHEN EXISTS (
           SELECT 1 FROM pg_trigger g WHERE g.tgconstraint = k.oid AND g.tgenabled = 'D'
       ) THEN %(disabled)s ELSE '' END
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
WHERE k.contype IN ('c', 'u', 'f', 'p') AND c.relnamespace = to_regnamespace(%(schema)s)
"""
_INDEXES = """
SELECT 'index', t.relname || '.' || c.relname,
       pg_get_indexdef(i.indexrelid) || CASE WHEN i.indisvalid THEN '' ELSE ' INVALID' END
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_class t ON t.oid = i.indrelid
WHERE t.relnamespace = to_regnamespace(%(schema)s)
  AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = i.indexrelid)
"""
_TRIGGERS = """
SELECT 'trigger', c.relname || '.' || t.tgname,
       pg_get_triggerdef(t.oid)
       || CASE t.tgenabled WHEN 'O' THEN '' WHEN 'A' THEN ' ALWAYS' ELSE ' DISABLED' END
       || '; ' || pg_get_functiondef(t.tgfoid)
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE NOT t.tgisinternal AND c.relnamespace = to_regnamespace(%(schema)s)
"""


def _postgres(connection: sa.Connection, schema: str) -> Iterator[tuple[tuple[str, str], str]]:
    quoted = f'"{schema}"'
    own = re.compile(rf'(?<![\w"])(?:{re.escape(quoted)}|{re.escape(schema)})\.')
    path = re.compile(rf"(?<= SET search_path TO 'pg_catalog', )'{re.escape(schema)}'")
    for query in (
        *(_TABLES, _COLUMNS, _CONSTRAINTS, _INDEXES, _TRIGGERS),
        *(_RULES, _ROW_SECURITY, _SEQUENCES),
    ):
        rows: list[Any] = list(
            connection.exec_driver_sql(query, {"schema": quoted, "disabled": DISABLED})
        )
        for kind, name, definition in rows:
            yield (kind, name), own.sub("", path.sub("", definition))
