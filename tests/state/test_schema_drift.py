"""`db check`: every kind of difference between a database and the models is found and named."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from state.errors import StoreUnavailableError
from state.migrations.sql_text import parts, plain
from state.upgrade import check, upgrade
from tests.state.databases import address


def rewritten(table: str, old: str, new: str) -> Callable[[sa.Engine], None]:
    """Changes what a SQLite file remembers of a table, past all its rules."""

    def change(engine: sa.Engine) -> None:
        with closing(sqlite3.connect(str(engine.url.database))) as connection, connection:
            connection.execute("PRAGMA writable_schema = ON")
            query = "SELECT sql FROM sqlite_master WHERE name = ?"
            (sql,) = connection.execute(query, (table,)).fetchone()
            assert old in sql
            update = "UPDATE sqlite_master SET sql = ? WHERE name = ?"
            connection.execute(update, (sql.replace(old, new), table))

    return change


def ran(*statements: str) -> Callable[[sa.Engine], None]:
    """Runs statements."""

    def change(engine: sa.Engine) -> None:
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    return change


SEQUENCE = "state_transitions_transition_id_seq"
Change = Callable[[sa.Engine], None]
Case = tuple[Change, str, str, str]
BOTH: list[Case] = [
    (ran("DROP TABLE task_gates"), "missing", "table", "task_gates"),
    (ran("CREATE TABLE notes (x TEXT)"), "extra", "table", "notes"),
    (
        ran("ALTER TABLE task_attempts DROP COLUMN output"),
        "missing",
        "column",
        "task_attempts.output",
    ),
    (ran("ALTER TABLE runs ADD COLUMN note TEXT"), "extra", "column", "runs.note"),
    (ran("DROP INDEX ix_tasks_retry_of"), "missing", "index", "tasks.ix_tasks_retry_of"),
    (ran("CREATE INDEX mine ON tasks (slug)"), "extra", "index", "tasks.mine"),
    (
        ran("DROP INDEX ix_tasks_retry_of", "CREATE INDEX ix_tasks_retry_of ON tasks (slug)"),
        "changed",
        "index",
        "tasks.ix_tasks_retry_of",
    ),
]
SQLITE: list[Case] = [
    *BOTH,
    (
        ran("DROP TRIGGER patchline_runs_on_update"),
        "missing",
        "trigger",
        "runs.patchline_runs_on_update",
    ),
    (
        ran("CREATE TRIGGER mine AFTER INSERT ON runs BEGIN SELECT 1; END"),
        "extra",
        "trigger",
        "runs.mine",
    ),
    (
        rewritten("patchline_runs_on_update", "'running>failed'", "'failed>running'"),
        "changed",
        "trigger",
        "runs.patchline_runs_on_update",
    ),
    (
        rewritten("runs", "completed_at IS NOT NULL", "completed_at IS NULL"),
        "changed",
        "check",
        "runs.ck_runs_end",
    ),
    (rewritten("runs", "held BOOLEAN NOT NULL", "held BOOLEAN"), "changed", "column", "runs.held"),
    (rewritten("runs", "held BOOLEAN", "held TEXT"), "changed", "column", "runs.held"),
    (
        rewritten("runs", "REFERENCES phases (phase_id)", "REFERENCES runs (run_id)"),
        "changed",
        "foreign key",
        "runs.phase_id",
    ),
]
POSTGRES: list[Case] = [
    *BOTH,
    (
        ran("DROP TRIGGER patchline_runs_on_update ON runs"),
        "missing",
        "trigger",
        "runs.patchline_runs_on_update",
    ),
    (
        ran("ALTER TABLE runs DISABLE TRIGGER patchline_runs_on_update"),
        "changed",
        "trigger",
        "runs.patchline_runs_on_update",
    ),
    (
        ran(
            "CREATE OR REPLACE FUNCTION patchline_runs_on_update() RETURNS trigger"
            " LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$"
        ),
        "changed",
        "trigger",
        "runs.patchline_runs_on_update",
    ),
    (
        ran("ALTER TABLE runs ENABLE TRIGGER patchline_runs_on_update"),
        "changed",
        "trigger",
        "runs.patchline_runs_on_update",
    ),
    (
        ran("ALTER FUNCTION patchline_runs_on_update() SET search_path = pg_temp, public"),
        "changed",
        "trigger",
        "runs.patchline_runs_on_update",
    ),
    (
        ran(
            "CREATE FUNCTION evil() RETURNS trigger"
            " LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
            "CREATE OR REPLACE TRIGGER patchline_runs_on_update BEFORE UPDATE ON runs"
            " FOR EACH ROW EXECUTE FUNCTION evil()",
            "ALTER TABLE runs ENABLE ALWAYS TRIGGER patchline_runs_on_update",
        ),
        "changed",
        "trigger",
        "runs.patchline_runs_on_update",
    ),
    (
        ran("CREATE RULE mine AS ON UPDATE TO runs DO INSTEAD NOTHING"),
        "extra",
        "rule",
        "runs.mine",
    ),
    (ran("ALTER TABLE runs ENABLE ROW LEVEL SECURITY"), "extra", "row security", "runs"),
    (ran("ALTER TABLE runs FORCE ROW LEVEL SECURITY"), "extra", "row security", "runs"),
    (
        ran(f"ALTER SEQUENCE {SEQUENCE} CACHE 100"),
        "changed",
        "sequence",
        f"state_transitions.{SEQUENCE}",
    ),
    (
        ran(f"ALTER SEQUENCE {SEQUENCE} INCREMENT BY -1 MINVALUE -9"),
        "changed",
        "sequence",
        f"state_transitions.{SEQUENCE}",
    ),
    (ran("ALTER TABLE runs DROP CONSTRAINT ck_runs_end"), "missing", "check", "runs.ck_runs_end"),
    (
        ran("ALTER TABLE runs ADD CONSTRAINT mine CHECK (version > 0)"),
        "extra",
        "check",
        "runs.mine",
    ),
    (
        ran(
            "ALTER TABLE runs DROP CONSTRAINT ck_runs_end",
            "ALTER TABLE runs ADD CONSTRAINT ck_runs_end CHECK (completed_at IS NULL)",
        ),
        "changed",
        "check",
        "runs.ck_runs_end",
    ),
    (ran("ALTER TABLE runs ALTER held DROP NOT NULL"), "changed", "column", "runs.held"),
    (ran("ALTER TABLE runs ALTER plan TYPE VARCHAR(9)"), "changed", "column", "runs.plan"),
    (
        ran("ALTER TABLE runs DROP CONSTRAINT runs_phase_id_fkey"),
        "missing",
        "foreign key",
        "runs.phase_id",
    ),
]


def cases(found: list[Case]) -> list[Any]:
    """The cases as parameters of a test."""
    return [
        pytest.param(*case, id=f"{number}-{case[1]}-{case[2]}") for number, case in enumerate(found)
    ]


def assert_found(engine: sa.Engine, case: Case) -> None:
    """The difference is found, alone; a trigger is put back by an upgrade."""
    change, problem, kind, name = case
    upgrade(address(engine))
    assert check(address(engine)) == []
    change(engine)
    (drift,) = check(address(engine))
    assert (drift.problem, drift.kind, drift.name) == (problem, kind, name)
    assert (drift.expected is None) == (problem == "extra")
    assert (drift.found is None) == (problem == "missing")
    assert drift.mend
    if kind == "trigger" and problem != "extra":
        assert upgrade(address(engine)).restored == (name,)
        assert check(address(engine)) == []


@pytest.mark.parametrize(("change", "problem", "kind", "name"), cases(SQLITE))
def test_a_difference_in_a_file_is_found_and_named(
    sqlite: sa.Engine, change: Change, problem: str, kind: str, name: str
) -> None:
    assert_found(sqlite, (change, problem, kind, name))


@pytest.mark.parametrize(("change", "problem", "kind", "name"), cases(POSTGRES))
def test_a_difference_on_a_server_is_found_and_named(
    postgres: sa.Engine, change: Change, problem: str, kind: str, name: str
) -> None:
    assert_found(postgres, (change, problem, kind, name))


def test_what_it_says_mends_it(empty: sa.Engine) -> None:
    upgrade(address(empty))
    broken = [
        "DROP INDEX ix_tasks_retry_of",
        "DROP INDEX ix_tasks_worker_id",
        "CREATE INDEX ix_tasks_worker_id ON tasks (slug)",
        "CREATE INDEX mine ON tasks (slug)",
        "ALTER TABLE runs ADD COLUMN note TEXT",
        "CREATE TABLE notes (x TEXT)",
    ]
    if empty.dialect.name == "postgresql":
        broken += [
            "ALTER TABLE runs DROP CONSTRAINT ck_runs_end",
            "ALTER TABLE runs ADD CONSTRAINT mine CHECK (version > 0)",
            'ALTER TABLE test_gates DROP CONSTRAINT "ck_test_gates_PASSED_exit_code"',
            'ALTER TABLE test_gates ADD CONSTRAINT "ck_test_gates_PASSED_exit_code" CHECK (true)',
            "CREATE RULE mine AS ON DELETE TO tasks DO INSTEAD NOTHING",
            "ALTER TABLE tasks ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE tasks FORCE ROW LEVEL SECURITY",
            f"ALTER SEQUENCE {SEQUENCE} INCREMENT BY 7 CACHE 100 CYCLE",
        ]
    ran(*broken)(empty)
    drifts = check(address(empty))
    assert len(drifts) == (11 if empty.dialect.name == "postgresql" else 5)
    for one in drifts:
        statements = one.mend.partition(": ")[2].split(";")
        ran(*(text for text in statements if text.strip()))(empty)
    assert check(address(empty)) == []


def test_checking_leaves_nothing_behind(sqlite: sa.Engine, postgres: sa.Engine) -> None:
    upgrade(address(postgres))
    check(address(postgres))
    with postgres.connect() as connection:
        schemas = sa.inspect(connection).get_schema_names()
    assert sorted(schemas) == ["information_schema", "public"]
    upgrade(address(sqlite))
    path = Path(str(sqlite.url.database))
    before = path.read_bytes()
    check(address(sqlite))
    assert path.read_bytes() == before


def test_no_database_is_a_clear_error_and_makes_none(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.db"
    with pytest.raises(StoreUnavailableError, match=r"no database .*patchline db upgrade"):
        check(f"sqlite:///{path}")
    assert list(tmp_path.iterdir()) == []


def test_a_schema_of_its_own_in_a_shared_database(postgres: sa.Engine) -> None:
    ran("CREATE TABLE runs (id INTEGER)", 'CREATE SCHEMA "Our own"')(postgres)
    options = {"options": '-csearch_path="Our\\ own"'}
    url = postgres.url.update_query_dict(options).render_as_string(hide_password=False)
    upgrade(url)
    assert check(url) == []
    with pytest.raises(StoreUnavailableError, match="not patchline's"):
        check(address(postgres))


def test_spelling_is_no_difference() -> None:
    one = """CREATE TABLE "t" ( a TEXT,  -- a comment, with a comma
        b INTEGER /* (another */ , CONSTRAINT [c] CHECK (a <> ',"x" ('), UNIQUE (a, b)) STRICT"""
    other = (
        "create table t (A text, B integer, constraint c check(a<>',\"x\" ('),unique(a,b)) strict"
    )
    assert plain(one) == plain(other)
    found, tail = parts(one)
    assert [" ".join(part) for part in found] == [
        "a text",
        "b integer",
        "constraint c check ( a <> ',\"x\" (' )",
        "unique ( a , b )",
    ]
    assert tail == ["strict"]
    assert plain("CHECK (a = 'X')") != plain("CHECK (a = 'x')")
