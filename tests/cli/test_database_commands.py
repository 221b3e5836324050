"""`patchline db upgrade` and `db check`, as people and programs call them."""

import sqlite3
from contextlib import closing
from pathlib import Path

from alembic import command
from sqlalchemy import create_engine

from state.migrations.runner import configuration
from state.upgrade import HEAD, REVISIONS
from tests.cli.shell import Shell


def made_before_versions_were_kept(shell: Shell) -> Path:
    """A home with the tables of the first revision and no word of a version."""
    path = shell.home.root / "pipeline.db"
    path.parent.mkdir()
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        command.upgrade(configuration(connection), "0001")
        connection.exec_driver_sql("DROP TABLE patchline_version")
    engine.dispose()
    return path


def run_sql(shell: Shell, statement: str) -> None:
    with closing(sqlite3.connect(shell.home.root / "pipeline.db")) as connection, connection:
        connection.execute(statement)


def test_a_new_home_gets_its_database(shell: Shell) -> None:
    done = shell.run("db", "upgrade", "--json")
    assert (done.code, done.err) == (0, "")
    assert done.json == {
        "database": str(shell.home.root / "pipeline.db"),
        "from": None,
        "to": HEAD,
        "revisions": list(REVISIONS),
        "copy": None,
        "restored": [],
    }
    assert (shell.home.root / ".gitignore").read_text() == "*\n"
    again = shell.run("db", "upgrade")
    assert again.code == 0
    assert f"at {HEAD} already" in again.out


def test_an_old_home_is_copied_and_brought_up_to_date(shell: Shell) -> None:
    path = made_before_versions_were_kept(shell)
    old = shell.run("db", "check", "--json")
    assert old.code == 3
    assert "schema 0001" in old.error["message"]
    assert "patchline db upgrade" in old.error["message"]
    done = shell.run("db", "upgrade", "--json")
    assert done.code == 0
    assert (done.json["from"], done.json["to"]) == ("0001", HEAD)
    assert Path(done.json["copy"]) == path.with_name("pipeline.db.before-0002")
    assert Path(done.json["copy"]).is_file()
    checked = shell.run("db", "check", "--json")
    assert (checked.code, checked.json) == (0, {"schema": HEAD, "drift": []})


def test_a_difference_is_told_and_mended(shell: Shell) -> None:
    shell.run("db", "upgrade")
    run_sql(shell, "DROP TRIGGER patchline_tasks_on_update")
    told = shell.run("db", "check", "--json")
    assert told.code == 1
    (drift,) = told.json["drift"]
    assert list(drift) == ["problem", "kind", "name", "expected", "found", "mend"]
    assert (drift["problem"], drift["kind"]) == ("missing", "trigger")
    assert drift["name"] == "tasks.patchline_tasks_on_update"
    for_people = shell.run("db", "check")
    assert for_people.code == 1
    assert "missing trigger: tasks.patchline_tasks_on_update" in for_people.out
    assert "patchline db upgrade" in for_people.out
    mended = shell.run("db", "upgrade")
    assert "Put back: trigger tasks.patchline_tasks_on_update" in mended.out
    good = shell.run("db", "check")
    assert (good.code, good.out) == (0, f"The database is as it should be (schema {HEAD}).\n")


def test_a_newer_database_says_to_upgrade_patchline(shell: Shell) -> None:
    shell.run("db", "upgrade")
    run_sql(shell, "UPDATE patchline_version SET version_num = '0999'")
    for words in (("db", "upgrade"), ("db", "check")):
        refused = shell.run(*words, "--json")
        assert refused.code == 3
        assert "Upgrade patchline" in refused.error["message"]


def test_checking_where_nothing_is_makes_nothing(shell: Shell) -> None:
    refused = shell.run("db", "check", "--json")
    assert refused.code == 3
    assert "no database" in refused.error["message"]
    assert not shell.home.root.exists()


def test_an_unfit_address_is_told_without_its_password(shell: Shell) -> None:
    address = "postgresql://ann:secret@127.0.0.1:1/x"
    for words in (("db", "upgrade"), ("db", "check")):
        refused = shell.run(*words, "--json", env={"PATCHLINE_DATABASE_URL": address})
        assert refused.code == 3
        assert "127.0.0.1" in refused.error["message"]
        assert "secret" not in refused.out + refused.err
    assert not shell.home.root.exists()
