"""The code location: what loads, what is left out, and that loading has no side effects."""

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml

from pipeline_defs.dagster_home import SETTINGS
from pipeline_defs.jobs import build_job, build_jobs
from pipeline_defs.location import load_definitions, plans_folder, register_folder
from pipeline_defs.plan.loader import load_plan
from pipeline_defs.revisions import Revision, register
from state.home import Home

HOUSE = Path(__file__).parents[2]


def plan(name: str, **more: object) -> dict[str, object]:
    """A plan of two workstreams whose ids provoke collisions of names."""
    tasks = [
        {"id": "open", "prompt": "Open."},
        {"id": "land", "prompt": "Land.", "depends_on": ["open"]},
    ]
    return {
        "plan": name,
        "repo": ".",
        "defaults": {"tool": "same"},
        "tools": {"same": {"command": ["true"]}},
        "gates": {"ok": {"command": ["true"]}},
        "workstreams": [
            {"id": "core", "gates": ["ok"], "files_scope": ["a/**"], "tasks": tasks},
            {"id": "start", "gates": ["ok"], "files_scope": ["b/**"], "tasks": tasks},
        ],
    } | more


def write_plan(folder: Path, document: dict[str, object], name: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name or document['plan']}.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def revision(folder: Path, document: dict[str, object]) -> Revision:
    path = write_plan(folder, document)
    return register(Home.at(folder / "home"), load_plan(path))


def job_names(definitions: dg.Definitions) -> set[str]:
    return {job.name for job in definitions.resolve_all_job_defs()} - {"__ASSET_JOB"}


def test_each_plan_gives_a_job_and_each_workstream_one_of_its_own(tmp_path: Path) -> None:
    plans = tmp_path / "plans"
    write_plan(plans, plan("one"))
    write_plan(plans, plan("start"))
    loaded = load_definitions(Home.at(tmp_path / "home"), plans)
    dg.Definitions.validate_loadable(loaded)
    assert job_names(loaded) == {
        *("one", "one__core", "one__start"),
        *("start", "start__core", "start__start"),
    }


def test_a_disabled_workstream_has_no_job_of_its_own(tmp_path: Path) -> None:
    document = plan("one")
    document["workstreams"][1]["enabled"] = False  # type: ignore[index]
    jobs = build_jobs(revision(tmp_path, document))
    assert [job.name for job in jobs] == ["one", "one__core"]


def test_building_a_job_twice_gives_the_same_graph(tmp_path: Path) -> None:
    made = revision(tmp_path, plan("one"))
    first, second = (build_job(made).get_job_snapshot_id() for _ in range(2))
    assert first == second


def test_a_broken_plan_is_left_out_and_takes_no_other_down(tmp_path: Path) -> None:
    plans = tmp_path / "plans"
    write_plan(plans, plan("good"))
    write_plan(plans, plan("bad", tools="none"))
    loaded = load_definitions(Home.at(tmp_path / "home"), plans)
    assert job_names(loaded) == {"good", "good__core", "good__start"}


def test_of_two_files_for_one_plan_the_first_counts(tmp_path: Path) -> None:
    plans, home = tmp_path / "plans", Home.at(tmp_path / "home")
    write_plan(plans, plan("one", title="First"), "a")
    write_plan(plans, plan("one", title="Second"), "b")
    register_folder(home, plans)
    pointer = json.loads((home.plans / "one" / "current.json").read_text())
    assert pointer["source"].endswith("a.yaml")


def test_loading_writes_revisions_and_nothing_else(tmp_path: Path) -> None:
    plans = tmp_path / "plans"
    write_plan(plans, plan("one"))
    load_definitions(Home.at(tmp_path / "home"), plans)
    written = {path.name for path in (tmp_path / "home").iterdir()}
    assert written == {".gitignore", "plans"}


def test_the_plans_folder_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert plans_folder() == HOUSE / "examples" / "plans"
    (tmp_path / "examples" / "plans").mkdir(parents=True)
    assert plans_folder().resolve() == tmp_path / "examples" / "plans"
    monkeypatch.setenv("PATCHLINE_PLANS", "/elsewhere")
    assert plans_folder() == Path("/elsewhere")


def test_a_database_password_in_the_environment_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATCHLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATCHLINE_DATABASE_URL", "postgresql+psycopg://me:hidden-word@localhost/db")
    job = build_job(revision(tmp_path, plan("one")))
    assert "hidden-word" not in str(job.get_job_snapshot())


def test_the_settings_in_the_repository_are_those_of_a_new_home() -> None:
    assert (HOUSE / "dagster.yaml").read_text(encoding="utf-8") == SETTINGS


def test_the_code_location_validates_from_any_folder_without_a_word_of_warning(
    tmp_path: Path,
) -> None:
    command = Path(sys.executable).with_name("dagster")
    done = subprocess.run(
        [command, "definitions", "validate", "-w", str(HOUSE / "workspace.yaml")],
        cwd=tmp_path,
        env=os.environ | {"PATCHLINE_HOME": str(tmp_path / "home"), "PYTHONWARNINGS": "default"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert "All code locations passed validation" in said
    ours = [line for line in said.splitlines() if "Warning" in line and str(HOUSE) in line]
    assert [line for line in ours if "site-packages" not in line] == []
    assert "left out" not in said
