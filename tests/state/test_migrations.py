"""The schema's way from nothing, and from every earlier revision, to the present one."""

import subprocess
import sys
from ast import literal_eval
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory

from state.canonical import canonical_json
from state.chain import row_hash
from state.clock_and_ids import ManualClock, SequentialIds
from state.errors import GuardNotSatisfied, PatchlineError, StoreUnavailableError
from state.machines import MACHINES
from state.migrations.runner import configuration
from state.migrations.snapshot import snapshot
from state.schema import METADATA, state_transitions
from state.store import StateStore
from state.upgrade import (
    HEAD,
    REVISIONS,
    check,
    create,
    drop_triggers,
    require_current,
    stamp,
    upgrade,
    version_of,
)
from tests.state.databases import address, empty_postgres, empty_sqlite
from tests.state.world import World

MACHINE_TABLES = [METADATA.tables[machine.table] for machine in MACHINES.values()]
Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture
def postgres() -> Iterator[sa.Engine]:
    """An empty PostgreSQL database."""
    with empty_postgres() as engine:
        yield engine


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[sa.Engine]:
    """An empty SQLite file, `pipeline.db`."""
    with empty_sqlite(tmp_path) as engine:
        yield engine


@pytest.fixture(params=["sqlite", "postgres"])
def empty(request: pytest.FixtureRequest) -> sa.Engine:
    """An empty database of each kind."""
    return request.getfixturevalue(request.param)


NEWER_TABLES = {
    "audit_checkpoints",
    "landing_leases",
    "compensation_plans",
    "compensation_actions",
}
"""Tables that revision 0001 did not have."""


def at_revision(engine: sa.Engine, revision: str, *, versioned: bool = True) -> None:
    """Bring an empty database to a revision through Alembic alone."""
    with engine.begin() as connection:
        command.upgrade(configuration(connection), revision)
        if not versioned:
            connection.exec_driver_sql("DROP TABLE patchline_version")


def every_state(tmp_path: Path) -> Rows:
    """The rows of a store with an entity in every state of every machine, as revision 0001 had."""
    clock = ManualClock()
    url = f"sqlite:///{tmp_path / 'source.db'}"
    with StateStore.open(url, clock=clock, ids=SequentialIds()) as store:
        world = World(store, clock, tmp_path)
        for name, machine in MACHINES.items():
            for state in machine.states:
                world.make_in(name, state)
        store.record("run", world.run_id, "held", metadata={"why": "caf\u00e9", "n": 1.5})
        with store.reading() as connection:
            found = {
                table.name: [dict(row) for row in connection.execute(sa.select(table)).mappings()]
                for table in METADATA.sorted_tables
                if table.name not in NEWER_TABLES
            }
    for row in found["state_transitions"]:
        row.update(prev_hash=None, hash=None)
    for table in MACHINE_TABLES:
        for row in found[table.name]:
            del row["audit_head"]
    for row in found["patch_ledger_entries"]:
        del row["reverted_by"]
    return found


def fill(engine: sa.Engine, rows: Rows) -> None:
    with engine.begin() as connection:
        for table in METADATA.sorted_tables:
            if rows.get(table.name):
                connection.execute(table.insert(), rows[table.name])
        if engine.dialect.name == "postgresql":
            last = "SELECT setval('state_transitions_transition_id_seq', 10000)"
            connection.exec_driver_sql(last)


def contents(engine: sa.Engine, rows: Rows) -> Rows:
    """What the database holds in the columns that these rows have."""
    kept: Rows = {}
    with engine.connect() as connection:
        for name, expected in rows.items():
            table = METADATA.tables[name]
            columns = list(expected[0]) if expected else list(table.primary_key.c.keys())
            chosen = [table.c[one] for one in columns if one not in ("prev_hash", "hash")]
            query = sa.select(*chosen).order_by(*table.primary_key.c)
            kept[name] = [dict(row) for row in connection.execute(query).mappings()]
    return kept


def unhashed(rows: Rows) -> Rows:
    """The rows in the order of their keys, without the columns that the upgrade fills."""
    cut: Rows = {}
    for name, found in rows.items():
        keys = METADATA.tables[name].primary_key.c.keys()
        ordered = sorted(found, key=lambda row: tuple(row[key] for key in keys))
        drop = ("prev_hash", "hash")
        cut[name] = [{k: v for k, v in row.items() if k not in drop} for row in ordered]
    return cut


def assert_chained(engine: sa.Engine) -> int:
    """Every chain is whole and ends at the head its entity knows; says how many rows there are."""
    heads: dict[tuple[str, str], str | None] = {}
    with engine.connect() as connection:
        query = sa.select(state_transitions).order_by(state_transitions.c.transition_id)
        rows = connection.execute(query).mappings().all()
        for row in rows:
            entity = (row["entity_type"], row["entity_id"])
            assert row["prev_hash"] == heads.get(entity)
            assert row["hash"] == row_hash(row, canonical_json(row["metadata"]))
            heads[entity] = row["hash"]
        for name, machine in MACHINES.items():
            table = METADATA.tables[machine.table]
            for key, head in connection.execute(
                sa.select(table.c[machine.key], table.c.audit_head)
            ):
                assert head == heads[name, key]
    return len(rows)


