"""`db check`: rules that were switched off, and rows that came past them, are found and named."""

import pytest

from state.upgrade import check, upgrade
from tests.state.enforcement import Raw
from tests.state.world import World

POSTGRESQL = pytest.mark.parametrize("url", ["postgresql"], indirect=True)
SQLITE = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
SEQUENCE = "state_transitions_transition_id_seq"


@POSTGRESQL
def test_a_replication_role_that_others_get_is_reported(world: World) -> None:
    """Foreign keys are not asked in their sessions."""
    with Raw(world.url) as sql:
        name: str = sql.rows("SELECT current_database()")[0][0]
        role = f"replica_of_{name}"
        sql.run(f"CREATE ROLE {role}")
        try:
            assert check(world.url) == []
            for whose in (f"DATABASE {name}", f"ROLE {role} IN DATABASE {name}"):
                sql.run(f"ALTER {whose} SET session_replication_role = replica")
                (drift,) = check(world.url)
                assert (drift.kind, drift.name) == ("setting", "session_replication_role")
                assert (drift.expected, drift.found) == ("origin", f"replica for {whose}")
                sql.run(drift.mend.partition(": ")[2])
                assert check(world.url) == []
        finally:
            sql.run(f"DROP ROLE {role}")


@SQLITE
def test_rows_that_came_past_checks_and_references_are_reported(world: World) -> None:
    task, entry = world.make("task"), world.make("patch_ledger")
    assert check(world.url) == []
    with Raw(world.url) as sql:
        sql.run("PRAGMA ignore_check_constraints = ON")
        assert sql.change("task", task, retry_count=9, max_retries=1) == 1
        assert sql.change("patch_ledger", entry, replaces="nobody") == 1
    drifts = {one.name: one for one in check(world.url)}
    assert drifts.keys() == {"tasks", "patch_ledger_entries of patch_ledger_entries"}
    assert {one.kind for one in drifts.values()} == {"rows"}
    assert drifts["tasks"].found == "CHECK constraint failed in tasks"
    lost = drifts["patch_ledger_entries of patch_ledger_entries"].found
    assert lost is not None
    assert lost.startswith("1 refer to missing ones")


@POSTGRESQL
def test_foreign_keys_that_are_switched_off_are_found(world: World) -> None:
    with Raw(world.url) as sql:
        sql.run("ALTER TABLE workstreams DISABLE TRIGGER ALL")
        upgrade(world.url)  # puts back what is ours
        drifts = check(world.url)
        assert {one.kind for one in drifts} == {"foreign key"}
        assert "workstreams.run_id" in {one.name for one in drifts}
        for statement in {one.mend.partition(": ")[2].partition(";")[0] for one in drifts}:
            sql.run(statement)
    upgrade(world.url)
    assert check(world.url) == []


@POSTGRESQL
def test_a_sequence_that_gives_used_numbers_again_is_found(world: World) -> None:
    with Raw(world.url) as sql:
        ((newest,),) = sql.rows("SELECT MAX(transition_id) FROM state_transitions")
        sql.rows(f"SELECT setval('{SEQUENCE}', 1)")
        (drift,) = check(world.url)
        assert (drift.kind, drift.name) == ("sequence", f"state_transitions.{SEQUENCE}")
        assert drift.expected == f"a number after {newest} comes next"
        assert drift.found == "2 comes next"
        sql.run(drift.mend.partition(": ")[2])
    assert check(world.url) == []
