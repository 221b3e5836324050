"""What was written stays: history, identities, ended rows; nothing is deleted or emptied."""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from state.checkpoints import checkpoint
from state.entities import KINDS
from state.machines import MACHINES
from state.schema import METADATA
from state.trigger_parts import LINKS
from state.triggers import APPEND_ONLY, KEPT_TABLES
from tests.state.enforcement import LATER, REFUSED, Raw, assert_sound, refused
from tests.state.stateless import make_compensation, make_lease
from tests.state.world import World

ENDED = [(name, state) for name, one in MACHINES.items() for state in sorted(one.terminal)]


@pytest.fixture
def sql(world: World) -> Iterator[Raw]:
    with Raw(world.url) as one:
        yield one
    assert_sound(world)


def fill(world: World) -> None:
    """At least one row in every table that keeps its rows."""
    for name in MACHINES:
        world.make(name)
    world.make_in("task", "running")
    one, other = world.make("task"), world.make("task")
    world.store.add_dependency("task", one, other)
    world.store.add_dependency("workstream", world.make("workstream"), world.ws_id)
    world.store.add_task_gate(one, world.make("test_gate"), "entry")
    world.store.create("phase", phase_id="p@1", plan="p", sha256="1", document="x")
    world.store.create("patch", sha256="ab" * 32, base_commit="b", diff=b"x")
    make_lease(world)
    make_compensation(world)
    assert checkpoint(world.store) is not None


def table_of(name: str) -> sa.Table:
    """The table of a machine."""
    return METADATA.tables[MACHINES[name].table]


def another(column: sa.Column[Any], value: Any) -> Any:
    """A value of the column's type that it does not have."""
    if isinstance(column.type, sa.JSON):
        return '{"put": "in"}'
    if isinstance(column.type, sa.Boolean):
        return not value
    if isinstance(column.type, sa.LargeBinary):
        return b"other"
    if isinstance(column.type, sa.Integer | sa.Float):
        return (value or 0) + 1
    return LATER if column.name.endswith("_at") else f"{value}_other"


def test_every_table_that_must_keep_its_rows_is_among_those_tested(world: World, sql: Raw) -> None:
    fill(world)
    assert set(KEPT_TABLES) == METADATA.tables.keys()
    for table in KEPT_TABLES:
        assert sql.rows(f"SELECT COUNT(*) FROM {table}") != [(0,)]


def test_no_row_is_deleted(world: World, sql: Raw) -> None:
    fill(world)
    for table in KEPT_TABLES:
        count = sql.rows(f"SELECT COUNT(*) FROM {table}")
        for statement in (f"DELETE FROM {table}", f"DELETE FROM {table} WHERE 1 = 1"):
            with refused("append_only"):
                sql.run(statement)
        assert sql.rows(f"SELECT COUNT(*) FROM {table}") == count


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_no_table_is_emptied_neither_by_itself_nor_with_its_parents(world: World, sql: Raw) -> None:
    fill(world)
    for table in KEPT_TABLES:
        for statement in (
            f"TRUNCATE {table} CASCADE",
            f"TRUNCATE ONLY {table} RESTART IDENTITY CASCADE",
            f"TRUNCATE {', '.join(dict.fromkeys([*LINKS, table]))} CASCADE",
        ):
            with refused("append_only"):
                sql.run(statement)
        assert sql.rows(f"SELECT COUNT(*) FROM {table}") != [(0,)]
    with refused("append_only"):
        sql.run("TRUNCATE state_transitions")
    with refused("append_only"):
        sql.run(f"TRUNCATE {', '.join(METADATA.tables)}")


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_no_column_of_what_was_written_down_changes(world: World, sql: Raw, table: str) -> None:
    fill(world)
    columns = METADATA.tables[table].c
    before = sql.rows(f"SELECT * FROM {table}")
    hows = ("", "OR REPLACE", "OR IGNORE", "OR FAIL") if sql.sqlite else ("",)
    for column in columns:
        for how in hows:
            with refused("append_only"):
                sql.run(f'UPDATE {how} {table} SET "{column.name}" = ?', another(column, None))
        with refused("append_only"):
            sql.run(f'UPDATE {table} SET "{column.name}" = "{column.name}"')
    assert sql.rows(f"SELECT * FROM {table}") == before