# Revisions


def test_the_revisions_that_are_known_are_those_that_there_are() -> None:
    script = ScriptDirectory.from_config(configuration())
    found = [one.revision for one in script.walk_revisions()]
    assert tuple(reversed(found)) == REVISIONS
    assert script.get_current_head() == HEAD


def test_a_new_revision_can_be_made_from_the_template(tmp_path: Path) -> None:
    config = configuration()
    config.set_main_option("version_locations", str(tmp_path))
    made = command.revision(config, "add a thing", rev_id="9999", head="base")
    assert made is not None
    text = Path(made.path).read_text()
    compile(text, made.path, "exec")
    assert "revision = '9999'" in text.replace('"', "'")


def test_the_models_at_once_and_the_revisions_give_the_same_schema(empty: sa.Engine) -> None:
    with empty.begin() as connection:
        create(connection)
        at_once = snapshot(connection)
        for table in reversed(METADATA.sorted_tables):
            drop_triggers(connection)
            table.drop(connection)
        connection.exec_driver_sql("DROP TABLE patchline_version")
        assert snapshot(connection) == {}
    upgrade(address(empty))
    with empty.connect() as connection:
        stepwise = snapshot(connection)
        require_current(connection)
    assert len(at_once) > 300
    assert stepwise == at_once


@pytest.mark.parametrize("versioned", [True, False])
def test_upgrading_keeps_every_row_and_chains_its_history(
    empty: sa.Engine, tmp_path: Path, versioned: bool
) -> None:
    rows = every_state(tmp_path)
    at_revision(empty, "0001", versioned=versioned)
    fill(empty, rows)
    done = upgrade(address(empty))
    assert (done.before, done.after, done.revisions) == ("0001", HEAD, REVISIONS[1:])
    assert contents(empty, rows) == unhashed(rows)
    assert assert_chained(empty) == len(rows["state_transitions"]) > 100
    assert check(address(empty)) == []


def test_rows_that_break_a_newer_rule_are_left_as_they_are(
    empty: sa.Engine, tmp_path: Path
) -> None:
    """The rules are asked of what is written from then on."""
    rows = every_state(tmp_path)
    at_revision(empty, "0001")
    fill(empty, rows)
    with empty.begin() as connection:
        for statement in (
            "UPDATE runs SET started_at = NULL",
            "UPDATE tasks SET retry_count = -3, updated_at = 'zzzz'",
            "UPDATE test_gates SET exit_code = 99 WHERE state = 'PASSED'",
            "UPDATE task_attempts SET ended_at = NULL, outcome = NULL",
        ):
            connection.exec_driver_sql(statement)
    url = address(empty)
    assert upgrade(url).revisions == REVISIONS[1:]
    assert check(url) == []
    with StateStore.open(url, events=tmp_path / "events.jsonl") as store:
        (run, *_) = store.find("run", state="running")
        assert (run.started_at, store.find("task", limit=1)[0].retry_count) == (None, -3)
        assert store.transition("run", run.run_id, "failed").to_state == "failed"
        task = store.find("task", state="pending")[0].task_id
        with pytest.raises(GuardNotSatisfied, match=r"has its time as YYYY-MM-DDT"):
            store.transition("task", task, "queued")
        with empty.begin() as connection:  # what was no time may be made one
            connection.exec_driver_sql(
                "UPDATE tasks SET updated_at = created_at WHERE state = 'pending'"
            )
        assert store.transition("task", task, "queued").to_state == "queued"


def test_a_second_upgrade_does_nothing(empty: sa.Engine) -> None:
    first, second = upgrade(address(empty)), upgrade(address(empty))
    assert (first.before, first.revisions, first.copy) == (None, REVISIONS, None)
    assert (second.before, second.revisions, second.restored) == (HEAD, (), ())


