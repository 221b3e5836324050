"""How SQLite and PostgreSQL spell the rules of `state.triggers`.

A message is `patchline:<code>: <text>`; `state.integrity` knows it again by the code.
"""

from collections.abc import Iterator

from sqlalchemy import JSON, Column

from state.triggers import APPEND_ONLY, AUDIT, KINDS, Watch, watches

PREFIX = "patchline_"
"""What the names of all our triggers and functions begin with."""


def trigger_statements(dialect: str) -> list[str]:
    """The statements that create every trigger.

    Args:
        dialect: `sqlite` or `postgresql`.
    """
    if dialect == "sqlite":
        return [_sqlite(watch) for watch in watches(Sqlite())]
    return list(_postgresql())


def drop_statements(dialect: str) -> list[str]:
    """The statements that remove every trigger, whether it is there or not."""
    if dialect == "sqlite":
        return [f"DROP TRIGGER IF EXISTS {PREFIX}{watch.name}" for watch in watches(Sqlite())]
    functions = {f"{PREFIX}{watch.name}" for watch in watches(Postgresql())}
    functions.add(f"{PREFIX}no_truncate")
    return [f"DROP FUNCTION IF EXISTS {name}() CASCADE" for name in sorted(functions)]


_AHEAD = (
    "MOD(4294967296 + a.xmin::text::bigint"
    " - MOD(pg_current_xact_id()::text::bigint, 4294967296), 4294967296)"
)
"""By how much the number of the transaction that wrote `a` is ahead of this one's (modulo 2^32)."""

_OF_A_SAVEPOINT = (
    f"CASE WHEN {_AHEAD} < 2147483648 THEN pg_xact_status("
    f"(pg_current_xact_id()::text::bigint + {_AHEAD})::text::xid8) = 'in progress' ELSE FALSE END"
)
"""The row `a` was written under a savepoint of this transaction, which has a higher number of its
own: what is seen, and in progress, is one's own."""


class Sqlite:
    """SQLite's words."""

    hidden_key = "rowid"
    """REPLACE puts aside the row that has the same, and UPDATE may set it."""

    def given_number(self, table: str, column: str) -> str:
        """See `Spelling.given_number`. SQLite shows -1 for a number that it has yet to give."""
        return f"NEW.{column} <> -1"

    def differs(self, one: str, other: str, column: Column[object] | None = None) -> str:
        """See `Spelling.differs`."""
        return f"({one} IS NOT {other})"

    def audit_row(self, entity_type: str, key: str, *conditions: str) -> str:
        """See `Spelling.audit_row`. The audit row is this connection's latest insert of all."""
        wanted = (
            "a.transition_id = last_insert_rowid()",
            f"a.entity_type = '{entity_type}'",
            f"a.entity_id = {key}",
            *conditions,
        )
        return f"EXISTS (SELECT 1 FROM {AUDIT} a WHERE {' AND '.join(wanted)})"


class Postgresql:
    """PostgreSQL's words."""

    hidden_key = None

    def given_number(self, table: str, column: str) -> str:
        """See `Spelling.given_number`. The sequence has given this session just that number.

        `currval` comes last, since it fails in a session that the sequence has given none.
        """
        sequence = f"{table}_{column}_seq"
        return (
            f"NEW.{column} < 1 OR NEW.{column} > (SELECT last_value FROM {sequence})"
            f" OR EXISTS (SELECT 1 FROM {table} WHERE {column} = NEW.{column})"
            f" OR NEW.{column} <> currval('{sequence}')"
        )

    def differs(self, one: str, other: str, column: Column[object] | None = None) -> str:
        """See `Spelling.differs`. Its type json knows no equality."""
        if column is not None and isinstance(column.type, JSON):
            return f"({one}::text IS DISTINCT FROM {other}::text)"
        return f"({one} IS DISTINCT FROM {other})"

    def audit_row(self, entity_type: str, key: str, *conditions: str) -> str:
        """See `Spelling.audit_row`. `xmin` is the transaction that wrote a row."""
        newest = (
            f"SELECT MAX(n.transition_id) FROM {AUDIT} n"
            f" WHERE n.entity_type = '{entity_type}' AND n.entity_id = {key}"
        )
        wanted = (
            f"a.transition_id = ({newest})",
            f"(a.xmin = pg_current_xact_id()::xid OR {_OF_A_SAVEPOINT})",
            *conditions,
        )
        return f"EXISTS (SELECT 1 FROM {AUDIT} a WHERE {' AND '.join(wanted)})"


def _sqlite(watch: Watch) -> str:
    when = f" WHEN {watch.when}" if watch.when else ""
    rules = "".join(
        f"\n  SELECT RAISE(ABORT, 'patchline:{rule.code}: {rule.message}')\n  WHERE {rule.broken};"
        for rule in watch.rules
    )
    return (
        f"CREATE TRIGGER {PREFIX}{watch.name} {watch.moment} {watch.event} ON {watch.table}{when}\n"
        f"BEGIN{rules}\nEND"
    )


def _postgresql() -> Iterator[str]:
    for watch in watches(Postgresql()):
        rules = "".join(
            f"    IF ({rule.broken}) THEN\n"
            "      RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',\n"
            f"        MESSAGE = 'patchline:{rule.code}: {rule.message}';\n    END IF;\n"
            for rule in watch.rules
        )
        # Asked at once, for each question is a query of its own; then which rule it was.
        any_broken = "\n    OR ".join(f"({rule.broken})" for rule in watch.rules)
        row = "OLD" if watch.event == "DELETE" else "NEW"
        when = f" WHEN ({watch.when})" if watch.when else ""
        name = f"{PREFIX}{watch.name}"
        yield (
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $rules$\nBEGIN\n"
            f"  IF ({any_broken}) THEN\n{rules}  END IF;\n  RETURN {row};\nEND\n$rules$"
        )
        yield (
            f"CREATE TRIGGER {name} {watch.moment} {watch.event} ON {watch.table}"
            f" FOR EACH ROW{when} EXECUTE FUNCTION {name}()"
        )
    name = f"{PREFIX}no_truncate"
    yield (
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $rules$\nBEGIN\n"
        "  RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',\n"
        "    MESSAGE = 'patchline:append_only: this table is never emptied';\nEND\n$rules$"
    )
    machines = [kind.table.name for kind in KINDS.values() if kind.machine is not None]
    for table in (*machines, "task_attempts", *APPEND_ONLY):
        yield (
            f"CREATE TRIGGER {name} BEFORE TRUNCATE ON {table}"
            f" FOR EACH STATEMENT EXECUTE FUNCTION {name}()"
        )
