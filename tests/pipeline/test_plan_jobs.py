"""A plan as Dagster sees it: names, edges, jobs."""

import random
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution.api import create_execution_plan
from hypothesis import given
from hypothesis import strategies as st

from pipeline_defs.dagster_home import dagster_instance
from pipeline_defs.jobs import build_job, build_jobs
from pipeline_defs.names import FINISH, LAND, OPEN, RESERVED, START, from_dagster, to_dagster
from pipeline_defs.plan.model import Plan
from pipeline_defs.revisions import Revision
from tests.pipeline.lab import Lab, Ran, assert_sound, make_repository, stream, task

slugs = st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True)
AWKWARD = [
    "class",
    "list",
    "open",
    "type",
    "input",
    "dict",
    "a-",
    "a--",
    "a-b",
    "a---b",
    "0",
    "none",
    "land",
    "start",
    "finish",
    "context",
    "config",
    "d",
    "a-d",
]


@given(slugs)
def test_a_dagster_name_says_which_plan_id_it_came_from(slug: str) -> None:
    name = to_dagster(slug)
    assert from_dagster(name) == slug
    assert name not in RESERVED
    assert name.replace("_", "").isalnum()
    assert "__" not in name


@pytest.mark.parametrize("slug", AWKWARD)
def test_awkward_ids_have_names_too(slug: str) -> None:
    assert from_dagster(to_dagster(slug)) == slug
    assert to_dagster(slug) not in {*RESERVED, START, FINISH, OPEN, LAND}


def random_plan(seed: int) -> Plan:
    """A plan with random ids (awkward ones among them) and random dependencies."""
    chance = random.Random(seed)
    ids = chance.sample(AWKWARD, len(AWKWARD))
    streams: list[dict[str, object]] = []
    for number, ws in enumerate(ids[: chance.randint(1, 6)]):
        names = chance.sample(AWKWARD, chance.randint(1, 7))
        tasks = [
            {"id": one, "depends_on": [n for n in names[:i] if chance.random() < 0.4]}
            for i, one in enumerate(names)
        ]
        needs = [other for other in ids[:number] if chance.random() < 0.4]
        streams.append({"id": ws, "depends_on": needs, "tasks": tasks, "gates": ["ok"]})
    return Plan.model_validate(
        {
            "plan": chance.choice(AWKWARD),
            "defaults": {"tool": "t"},
            "tools": {"t": {"command": ["true"]}},
            "gates": {"ok": {"command": ["true"]}},
            "workstreams": streams,
        }
    )


@pytest.mark.parametrize("seed", range(30))
def test_the_jobs_of_any_plan_run_things_in_the_plans_order(seed: int, lab: Lab) -> None:
    plan = random_plan(seed)
    revision = Revision(plan, "0" * 64, Path("revision.yaml"), Path("plan.yaml"))
    jobs = build_jobs(revision)
    assert len(jobs) == 1 + len(plan.workstreams)
    assert len({job.name for job in jobs}) == len(jobs)
    upstream = _upstream(build_job(revision))
    handles = {f"{to_dagster(ws.id)}.{to_dagster(one.id)}" for _, ws, one in plan.tasks()}
    frames = {f"{to_dagster(ws.id)}.{frame}" for ws in plan.workstreams for frame in (OPEN, LAND)}
    assert set(upstream) == handles | frames | {START, FINISH}
    for _, ws, one in plan.tasks():
        box = to_dagster(ws.id)
        needs = {f"{box}.{to_dagster(other)}" for other in one.depends_on}
        assert upstream[f"{box}.{to_dagster(one.id)}"] == needs | {f"{box}.{OPEN}"}
    for ws in plan.workstreams:
        box = to_dagster(ws.id)
        landed = {f"{to_dagster(other)}.{LAND}" for other in ws.depends_on}
        assert upstream[f"{box}.{OPEN}"] == landed | {START}
        assert upstream[f"{box}.{LAND}"] == {f"{box}.{to_dagster(t.id)}" for t in ws.tasks} | {
            f"{box}.{OPEN}"
        }
    assert upstream[FINISH] == {f"{to_dagster(ws.id)}.{LAND}" for ws in plan.workstreams} | {START}


def _upstream(job: dg.JobDefinition) -> dict[str, set[str]]:
    """Step key -> keys of the steps that it waits for, as Dagster's execution plan has them."""
    plan = create_execution_plan(job)
    return {step.key: set(step.get_execution_dependency_keys()) for step in plan.steps}


def test_reserved_words_and_shared_task_ids_run_like_any_other(lab: Lab) -> None:
    words = ["class", "list", "open", "type"]
    ran = lab.run(
        *(stream(ws, *(task(one, f"echo x > {ws}-{one}.txt") for one in words)) for ws in words[:2])
    )
    assert ran.state == "succeeded", ran.summary
    assert {f"{ws}-{one}.txt" for ws in words[:2] for one in words} <= set(lab.files())


def test_the_job_of_a_workstream_runs_it_alone(lab: Lab) -> None:
    make_repository(lab.repo)
    revision = lab.register(
        stream("core", task("do", "echo x > core.txt")),
        stream("docs", task("do", "echo x > docs.txt"), depends_on=["core"]),
    )
    with dagster_instance(lab.home) as instance:
        result = build_job(revision, "docs").execute_in_process(
            instance=instance, raise_on_error=False
        )
    (run,) = lab.store.find("run")
    ran = Ran(lab, run.run_id, result.success)
    assert_sound(ran)
    assert ran.state == "succeeded", ran.summary
    assert ran.tasks == {"docs/do": "completed"}
    assert "docs.txt" in lab.files()
    assert "core.txt" not in lab.files()