def test_two_upgrades_at_once_apply_each_revision_once(empty: sa.Engine, tmp_path: Path) -> None:
    rows = every_state(tmp_path)
    at_revision(empty, "0001")
    fill(empty, rows)
    script = "import sys; from state.upgrade import upgrade; print(upgrade(sys.argv[1]).revisions)"
    both = [
        subprocess.Popen(
            [sys.executable, "-c", script, address(empty)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = sorted(one.communicate(timeout=60)[0].strip() for one in both)
    assert [one.returncode for one in both] == [0, 0]
    done = [one for said_by_one in said for one in literal_eval(said_by_one)]
    assert sorted(done) == list(REVISIONS[1:])
    assert_chained(empty)


def test_work_goes_on_where_it_was_before_the_upgrade(sqlite: sa.Engine, tmp_path: Path) -> None:
    rows = every_state(tmp_path)
    at_revision(sqlite, "0001", versioned=False)
    fill(sqlite, rows)
    url = address(sqlite)
    upgrade(url)
    with StateStore.open(url, events=tmp_path / "events.jsonl") as store:
        (run,) = store.find("run", state="running", limit=1)
        store.transition("run", run.run_id, "failed", reason="because")
        assert store.get("run", run.run_id).state == "failed"
    assert_chained(sqlite)


# A SQLite file


def test_the_file_as_it_was_is_kept(sqlite: sa.Engine, tmp_path: Path) -> None:
    rows = every_state(tmp_path)
    at_revision(sqlite, "0001")
    fill(sqlite, rows)
    kept = upgrade(address(sqlite)).copy
    assert kept == tmp_path / "pipeline.db.before-0002"
    copy = sa.create_engine(f"sqlite:///{kept}", poolclass=sa.NullPool)
    with copy.connect() as connection:
        assert version_of(connection) == "0001"
    assert contents(copy, rows) == unhashed(rows)
    assert not list(tmp_path.glob("*.new"))


def test_a_revision_that_fails_leaves_the_file_as_it_was(sqlite: sa.Engine, tmp_path: Path) -> None:
    at_revision(sqlite, "0001")
    with sqlite.begin() as connection:
        before = snapshot(connection)
        at = "2026-01-01T00:00:00.000000Z"
        connection.exec_driver_sql(
            "INSERT INTO task_attempts (attempt_id, task_id, number, worker_id, started_at,"
            f" metadata) VALUES ('a', 'nobody', 1, 'w', '{at}', '{{}}')"
        )
    with pytest.raises(StoreUnavailableError, match="refer to missing ones, in task_attempts"):
        upgrade(address(sqlite))
    with sqlite.connect() as connection:
        assert version_of(connection) == "0001"
        assert snapshot(connection) == before
    assert not list(tmp_path.glob("*before*"))


def test_a_file_that_is_no_database_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.db"
    path.write_bytes(b"this is a letter, not a database" * 50)
    with pytest.raises(StoreUnavailableError, match=r"pipeline\.db .*file is not a database"):
        upgrade(f"sqlite:///{path}")
    assert path.read_bytes().startswith(b"this is a letter")


# What may be opened


def test_only_the_present_revision_may_be_opened(empty: sa.Engine) -> None:
    with empty.begin() as connection:
        with pytest.raises(StoreUnavailableError, match=r"is empty.*patchline db upgrade"):
            require_current(connection)
        create(connection)
        require_current(connection)
        stamp(connection, "0001")
        with pytest.raises(StoreUnavailableError, match=r"schema 0001.*patchline db upgrade"):
            require_current(connection)
        stamp(connection, "0999")
        with pytest.raises(StoreUnavailableError, match=r"older than the database.*Upgrade patchl"):
            require_current(connection)


def test_a_newer_database_is_not_touched(empty: sa.Engine) -> None:
    with empty.begin() as connection:
        create(connection)
        stamp(connection, "0999")
        before = snapshot(connection)
    for act in (upgrade, check):
        with pytest.raises(StoreUnavailableError, match="older than the database"):
            act(address(empty))
    with empty.connect() as connection:
        assert (version_of(connection), snapshot(connection)) == ("0999", before)


def test_somebody_elses_database_is_not_touched(empty: sa.Engine) -> None:
    with empty.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE runs (id INTEGER)")
        before = snapshot(connection)
    for act in (upgrade, check):
        with pytest.raises(StoreUnavailableError, match=r"not patchline's.*\(runs\)"):
            act(address(empty))
    with empty.connect() as connection:
        assert snapshot(connection) == before


def test_a_database_that_lost_a_table_is_not_opened(empty: sa.Engine) -> None:
    with empty.begin() as connection:
        create(connection)
        connection.exec_driver_sql("DROP TABLE task_gates")
        with pytest.raises(StoreUnavailableError, match="lacks our tables task_gates"):
            require_current(connection)


@pytest.mark.parametrize("url", ["mysql://x/y", "no address", "sqlite://"])
def test_other_addresses_are_refused(url: str) -> None:
    for act in (upgrade, check):
        with pytest.raises(PatchlineError, match=r"postgresql|SQLite|file"):
            act(url)


def test_opening_a_store_does_not_wait_for_alembic(tmp_path: Path) -> None:
    script = (
        "import sys; from state.store import StateStore\n"
        "StateStore.open(sys.argv[1]).close()\n"
        "assert 'alembic' not in sys.modules"
    )
    url = f"sqlite:///{tmp_path / 'pipeline.db'}"
    subprocess.run([sys.executable, "-c", script, url], check=True, timeout=60)
