"""The home folder: what a new one holds, and whose Dagster it uses."""

import os
from pathlib import Path

import pytest

from pipeline_defs.cli.dev import prepared_environment
from state.home import Home
from tests.cli.shell import Shell


@pytest.fixture(autouse=True)
def our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take back what preparing Dagster's folder sets for this process."""
    for name in ("DAGSTER_HOME", "PATCHLINE_HOME"):
        monkeypatch.setenv(name, "unset")
        monkeypatch.delenv(name)


def test_a_home_in_the_users_checkout_is_not_untracked_there(shell: Shell) -> None:
    home = {"PATCHLINE_HOME": str(shell.repo / ".state")}
    assert shell.run("run", shell.plan(), "--dry-run", env=home).code == 0
    assert (shell.repo / ".state").is_dir()
    assert shell.git("status", "--porcelain") == ""


def test_a_folder_that_holds_something_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").touch()
    Home.at(tmp_path).create()
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_a_dagster_home_of_the_callers_is_neither_used_nor_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign, home = tmp_path / "foreign", Home.at(tmp_path / "home")
    foreign.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(foreign))
    environment = prepared_environment(home)
    assert environment["DAGSTER_HOME"] == os.environ["DAGSTER_HOME"] == str(home.dagster)
    assert (home.dagster / "dagster.yaml").is_file()
    assert list(foreign.iterdir()) == []


def test_dagsters_tables_are_there_before_its_services_start(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    prepared_environment(home)
    made = {str(path.relative_to(home.dagster)) for path in home.dagster.rglob("*.db")}
    assert made >= {"history/runs.db", "history/runs/index.db", "schedules/schedules.db"}