UNIQUE_BESIDES = ("audit_checkpoints", "task_attempts", "landing_leases", "compensation_actions")
"""Tables whose rows are identified by more than their key."""


@pytest.mark.parametrize("table", ["phases", "patches", "compensation_plans", *UNIQUE_BESIDES])
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_records_are_not_replaced(world: World, table: str) -> None:
    fill(world)
    for recursive in (False, True):
        with Raw(world.url, recursive=recursive) as sql:
            sql.driver.row_factory = None
            (before,) = sql.rows(f"SELECT * FROM {table}")
            names = METADATA.tables[table].c.keys()
            row = dict(zip(names, before, strict=True))
            fresh = {**row, names[0]: 99 if table == "audit_checkpoints" else "new"}
            ((number,),) = sql.rows(f"SELECT rowid FROM {table}")
            for verb in ("INSERT", "INSERT OR REPLACE", "REPLACE", "INSERT OR IGNORE"):
                with refused("exists"):
                    sql.insert(table, row, verb)
                if table != "audit_checkpoints":  # there the number is the key itself
                    with refused("exists"):
                        sql.insert(table, {**fresh, "rowid": number}, verb)
                if table in UNIQUE_BESIDES:
                    with refused("exists"):
                        sql.insert(table, fresh, verb)
            assert sql.rows(f"SELECT * FROM {table}") == [before]
    assert_sound(world)


def test_the_token_of_a_lease_is_never_given_out_again(world: World, sql: Raw) -> None:
    make_lease(world)
    ((token,),) = sql.rows("SELECT token FROM landing_leases")
    with refused("token"):
        sql.run("UPDATE landing_leases SET token = ?", token - 1)
    with refused("fixed"):
        sql.run("UPDATE landing_leases SET branch = 'other'")
    sql.run("UPDATE landing_leases SET token = ?", token + 1)
    assert sql.rows("SELECT token FROM landing_leases") == [(token + 1,)]


def test_a_compensation_that_has_ended_is_history(world: World, sql: Raw) -> None:
    plan, action = make_compensation(world)
    now = world.store.now()
    world.store.update("compensation_action", action, status="done", ended_at=now)
    world.store.update("compensation_plan", plan, outcome="done", completed_at=now)
    for statement in (
        "UPDATE compensation_actions SET status = 'failed'",
        "UPDATE compensation_actions SET status = 'pending', ended_at = NULL",
        "UPDATE compensation_plans SET outcome = 'failed'",
        "UPDATE compensation_plans SET outcome = NULL, completed_at = NULL",
    ):
        with refused("ended"):
            sql.run(statement)


@pytest.mark.parametrize("name", ["compensation_plan", "compensation_action"])
def test_what_was_planned_stays_as_it_was(world: World, sql: Raw, name: str) -> None:
    kind, ids = KINDS[name], make_compensation(world)
    before = sql.row(name, ids[name == "compensation_action"])
    for column in sorted(kind.identity):
        value = another(kind.table.c[column], before[column])
        with refused("fixed"):
            sql.run(f"UPDATE {kind.table.name} SET {column} = ?", value)


@pytest.mark.parametrize("name", [*MACHINES, "task_attempt"])
def test_what_a_row_is_never_changes(world: World, sql: Raw, name: str) -> None:
    kind = KINDS[name]
    assert {kind.key, "created_at"} <= kind.identity or name == "task_attempt"
    if name == "task_attempt":
        entity = world.store.get("task", world.make_in("task", "running")).token
    else:
        entity = world.make(name)
    before = sql.row(name, entity)
    for column in sorted(kind.identity):
        values = [another(kind.table.c[column], before[column])]
        values += [None] * (before[column] is not None)
        for value in values:
            with refused("fixed"):
                sql.run(
                    f"UPDATE {kind.table.name} SET {column} = ? WHERE {kind.key} = ?", value, entity
                )
            if kind.machine is None:
                continue
            target = kind.machine.targets(kind.machine.initial)[0]
            with refused("fixed"):  # nor with a change of state
                sql.move(name, entity, target, **{column: value})
    assert sql.row(name, entity) == before


