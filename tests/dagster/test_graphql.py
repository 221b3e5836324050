"""The running deployment over GraphQL: what the UI shows and what its buttons do."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from state.queries import run_summary
from state.store import StateStore
from tests.dagster.conftest import TASKS, World, edited
from tests.dagster.deployment import REPOSITORY, wait_for
from tests.pipeline.lab import git

JOB = """
query($job: PipelineSelector!) {
  pipelineOrError(params: $job) {
    ... on Pipeline {
      description
      runs { runId status }
      solidHandles { handleID solid { name definition { description } } }
    }
  }
}"""
TERMINATE = """
mutation($id: String!) {
  terminateRun(runId: $id) { __typename ... on TerminateRunFailure { message } }
}"""
AGAIN = """
mutation($params: ReexecutionParams!) {
  launchRunReexecution(reexecutionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}"""


@pytest.fixture
def store(world: World) -> Iterator[StateStore]:
    opened = StateStore.open(world.home.database_url, events=world.home.events)
    yield opened
    opened.close()


def job_named(name: str) -> dict[str, str]:
    return {**REPOSITORY, "pipelineName": name}


def run_of(store: StateStore, dagster_run_id: str) -> str:
    """The SSOT run of a Dagster run."""
    (row,) = store.find("run", dagster_run_id=dagster_run_id)
    return row.run_id


def trees_by_task(store: StateStore, run_id: str, repo: Path) -> dict[str, str]:
    """The tree that each task's commit on the target has."""
    landed = set(git(repo, "rev-list", "main").split())
    patches = run_summary(store, run_id)["patches"]
    names = {row["task_id"]: row["id"] for row in run_summary(store, run_id)["tasks"]}
    commits = {names[p["task_id"]]: p["commit_sha"] for p in patches if p["state"] == "committed"}
    assert set(commits.values()) <= landed
    return {name: git(repo, "rev-parse", f"{sha}^{{tree}}") for name, sha in commits.items()}


def test_a_run_of_the_command_line_is_listed_with_its_job(world: World, store: StateStore) -> None:
    repo = world.fresh_repository("listed")
    run_id = world.run_from_the_command_line("letters", repo)
    dagster_run_id = store.get("run", run_id).dagster_run_id
    listed = world.deployment.query(JOB, job=job_named("letters"))["pipelineOrError"]["runs"]
    assert {"runId": dagster_run_id, "status": "SUCCESS"} in listed
    run = world.deployment.run(dagster_run_id)
    assert run["jobName"] == "letters"
    assert run["repositoryOrigin"] == REPOSITORY
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    assert tags["patchline/run_id"] == run_id
    assert tags["patchline/plan"] == "letters"


def test_the_jobs_graph_shows_every_task_with_its_prompt(world: World) -> None:
    job = world.deployment.query(JOB, job=job_named("letters"))["pipelineOrError"]
    shown = {h["handleID"]: h["solid"]["definition"]["description"] for h in job["solidHandles"]}
    tasks = {handle for handle in shown if handle.count(".") == 1 and "._" not in handle}
    assert tasks == TASKS
    assert shown["left_hand.first_line"] == "Add first-line to a.txt."
    assert "Write letters" in job["description"]


def test_a_launch_over_graphql_makes_the_same_trees_as_the_command_line(
    world: World, store: StateStore
) -> None:
    here, there = world.fresh_repository("by-command"), world.fresh_repository("by-graphql")
    by_command = world.run_from_the_command_line("letters", here)
    config = {"ops": {"_start": {"config": {"repo": str(there)}}}}
    launched = world.deployment.launch("letters", config)
    assert world.deployment.wait(launched) == "SUCCESS", world.deployment.problems(launched)
    by_graphql = run_of(store, launched)
    expected = trees_by_task(store, by_command, here)
    assert len(expected) == len(TASKS)
    assert trees_by_task(store, by_graphql, there) == expected
    assert git(there, "rev-parse", "main^{tree}") == git(here, "rev-parse", "main^{tree}")
    tags = {tag["key"]: tag["value"] for tag in world.deployment.run(launched)["tags"]}
    assert tags["patchline/run_id"] == by_graphql


def test_a_launch_without_config_works_on_the_plans_own_repository(
    world: World, store: StateStore
) -> None:
    launched = world.deployment.launch("letters__left_hand")
    assert world.deployment.wait(launched) == "SUCCESS", world.deployment.problems(launched)
    run = run_summary(store, run_of(store, launched))
    assert [ws["id"] for ws in run["workstreams"]] == ["left-hand"]
    assert git(world.folder / "repo", "show", "main:a.txt").endswith("second-line")


def test_a_plan_edited_since_it_was_loaded_runs_as_it_was_loaded(
    world: World, store: StateStore
) -> None:
    repo = world.fresh_repository("edited")
    world.write_plan(edited("after"))
    launched = world.deployment.launch(
        "edited", {"ops": {"_start": {"config": {"repo": str(repo)}}}}
    )
    assert world.deployment.wait(launched) == "SUCCESS", world.deployment.problems(launched)
    assert [t["id"] for t in run_summary(store, run_of(store, launched))["tasks"]] == [
        "only/before"
    ]
    assert git(repo, "show", "main:a.txt").endswith("before")


def test_running_again_from_the_ui_is_a_new_run_on_the_same_repository(
    world: World, store: StateStore
) -> None:
    repo = world.fresh_repository("again")
    first = world.run_from_the_command_line("letters", repo)
    parent = store.get("run", first).dagster_run_id
    params = {"parentRunId": parent, "strategy": "ALL_STEPS"}
    answer = world.deployment.query(AGAIN, params=params)["launchRunReexecution"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    launched = answer["run"]["runId"]
    assert world.deployment.wait(launched) == "SUCCESS", world.deployment.problems(launched)
    second = store.get("run", run_of(store, launched))
    assert second.run_id != first
    assert second.repo == str(repo)
    assert store.get("run", first).dagster_run_id == parent
    assert git(repo, "show", "main:b.txt").count("other-line") == 2


def test_terminate_kills_the_tool_and_leaves_a_run_that_can_be_resumed(
    world: World, store: StateStore
) -> None:
    repo = world.fresh_repository("terminated")
    config = {"ops": {"_start": {"config": {"repo": str(repo)}}}}
    launched = world.deployment.launch("slow", config)
    wait_for(
        "the tool",
        lambda: world.pid_file.read_text().strip() or None if world.pid_file.exists() else None,
    )
    tool = psutil.Process(int(world.pid_file.read_text()))
    answer = world.deployment.query(TERMINATE, id=launched)["terminateRun"]
    assert answer["__typename"] == "TerminateRunSuccess", answer
    assert world.deployment.wait(launched) == "CANCELED"
    assert not tool.is_running()
    run = store.get("run", run_of(store, launched))
    assert run.state == "running"
    (task,) = run_summary(store, run.run_id)["tasks"]
    row = store.get("task", task["task_id"])
    assert (row.state, row.reason) == ("retrying", "interrupted")
    assert not [w for w in store.find("worker") if w.state == "busy"]
