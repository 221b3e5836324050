"""How rows come to be: in the initial state, with an audit row, and never in another's place."""

import sqlite3
from collections.abc import Iterator

import psycopg
import pytest

from state.machines import MACHINES
from tests.state.enforcement import TABLES, Raw, assert_sound, refused
from tests.state.world import World

UPSERTS = ("INSERT OR REPLACE", "REPLACE", "INSERT OR IGNORE", "INSERT OR FAIL", "INSERT OR ABORT")
HIDDEN = ("rowid", "oid", "_rowid_")


@pytest.fixture
def sql(world: World) -> Iterator[Raw]:
    with Raw(world.url) as one:
        yield one
    assert_sound(world)


def create(sql: Raw, name: str, like: str, new_id: str, **other: object) -> None:
    """A new row by hand with its audit row, in one transaction."""
    with sql.transaction():
        head = sql.audit(name, new_id, MACHINES[name].initial)
        values = {**sql.new_like(name, like, new_id), "audit_head": head, **other}
        sql.insert(TABLES[name][0], values)


@pytest.mark.parametrize("name", MACHINES)
def test_a_row_begins_in_its_initial_state_with_version_1_and_an_audit_row(
    world: World, sql: Raw, name: str
) -> None:
    like = world.make(name)
    machine = MACHINES[name]
    create(sql, name, like, "new_1")
    assert sql.row(name, "new_1")["version"] == 1

    for state in machine.states[1:] if machine.states[0] == machine.initial else machine.states:
        if state != machine.initial:
            with refused("not_initial"):
                create(sql, name, like, "new_2", state=state)
            with refused("not_initial"):
                sql.audit(name, "new_2", state)
    for version in (0, 2, -1):
        with refused("not_initial"):
            create(sql, name, like, "new_2", version=version)
        with refused("not_initial"):
            sql.audit(name, "new_2", machine.initial, entity_version=version)
    with refused("not_initial"):
        sql.audit(name, "new_2", machine.initial, prev_hash="0" * 64)
    with refused("no_audit_row"):
        sql.insert(machine.table, sql.new_like(name, like, "new_2"))
    with refused("no_audit_row"):
        create(sql, name, like, "new_2", audit_head="0" * 64)
    with refused("exists"):
        sql.audit(name, like, machine.initial, from_state="none", entity_version=1, prev_hash=None)
    with refused("audit_mismatch"):
        sql.audit(name, "nobody", machine.initial, from_state=machine.initial)


def test_the_audit_row_of_a_new_row_is_of_that_row(world: World, sql: Raw) -> None:
    like = world.make("task")
    worker = world.make("worker")

    def with_audit_row_of(entity_type: str, new_id: str) -> None:
        with sql.transaction():
            head = sql.audit(entity_type, new_id, MACHINES[entity_type].initial)
            sql.insert("tasks", {**sql.new_like("task", like, "new"), "audit_head": head})

    for entity_type, new_id in (("task", "other"), ("worker", "new")):
        with refused("no_audit_row"):
            with_audit_row_of(entity_type, new_id)
    assert sql.rows("SELECT COUNT(*) FROM workers") == [(1,)]
    assert sql.row("worker", worker)["version"] == 1


def test_two_rows_do_not_share_an_audit_row(world: World, sql: Raw) -> None:
    like = world.make("task")

    def twins() -> None:
        with sql.transaction():
            head = sql.audit("task", "a", "pending")
            row = {**sql.new_like("task", like, "a"), "audit_head": head}
            both = [row, {**row, "task_id": "b"}]
            names = ", ".join(f'"{column}"' for column in row)
            marks = f"({', '.join('?' * len(row))})"
            values = [value for one in both for value in one.values()]
            sql.run(f"INSERT INTO tasks ({names}) VALUES {marks}, {marks}", *values)

    with refused("no_audit_row"):
        twins()


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_postgresql_upserts_do_not_touch_a_row(world: World, sql: Raw, name: str) -> None:
    entity = world.make(name)
    table, key = TABLES[name]
    before = sql.row(name, entity)
    given = {column: value for column, value in before.items() if value is not None}
    names = ", ".join(f'"{column}"' for column in given)
    marks = ", ".join("?" * len(given))
    target = MACHINES[name].states[-1]
    for action in (f"UPDATE SET state = '{target}'", "UPDATE SET metadata = '{}'", "NOTHING"):
        upsert = f"INSERT INTO {table} ({names}) VALUES ({marks}) ON CONFLICT ({key}) DO {action}"
        with refused("exists"):
            sql.run(upsert, *given.values())
    assert sql.row(name, entity) == before


