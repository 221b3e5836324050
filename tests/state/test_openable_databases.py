"""Which databases are opened, upgraded or checked, and which are refused and left as they are."""

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from state.errors import PatchlineError, StoreUnavailableError
from state.migrations.snapshot import snapshot
from state.upgrade import check, create, require_current, stamp, upgrade, version_of
from tests.state.databases import address


def test_a_file_that_is_no_database_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.db"
    path.write_bytes(b"this is a letter, not a database" * 50)
    with pytest.raises(StoreUnavailableError, match=r"pipeline\.db .*file is not a database"):
        upgrade(f"sqlite:///{path}")
    assert path.read_bytes().startswith(b"this is a letter")


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
