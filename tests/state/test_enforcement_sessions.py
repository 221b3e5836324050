"""What a session may set or make for itself does not change the rules."""

from collections.abc import Iterator

import pytest

from state.schema import METADATA
from state.triggers import KEPT_TABLES
from tests.state.enforcement import LATER, Raw, assert_sound, refused
from tests.state.world import World

POSTGRESQL = pytest.mark.parametrize("url", ["postgresql"], indirect=True)
SQLITE = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
SEQUENCE = "state_transitions_transition_id_seq"


@pytest.fixture
def guest(world: World) -> Iterator[Raw]:
    """A session of somebody who may read and write rows, and no more."""
    with Raw(world.url) as one:
        name = f"guest_of_{one.rows('SELECT current_database()')[0][0]}"
        one.run(f"CREATE ROLE {name}")
        for table in METADATA.tables:
            one.run(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {name}")
        one.run(f"GRANT USAGE, SELECT ON SEQUENCE {SEQUENCE} TO {name}")
        one.run(f"SET ROLE {name}")
        try:
            yield one
        finally:
            one.run("ROLLBACK")
            one.run("RESET ROLE")
            one.run(f"DROP OWNED BY {name}")
            one.run(f"DROP ROLE {name}")
    assert_sound(world)


@POSTGRESQL
def test_a_guest_may_do_what_the_rules_allow(world: World, guest: Raw) -> None:
    task = world.make("task")
    assert guest.move("task", task, "queued") == 1


@POSTGRESQL
@pytest.mark.parametrize("first", [True, False])
def test_a_temporary_audit_table_proves_nothing(world: World, guest: Raw, first: bool) -> None:
    task = world.make("task")
    values = {**guest.audit_values("task", task, "queued"), "transition_id": 1}
    guest.run("CREATE TEMP TABLE state_transitions (LIKE public.state_transitions)")
    guest.run(f"SET search_path = {'pg_temp, public' if first else 'public, pg_temp'}")
    guest.run("BEGIN")
    guest.insert("pg_temp.state_transitions", values)
    with refused("no_audit_row"):
        guest.step("task", task, "queued", values["hash"])
    guest.run("ROLLBACK")
    about = {"audit_head": values["hash"], "capabilities": "[]", "metadata": "{}"}
    new = {**guest.new_like("task", task, "ghost"), **about}
    guest.run("BEGIN")
    guest.insert("pg_temp.state_transitions", {**values, "entity_id": "ghost"})
    with refused("no_audit_row"):
        guest.insert("tasks", new)
    guest.run("ROLLBACK")
    guest.run("DROP TABLE pg_temp.state_transitions")


@POSTGRESQL
@pytest.mark.parametrize("table", [*METADATA.tables, SEQUENCE])
def test_no_rule_looks_into_a_temporary_table(world: World, guest: Raw, table: str) -> None:
    """Were one asked, its rows or its lack of columns would show."""
    task = world.make("task")
    guest.run(f"CREATE TEMP TABLE {table} (nothing INTEGER)")
    guest.run("SET search_path = public, pg_temp")
    assert guest.move("task", task, "queued") == 1
    with refused("illegal_transition"):
        guest.audit("task", task, "completed")


@POSTGRESQL
def test_an_operator_of_ones_own_makes_nothing_equal(world: World) -> None:
    task = world.make("task")
    with Raw(world.url) as sql:
        sql.run("CREATE SCHEMA evil")
        sql.run(
            "CREATE FUNCTION evil.never(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE"
            " AS 'SELECT false'"
        )
        sql.run("CREATE OPERATOR evil.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.never)")
        sql.run("SET search_path = evil, pg_catalog, public")
        with refused("audit_mismatch"):
            sql.audit("task", task, "queued", entity_version=9)
        with refused("number", "not_initial"):
            sql.audit("task", "new", "queued", from_state="none")
    assert_sound(world)


@POSTGRESQL
@pytest.mark.parametrize("role", ["replica", "local"])
def test_a_replication_role_switches_no_rule_off(world: World, role: str) -> None:
    task = world.make("task")
    with Raw(world.url) as sql:
        sql.run(f"SET session_replication_role = {role}")
        with refused("no_audit_row"):
            sql.change("task", task, state="queued", version=2, updated_at=LATER)
        with refused("alone"):
            sql.audit("task", task, "queued")
        for table in KEPT_TABLES:
            if sql.rows(f"SELECT 1 FROM {table} LIMIT 1"):
                with refused("append_only"):
                    sql.run(f"DELETE FROM {table}")
            with refused("append_only"):
                sql.run(f"TRUNCATE {table} CASCADE")
    assert_sound(world)


@SQLITE
def test_without_foreign_keys_nothing_is_made_that_nobody_would_find(world: World) -> None:
    task = world.make("task")
    gate = world.make("test_gate")
    with Raw(world.url) as sql:
        for name, column in (("task", "workstream_id"), ("workstream", "run_id")):
            like = world.make(name)
            with refused("no_parent"), sql.transaction():
                head = sql.audit(name, "ghost", "pending" if name == "task" else "planned")
                new = {**sql.new_like(name, like, "ghost"), "audit_head": head, column: "nobody"}
                sql.insert(f"{name}s", new)
        links = {
            "task_dependencies": (task, "nobody"),
            "workstream_dependencies": (world.ws_id, "nobody"),
        }
        for table, (one, other) in links.items():
            for ends in ((one, other), (other, one)):
                with refused("no_parent"):
                    sql.run(f"INSERT INTO {table} VALUES (?, ?)", *ends)
        for ends in ((task, "nobody"), ("nobody", gate)):
            with refused("no_parent"):
                sql.run("INSERT INTO task_gates VALUES (?, ?, 'exit')", *ends)
        sql.run("INSERT INTO task_gates VALUES (?, ?, 'exit')", task, gate)
    assert_sound(world)


QUEUED = f"UPDATE tasks SET state = 'queued', version = 2, updated_at = '{LATER}',"


@SQLITE
def test_a_temporary_trigger_of_ones_own_makes_no_way_around(world: World) -> None:
    task = world.make("task")
    with Raw(world.url) as sql:
        sql.run(
            "CREATE TEMP TRIGGER mine AFTER UPDATE OF title ON main.tasks BEGIN UPDATE tasks "
            "SET state = 'completed', completed_at = '2030' WHERE task_id = NEW.task_id; END"
        )
        with refused("illegal_transition"):
            sql.change("task", task, title="x")
    assert_sound(world)


@SQLITE
def test_a_temporary_trigger_does_not_take_the_step_of_an_audit_row_twice(world: World) -> None:
    """Its own steps are over when the statement that set it off goes on with what it had read."""
    task = world.make("task")
    where = f"WHERE task_id = '{task}'"
    with Raw(world.url) as sql:
        first = sql.audit_values("task", task, "queued")
        second = {
            **first,
            **{"event_id": "evt_second", "entity_version": 3, "hash": "f" * 64},
            **{"from_state": "queued", "to_state": "cancelled", "prev_hash": first["hash"]},
        }
        names = ", ".join(f'"{name}"' for name in second)
        values = ", ".join("NULL" if one is None else repr(one) for one in second.values())
        sql.run(
            "CREATE TEMP TRIGGER mine BEFORE UPDATE OF title ON main.tasks BEGIN "
            f"{QUEUED} audit_head = '{first['hash']}' {where}; "
            f"INSERT INTO state_transitions ({names}) VALUES ({values}); "
            f"UPDATE tasks SET state = 'cancelled', version = 3, completed_at = '{LATER}', "
            f"audit_head = '{second['hash']}' {where}; END"
        )
        with refused("no_audit_row"), sql.transaction():
            sql.insert_audit(first)
            sql.run(f"{QUEUED} title = 'x', audit_head = '{first['hash']}' {where}")
        assert sql.row("task", task)["state"] == "pending"
    assert_sound(world)
