"""The schema's way from nothing, and from every earlier revision, to the present one."""

from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory

from state.errors import GuardNotSatisfied, StoreUnavailableError
from state.migrations.runner import configuration
from state.migrations.snapshot import snapshot
from state.schema import METADATA
from state.store import StateStore
from state.upgrade import (
    HEAD,
    REVISIONS,
    check,
    create,
    drop_triggers,
    require_current,
    upgrade,
    version_of,
)
from tests.forks import Companion
from tests.state.databases import address
from tests.state.old_databases import (
    assert_chained,
    at_revision,
    contents,
    every_state,
    fill,
    unhashed,
)


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


def upgrade_and_tell(url: str, test: Connection) -> None:
    test.send(upgrade(url).revisions)


def test_two_upgrades_at_once_apply_each_revision_once(empty: sa.Engine, tmp_path: Path) -> None:
    rows = every_state(tmp_path)
    at_revision(empty, "0001")
    fill(empty, rows)
    both = [Companion(upgrade_and_tell, address(empty)) for _ in range(2)]
    done = [revision for one in both for revision in one.hear()]
    for one in both:
        one.ended()
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
