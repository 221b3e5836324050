"""A process that dies with a tool or a gate at work; tests/crash/ kills it everywhere else."""

import os
import signal
import time
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil
import pytest

from pipeline_defs.launch import execute_run
from pipeline_defs.revisions import Revision, open_revision
from pipeline_defs.runs import Launch, open_run
from state.home import Home
from tests.forks import fork
from tests.pipeline.lab import Lab, Ran, make_repository, processes_of, stream, task

ROOT = Path(__file__).parents[2]


def opened(lab: Lab, *streams: dict[str, object], **plan: object) -> tuple[Revision, str]:
    """A run that is ready to be executed."""
    make_repository(lab.repo)
    revision = lab.register(*streams, **plan)
    return revision, open_run(lab.store, lab.home, Launch(revision)).run_id


def start(revision: Revision, run_id: str) -> BaseProcess:
    program = partial(executed, revision.path, str(revision.source), run_id)
    return fork(program, ROOT, os.environ)


def executed(revision: Path, source: str, run_id: str) -> None:
    """Execute a run of the home that the environment names."""
    execute_run(Home.find(), open_revision(revision, source), run_id)


def ended(process: BaseProcess) -> int | None:
    """Wait until it has; how."""
    process.join(60)
    return process.exitcode


def alive(process: psutil.Process) -> bool:
    """Whether it still runs; one that nobody has waited for yet does not."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def assert_each_task_landed_once(lab: Lab, ran: Ran) -> None:
    assert ran.state == "succeeded", ran.summary
    subjects = lab.git("log", "--format=%s", "main").splitlines()
    for name in ran.tasks:
        assert subjects.count(f"Do {name.split('/')[1]}") == 1, subjects
        assert len(ran.ledger(name, "committed")) == 1
    assert lab.git("status", "--porcelain") == ""


@pytest.mark.parametrize("busy", ["tool", "gate"])
def test_a_killed_process_leaves_nothing_behind_that_could_still_do_harm(
    lab: Lab, busy: str
) -> None:
    here = lab.folder / "here"
    once = f"test -e {here} || {{ touch {here}; setsid sleep 60 & sleep 60; }}"
    tool, gate = (once, "true") if busy == "tool" else ("true", once)
    revision, run_id = opened(
        lab,
        stream("core", task("one", f"{tool}; echo more >> a.txt", max_retries=1, gates=["busy"])),
        gates={"busy": {"command": ["sh", "-c", gate]}},
    )
    process = start(revision, run_id)
    deadline = time.monotonic() + 60
    while len(processes_of(run_id)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    left = processes_of(run_id)
    process.kill()
    process.join()
    assert len(left) >= 2, "the test needs a tool at work"
    ran = lab.execute(revision, run_id)
    assert not any(alive(one) for one in left)
    assert_each_task_landed_once(lab, ran)
    first, second = ran.attempts("core/one")
    assert (first.outcome, second.outcome) == ("retrying", "validating")
    assert "is gone" in first.reason
    if busy == "gate":
        killed, passed = ran.gates(name="busy", role="exit")
        assert (killed.state, killed.exit_code, passed.state) == ("FAILED", -9, "PASSED")
        assert [row.state for row in ran.ledger()] == ["quarantined", "committed"]


def test_a_crash_uses_up_an_attempt_and_the_last_one_fails_the_task(lab: Lab) -> None:
    revision, run_id = opened(
        lab, stream("core", task("one", "kill -9 $PPID; sleep 60; echo x >> a.txt", max_retries=1))
    )
    for _ in range(2):
        assert ended(start(revision, run_id)) == -signal.SIGKILL
    ran = lab.execute(revision, run_id)
    one = ran.task("core/one")
    assert (ran.state, one.state, one.attempts, one.retry_count) == ("failed", "failed", 2, 1)
    assert "is gone" in one.reason


def test_a_run_that_another_process_executes_is_not_taken_over(lab: Lab) -> None:
    go = lab.folder / "go"
    revision, run_id = opened(
        lab,
        stream("core", task("one", f"while ! test -e {go}; do sleep 0.05; done; echo x >> a.txt")),
    )
    process = start(revision, run_id)
    deadline = time.monotonic() + 60
    while not processes_of(run_id) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not execute_run(lab.home, revision, run_id)
    assert lab.store.get("run", run_id).state == "running"
    go.touch()
    assert ended(process) == 0
    assert lab.store.get("run", run_id).state == "succeeded"
    assert lab.show("a.txt") == "a\nx"
