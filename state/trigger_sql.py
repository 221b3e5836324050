"""How SQLite and PostgreSQL spell the rules of `state.triggers`.

A message is `patchline:<code>: <text>`; `state.integrity` knows it again by the code.
"""

from collections.abc import Iterator, Sequence

from sqlalchemy import JSON, Column

from state.trigger_parts import AUDIT, Watch
from state.triggers import KEPT_TABLES, watches

PREFIX = "patchline_"
"""What the names of all our triggers and functions begin with."""


def trigger_statements(dialect: str, schema: str = "public") -> list[str]:
    """The statements that create every trigger.

    Args:
        dialect: `sqlite` or `postgresql`.
        schema: where the tables are, in PostgreSQL.
    """
    if dialect == "sqlite":
        return [_sqlite(watch) for watch in watches(Sqlite())]
    return list(_postgresql(schema))


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


_TIME = (
    "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    "T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\\.[0-9]{6}Z$"
)


class Sqlite:
    """SQLite's words."""

    hidden_key = "rowid"
    """REPLACE puts aside the row that has the same, and UPDATE may set it."""

    sessions_drop_references = True
    """PRAGMA foreign_keys is off unless a connection asks for it."""

    judges_commits = False

    def given_number(self, table: str, column: str) -> str:
        """See `Spelling.given_number`. SQLite shows -1 for a number that it has yet to give."""
        return f"NEW.{column} <> -1"

    def differs(self, one: str, other: str, column: Column[object] | None = None) -> str:
        """See `Spelling.differs`."""
        return f"({one} IS NOT {other})"

    def audit_row(self, entity_type: str, key: str, *conditions: str) -> str:
        """See `Spelling.audit_row`. The audit row is this connection's latest insert of all.

        A trigger of somebody's own has inserts of its own, which do not count as the latest after
        it; so the row must be the entity's newest as well.
        """
        wanted = (
            "a.transition_id = last_insert_rowid()",
            f"a.entity_type = '{entity_type}'",
            f"a.entity_id = {key}",
            *conditions,
            f"NOT EXISTS (SELECT 1 FROM {AUDIT} n WHERE n.entity_type = '{entity_type}'"
            f" AND n.entity_id = {key} AND n.transition_id > last_insert_rowid())",
        )
        return f"EXISTS (SELECT 1 FROM {AUDIT} a WHERE {' AND '.join(wanted)})"

    def no_time(self, value: str) -> str:
        """See `Spelling.no_time`. A date that there is not comes out of DATE as another."""
        moment = "T[0-2]#:[0-5]#:[0-5]#.######Z".replace("#", "[0-9]")
        return (
            f"(SUBSTR({value}, 11) NOT GLOB '{moment}'"
            f" OR DATE(SUBSTR({value}, 1, 19), '+0 days') IS NOT SUBSTR({value}, 1, 10))"
        )

    def no_object(self, value: str) -> str:
        """See `Spelling.no_object`. What is no JSON at all is an error of the function itself."""
        return f"(JSON_TYPE({value}) <> 'object')"

    def not_among(self, value: str, listed: str) -> str:
        """See `Spelling.not_among`."""
        return f"NOT EXISTS (SELECT 1 FROM json_each({listed}) j WHERE j.value = {value})"

    def binary(self, values: Sequence[str]) -> str | None:
        """See `Spelling.binary`. Bytes come after every text: cheaper to ask than typeof."""
        return " OR ".join(f"{value} >= x''" for value in values)


class Postgresql:
    """PostgreSQL's words."""

    hidden_key = None
    sessions_drop_references = False
    judges_commits = True

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

    def no_time(self, value: str) -> str:
        """See `Spelling.no_time`. The cast itself refuses the few dates that pass the pattern."""
        return f"(CASE WHEN {value} ~ '{_TIME}' THEN LEFT({value}, 10)::date IS NULL ELSE TRUE END)"

    def no_object(self, value: str) -> str:
        """See `Spelling.no_object`."""
        return f"(json_typeof({value}) <> 'object')"

    def not_among(self, value: str, listed: str) -> str:
        """See `Spelling.not_among`."""
        return f"NOT ({listed}::jsonb @> to_jsonb({value}))"

    def binary(self, values: Sequence[str]) -> str | None:
        """See `Spelling.binary`. A text is text there."""
        return None


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


def _postgresql(schema: str) -> Iterator[str]:
    for watch in watches(Postgresql()):
        name = f"{PREFIX}{watch.name}"
        yield _function(name, _body(watch), schema)
        when = f" WHEN ({watch.when})" if watch.when else ""
        what = "CONSTRAINT TRIGGER" if watch.at_commit else "TRIGGER"
        late = " DEFERRABLE INITIALLY DEFERRED" if watch.at_commit else ""
        yield (
            f"CREATE {what} {name} {watch.moment} {watch.event} ON {watch.table}{late}"
            f" FOR EACH ROW{when} EXECUTE FUNCTION {name}()"
        )
        yield _always(watch.table, name)
    name = f"{PREFIX}no_truncate"
    body = (
        "  RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',\n"
        "    MESSAGE = 'patchline:append_only: this table is never emptied';\n"
    )
    yield _function(name, body, schema)
    for table in KEPT_TABLES:
        yield (
            f"CREATE TRIGGER {name} BEFORE TRUNCATE ON {table}"
            f" FOR EACH STATEMENT EXECUTE FUNCTION {name}()"
        )
        yield _always(table, name)


def _body(watch: Watch) -> str:
    """All rules at once, for each question is a query of its own; then which one it was."""
    rules = "".join(
        f"    IF ({rule.broken}) THEN\n"
        "      RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation',\n"
        f"        MESSAGE = 'patchline:{rule.code}: {rule.message}';\n    END IF;\n"
        for rule in watch.rules
    )
    any_broken = "\n    OR ".join(f"({rule.broken})" for rule in watch.rules)
    row = "OLD" if watch.event == "DELETE" else "NEW"
    return f"  IF ({any_broken}) THEN\n{rules}  END IF;\n  RETURN {row};\n"


def _function(name: str, body: str, schema: str) -> str:
    """A trigger function whose names are ours, whatever the session that sets it off calls so.

    Else a temporary table of the same name would be asked instead of the audit.
    """
    quoted = '"' + schema.replace('"', '""') + '"'
    return (
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql"
        f" SET search_path = pg_catalog, {quoted}, pg_temp AS $rules$\nBEGIN\n{body}END\n$rules$"
    )


def _always(table: str, name: str) -> str:
    """Also in a session that has set `session_replication_role`."""
    return f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}"