@pytest.mark.parametrize("recursive", [False, True])
@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_sqlite_upserts_and_replacements_do_not_touch_a_row(
    world: World, name: str, recursive: bool
) -> None:
    entity, other = world.make(name), world.make(name)
    machine = MACHINES[name]
    with Raw(world.url, recursive=recursive) as sql:
        before, all_rows = sql.row(name, entity), sql.rows(f"SELECT * FROM {machine.table}")
        given = {column: value for column, value in before.items() if value is not None}
        for verb in UPSERTS:
            with refused("exists"):
                sql.insert(machine.table, given, verb)
        names, marks = ", ".join(f'"{column}"' for column in given), ", ".join("?" * len(given))
        insert = f"INSERT INTO {machine.table} ({names}) VALUES ({marks}) ON CONFLICT"
        for rest in (f"({machine.key}) DO UPDATE SET state = excluded.state", "DO NOTHING"):
            with refused("exists"):
                sql.run(f"{insert} {rest}", *given.values())
        for how in ("REPLACE", "IGNORE", "FAIL", "ROLLBACK"):
            with refused("fixed"):
                sql.run(
                    f"UPDATE OR {how} {machine.table} SET {machine.key} = ? "
                    f"WHERE {machine.key} = ?",
                    entity,
                    other,
                )
        assert sql.rows(f"SELECT * FROM {machine.table}") == all_rows
    assert_sound(world)


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_row_is_not_put_aside_by_the_hidden_number_that_sqlite_gives_it(
    world: World, sql: Raw, name: str, hidden: str
) -> None:
    entity, other = world.make(name), world.make(name)
    table, key = TABLES[name]
    ((number,),) = sql.rows(f"SELECT rowid FROM {table} WHERE {key} = ?", entity)
    for how in ("", "OR REPLACE"):
        with refused("fixed"):
            sql.run(f"UPDATE {how} {table} SET {hidden} = ? WHERE {key} = ?", number, other)
    with refused("exists"):
        create(sql, name, other, "new", **{hidden: number})
    for number in (-1, 0, -7):
        with refused("number"):
            create(sql, name, other, "new", **{hidden: number})
    assert len(sql.rows(f"SELECT 1 FROM {table} WHERE {key} IN (?, ?)", entity, other)) == 2


def test_the_database_numbers_the_audit_rows_itself(world: World, sql: Raw) -> None:
    task = world.make("task")
    ((last,),) = sql.rows("SELECT MAX(transition_id) FROM state_transitions")
    huge = 2**63 - 1
    for number in (-huge, -1, 0, 1, last, last + 1, last + 2, last + 1_000_000, huge):
        with refused("number", "exists"):
            sql.audit("task", task, "queued", transition_id=number)
    assert sql.move("task", task, "queued") == 1
    # A session that has had numbers of the sequence does not choose them either.
    for number in (-1, 0, last, last + 2, huge):
        with refused("number", "exists"):
            sql.audit("task", task, "cancelled", transition_id=number)
    world.store.transition("task", task, "cancelled")
    ids = [row[0] for row in sql.rows("SELECT transition_id FROM state_transitions ORDER BY 1")]
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_number_that_was_never_used_is_not_used_later(world: World, sql: Raw) -> None:
    task = world.make("task")
    sql.run("BEGIN")
    sql.audit("task", task, "queued")
    ((gap,),) = sql.rows("SELECT last_value FROM state_transitions_transition_id_seq")
    sql.run("ROLLBACK")
    sql.move("task", task, "queued")
    with refused("number"):
        sql.audit("task", task, "cancelled", transition_id=gap)
    with (
        Raw(world.url) as fresh,
        pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="currval"),
    ):
        fresh.audit("task", task, "cancelled", transition_id=gap)


def test_an_audit_row_is_not_replaced_by_its_event_id(world: World, sql: Raw) -> None:
    task = world.make("task")
    ((event,),) = sql.rows("SELECT event_id FROM state_transitions WHERE entity_id = ?", task)
    values = sql.audit_values("task", task, "queued", event_id=event)
    verbs = UPSERTS if sql.sqlite else ("INSERT",)
    for verb in verbs:
        with refused("exists"):
            sql.insert_audit(values, verb)
    names, marks = ", ".join(f'"{name}"' for name in values), ", ".join("?" * len(values))
    insert = f"INSERT INTO state_transitions ({names}) VALUES ({marks}) ON CONFLICT (event_id)"
    for action in ("UPDATE SET to_state = 'cancelled'", "NOTHING"):
        with refused("exists"):
            sql.run(f"{insert} DO {action}", *values.values())


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"entity_type": "ghost"}, "entity_type"),
        ({"entity_type": "Task"}, "entity_type"),
        ({"hash": None}, "no_hash"),
        ({"hash": "abc"}, "no_hash"),
        ({"entity_version": 1}, "audit_mismatch"),
        ({"entity_version": 3}, "audit_mismatch"),
        ({"from_state": "blocked"}, "illegal_transition"),
        ({"from_state": "retrying"}, "audit_mismatch"),
        ({"prev_hash": None}, "audit_mismatch"),
        ({"prev_hash": "0" * 64}, "audit_mismatch"),
        ({"entity_id": "nobody"}, "audit_mismatch"),
    ],
)
def test_an_audit_row_goes_on_from_the_entity_as_it_is(
    world: World, sql: Raw, wrong: dict[str, object], code: str
) -> None:
    task = world.make("task")
    with refused(code):
        sql.audit("task", task, "queued", **wrong)


@pytest.mark.parametrize("column", ["event_id", "entity_type", "from_state", "to_state", "trigger"])
def test_an_audit_row_has_all_that_it_needs(world: World, sql: Raw, column: str) -> None:
    values = {**sql.audit_values("task", world.make("task"), "queued"), column: None}
    with pytest.raises((sqlite3.IntegrityError, psycopg.IntegrityError), match=column):
        sql.insert_audit(values)


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_rows_that_are_copied_in_are_judged_as_well(world: World, sql: Raw) -> None:
    def copied() -> None:
        columns = "run_id, state, version, held, created_at, updated_at, metadata"
        with sql.driver.cursor().copy(f"COPY runs ({columns}) FROM STDIN") as copy:
            copy.write_row(("r9", "running", 1, False, "2026", "2026", "{}"))

    with refused("not_initial"):
        copied()