@pytest.mark.parametrize(("name", "state"), ENDED)
def test_an_ended_row_does_not_change(world: World, sql: Raw, name: str, state: str) -> None:
    entity = world.make_in(name, state)
    before = sql.row(name, entity)
    for column in table_of(name).c:
        values = [another(column, before[column.name])]
        values += [None] * (before[column.name] is not None)
        for value in values:
            with refused("terminal", "fixed", "illegal_transition", "version", "no_audit_row"):
                sql.change(name, entity, **{column.name: value})
    assert sql.row(name, entity) == before


@pytest.mark.parametrize(("name", "state"), ENDED)
def test_the_metadata_of_an_ended_row_changes_with_an_audit_row_and_nothing_else_does(
    world: World, sql: Raw, name: str, state: str
) -> None:
    entity = world.make_in(name, state)
    with refused("terminal"):
        sql.change(name, entity, metadata='{"a":1}')
    with refused("terminal"):
        sql.change(name, entity, updated_at=LATER)

    def with_audit_row(**columns: Any) -> None:
        with sql.transaction():
            head = sql.audit(name, entity, state)
            sql.change(name, entity, audit_head=head, **columns)

    with_audit_row(metadata='{"a":1}', updated_at=LATER)
    assert sql.row(name, entity)["metadata"] == '{"a":1}'
    before = sql.row(name, entity)
    for column in table_of(name).c:
        if column.name not in ("metadata", "updated_at", "audit_head"):
            with refused("terminal", "fixed", "illegal_transition", "version", "no_audit_row"):
                with_audit_row(**{column.name: another(column, before[column.name])})
    assert sql.row(name, entity) == before


def test_a_committed_patch_keeps_its_commit_through_its_rollback(world: World, sql: Raw) -> None:
    entry = world.make_in("patch_ledger", "committed")
    before = sql.row("patch_ledger", entry)
    for column in table_of("patch_ledger").c:
        if column.name not in ("metadata", "updated_at"):
            with refused("fixed", "illegal_transition", "version", "no_audit_row"):
                sql.change(
                    "patch_ledger", entry, **{column.name: another(column, before[column.name])}
                )
    for column in ("commit_sha", "committed_at", "candidate_tree", "base_commit"):
        with refused("fixed"):
            sql.move("patch_ledger", entry, "rolled_back", **{column: "other"})
    assert sql.row("patch_ledger", entry) == before
    assert sql.move("patch_ledger", entry, "rolled_back") == 1
    assert sql.row("patch_ledger", entry)["commit_sha"] == before["commit_sha"]


def test_what_is_not_fixed_may_change_until_the_end(world: World, sql: Raw) -> None:
    """The rules forbid no more than they say."""
    free: dict[str, dict[str, Any]] = {
        "run": {"head_commit": "h", "held": True, "metadata": '{"a":1}'},
        "workstream": {"branch": "b", "merge_commit": "m", "title": "t"},
        "task": {"feedback": "f", "retry_count": 1, "capabilities": '["x"]'},
        "worker": {"heartbeat_at": LATER, "drain": True, "pid": 7},
        "uet_worker": {"path": "/x", "heartbeat_at": LATER},
        "patch_ledger": {"apply_attempts": 2, "candidate_commit": "c"},
        "test_gate": {"output": "o", "seconds": 1.5},
        "circuit_breaker": {"failure_count": 3, "probe_token": "p"},
    }
    assert free.keys() == MACHINES.keys()
    for name, columns in free.items():
        assert sql.change(name, world.make(name), **columns) == 1
    with pytest.raises(REFUSED):
        sql.change("task", world.make("task"), retry_count=4)
