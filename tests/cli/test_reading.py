"""Commands that read: what they print, what they never do."""

import json
import subprocess
import sys
from typing import Any

import pytest

from state.machines import MACHINES, machines_document
from tests.cli.shell import PATCHLINE, Shell


@pytest.fixture
def run_id(shell: Shell) -> str:
    """A run with one workstream of two tasks, in the state only."""
    with shell.store() as store:
        run = store.create("run", plan="small", repo=str(shell.repo), target="main")
        ws = store.create("workstream", run_id=run.run_id, slug="a")
        for position, slug in enumerate(("one", "two")):
            store.create("task", workstream_id=ws.ws_id, slug=slug, position=position)
    return run.run_id


def test_version_and_help_name_the_program_and_its_commands(shell: Shell) -> None:
    assert shell.run("--version").out.startswith("patchline, version ")
    help_text = shell.run("--help").out
    for command in ("validate", "run", "resume", "status", "list", "machines", "plan", "dev"):
        assert f"\n  {command} " in help_text
        assert shell.run(command, "--help").code == 0


def test_status_of_a_home_without_runs_says_so_and_makes_nothing(shell: Shell) -> None:
    result = shell.run("status")
    assert (result.code, result.out) == (1, "")
    assert "Nothing has run yet" in result.err
    assert not shell.home.root.exists()


def test_status_prints_the_pinned_document(shell: Shell, run_id: str) -> None:
    document = shell.run("status", "--json").json
    assert list(document) == [
        *("run_id", "dagster_run_id", "plan", "state", "started_at", "completed_at"),
        *("target", "head", "workstreams", "tasks", "patches"),
    ]
    assert document["run_id"] == run_id
    assert list(document["workstreams"][0]) == ["ws_id", "id", "state", "branch", "reason"]
    assert list(document["tasks"][0]) == ["task_id", "id", "state", "attempts", "reason"]
    assert [task["id"] for task in document["tasks"]] == ["a/one", "a/two"]
    assert shell.run("status", run_id, "--json").json == document


def test_status_for_people_says_that_nobody_works_on_the_run(shell: Shell, run_id: str) -> None:
    result = shell.run("status")
    assert result.code == 0
    assert f"Run {run_id} of plan small has stopped before its end: 0 of 2 tasks done" in result.out
    assert f"resume {run_id}" in result.out


def test_a_run_that_does_not_exist_is_bad_input(shell: Shell, run_id: str) -> None:
    for words in (["status", "run_x"], ["resume", "run_x"], ["list", "tasks", "--run", "run_x"]):
        assert shell.run(*words).code == 2
    assert "run_x" in shell.run("status", "run_x", "--json").error["message"]


def test_list_filters_by_state_run_and_number(shell: Shell, run_id: str) -> None:
    def slugs(*words: str) -> list[Any]:
        return [row["slug"] for row in shell.run("list", "tasks", *words, "--json").json]

    assert slugs() == ["two", "one"]
    assert slugs("--run", run_id, "--limit", "1") == ["two"]
    assert slugs("--state", "running") == []
    assert slugs("--state", "running", "--state", "pending") == ["two", "one"]


def test_list_events_gives_canonical_events_newest_first(shell: Shell, run_id: str) -> None:
    events = shell.run("list", "events", "--run", run_id, "--json").json
    assert [event["entity_type"] for event in events] == ["task", "task", "workstream", "run"]
    assert events[-1]["event_type"] == "run_state_transition"
    assert events[-1]["context"]["run_id"] == run_id


def test_every_list_works_on_an_empty_home_and_on_a_used_one(shell: Shell) -> None:
    kinds = ("runs", "workstreams", "tasks", "workers", "patches", "gates", "breakers", "events")
    for kind in kinds:
        assert shell.run("list", kind, "--json").json == []
    with shell.store() as store:
        worker = store.create("worker", host="here", pid=1)
        run = store.create("run", plan="small")
        ws = store.create("workstream", run_id=run.run_id)
        task = store.create("task", workstream_id=ws.ws_id)
        store.create("patch_ledger", task_id=task.task_id, workstream_id=ws.ws_id)
        store.create("test_gate", gate_type="UNIT", command=["true"], name="ok")
        store.create("circuit_breaker", tool_id="fixer")
    for kind in kinds:
        result = shell.run("list", kind)
        assert (result.code, result.err) == (0, "")
        assert len(result.out.splitlines()) >= 2, kind
    assert worker.worker_id in shell.run("list", "workers").out


def test_both_spellings_of_cancelled_are_understood(shell: Shell) -> None:
    assert shell.run("list", "runs", "--state", "cancelled", "--json").json == []
    assert shell.run("list", "tasks", "--state", "canceled", "--json").json == []


def test_an_unknown_state_names_those_that_exist(shell: Shell) -> None:
    result = shell.run("list", "tasks", "--state", "done", "--json")
    assert result.code == 2
    assert ", ".join(MACHINES["task"].states) in result.error["message"]


def test_wrong_usage_is_exit_2_and_one_document_with_json(shell: Shell) -> None:
    for words in (["lst"], ["list", "taks"], ["run"], ["status", "--colour"]):
        result = shell.run(*words)
        assert (result.code, result.out) == (2, "")
        assert result.err.startswith("Error: ")
        assert shell.run(*words, "--json").error["message"]


def test_machines_prints_the_tables(shell: Shell) -> None:
    assert shell.run("machines", "--json").json == json.loads(json.dumps(machines_document()))
    assert "running -> validating: execution_completed" in shell.run("machines").out


def test_a_file_that_is_no_database_of_ours_is_an_unfit_environment(shell: Shell) -> None:
    shell.home.root.mkdir()
    (shell.home.root / "pipeline.db").write_bytes(b"not a database, certainly not" * 100)
    result = shell.run("status", "--json")
    assert result.code == 3
    assert "pipeline.db" in result.error["message"]


def test_a_reader_that_leaves_early_causes_no_traceback(shell: Shell) -> None:
    piped = subprocess.run(
        f"{PATCHLINE} machines | head -n 1",
        shell=True,
        cwd=shell.folder,
        env=shell.environment(),
        capture_output=True,
        text=True,
    )
    assert piped.stderr == ""
    assert piped.stdout.count("\n") == 1


@pytest.mark.parametrize(
    "words", [["status"], ["list", "runs"], ["machines"], ["validate", "plan.yaml"], ["--help"]]
)
def test_commands_that_need_no_dagster_do_not_import_it(shell: Shell, words: list[str]) -> None:
    shell.plan()
    with shell.store() as store:
        store.create("run", plan="small", repo=str(shell.repo), target="main")
    program = (
        "import sys; from pipeline_defs.cli.main import main; code = main(sys.argv[1:]);"
        " sys.exit('dagster was imported' if 'dagster' in sys.modules else code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=shell.folder,
        env=shell.environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["audit", "verify"],
        ["db", "check"],
        ["export", "events"],
        ["list", "runs"],
        ["plan", "list"],
    ],
    ids=" ".join,
)
def test_the_installed_command_needs_nothing_that_another_has_imported(
    shell: Shell, words: list[str]
) -> None:
    with shell.store() as store:
        store.create("run", plan="small", repo=str(shell.repo), target="main")
    process = shell.start(*words)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
