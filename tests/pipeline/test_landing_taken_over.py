"""Landers that are taken over in the middle: nothing they have landed is lost or done twice."""

import os
import socket
from typing import Any

import pytest

from pipeline_defs.launch import execute_run
from pipeline_defs.runs import Launch, open_run
from resources.execution.progress import Progress
from resources.execution.recovery import Recovery
from resources.git.repository import Repository
from resources.landing.branches import WorkstreamBranch, WorkstreamBranches
from resources.landing.fenced_leases import FencedLeases
from resources.specs import PolicySpec
from state import leases
from state.leases import Holder, Lease
from tests.pipeline.lab import Lab, make_repository, stream, task


def take_over(lab: Lab, branch: str) -> None:
    """Another session takes the branch from whoever holds it, as if their lease had expired."""
    repository = Repository.open(lab.repo, lab.home.root)
    name = str(repository.git_dir)
    held = lab.store.look(lambda connection: leases.held_in(connection, name))
    (gone,) = [one.holder for one in held if one.branch == branch]
    us = Holder("lander_next", socket.gethostname(), os.getpid(), "0.0")
    with lab.store.batch() as tx:
        lease = leases.acquire(tx, name, branch, us, 30.0, gone=gone)
    assert isinstance(lease, Lease)
    theirs = FencedLeases(lab.store, repository, 30.0)
    fenced = theirs.fenced(lease)
    assert fenced is not None
    theirs.take_down(fenced[1])
    theirs.release(lease)


@pytest.fixture
def overtaken(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The first patch to land finds that its lease was taken over; says what else happens then."""
    land, meanwhile = WorkstreamBranch.land, ["take over"]

    def late(self: WorkstreamBranch, *args: Any) -> Any:
        if meanwhile:
            take_over(lab, self.branch)
            if meanwhile.pop(0) == "end":
                end_the_worker(lab)
        return land(self, *args)

    monkeypatch.setattr(WorkstreamBranch, "land", late)
    return meanwhile


def end_the_worker(lab: Lab) -> None:
    (busy,) = lab.store.find("worker", state="busy")
    run_id = busy.run_id
    repository = Repository.open(lab.repo, lab.home.root)
    Recovery(lab.store, lab.home, repository, run_id).fence(busy.worker_id)


def test_a_judged_patch_lands_in_a_new_turn_when_the_branch_has_not_moved(
    lab: Lab, overtaken: list[str]
) -> None:
    ran = lab.run(stream("core", task("one", "echo more >> a.txt")))
    assert ran.state == "succeeded"
    assert overtaken == []
    (entry,) = ran.ledger()
    assert (entry.state, entry.apply_attempts) == ("committed", 1)
    assert len(ran.gates(ledger_id=entry.ledger_id)) == 1


def test_a_patch_whose_attempt_was_ended_meanwhile_does_not_land(
    lab: Lab, overtaken: list[str]
) -> None:
    overtaken[:] = ["end"]
    make_repository(lab.repo)
    revision = lab.register(stream("core", task("one", "echo more >> a.txt", max_retries=1)))
    run_id = open_run(lab.store, lab.home, Launch(revision)).run_id
    assert not execute_run(lab.home, revision, run_id)
    ran = lab.execute(revision, run_id)
    assert sorted(entry.state for entry in ran.ledger()) == ["committed", "dropped"]
    assert ran.state == "succeeded"
    assert lab.show("a.txt") == "a\nmore"


def test_what_a_silent_lander_has_landed_is_written_down_by_the_next(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It moved the branch and sleeps; another would build on its commit, and then lose it."""
    make_repository(lab.repo)
    land, settled = WorkstreamBranch.land, list[str]()

    def sleepy(self: WorkstreamBranch, candidate: Any, commit: str, fence: Any) -> Any:
        lost = land(self, candidate, commit, fence)
        if not settled:
            take_over(lab, self.branch)
            (row,) = lab.store.find("workstream")
            branches = WorkstreamBranches(lab.store, Repository.open(lab.repo, lab.home.root))
            settled.append(branches.landed(row))
            assert settled == [commit]
        return lost

    monkeypatch.setattr(WorkstreamBranch, "land", sleepy)
    ran = lab.run(
        stream(
            "core",
            task("one", "echo more >> a.txt"),
            task("two", "echo more >> b.txt", depends_on=["one"]),
        )
    )
    assert ran.state == "succeeded"
    assert len(ran.ledger(state="committed")) == 2
    assert ran.ledger("core/one")[0].commit_sha == settled[0]


def test_a_patch_that_is_cancelled_in_the_instant_of_its_landing_leaves_its_branch(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its branch is kept, for people to look at: what the ledger has dropped is not on it."""
    land = WorkstreamBranch.land

    def late(self: WorkstreamBranch, *args: Any) -> Any:
        (row,) = lab.store.find("task", slug="two")
        if row.state == "running":
            cancel(lab, row)
        return land(self, *args)

    monkeypatch.setattr(WorkstreamBranch, "land", late)
    ran = lab.run(
        stream(
            "core",
            task("one", "echo more >> a.txt"),
            task("two", "echo more >> b.txt", depends_on=["one"]),
        )
    )
    assert ran.tasks == {"core/one": "completed", "core/two": "cancelled"}
    (one,), (two,) = ran.ledger("core/one"), ran.ledger("core/two")
    assert (one.state, two.state) == ("committed", "dropped")
    row = ran.workstream("core")
    assert row.state == "failed"
    assert lab.head(row.branch) == one.commit_sha
    assert lab.git("rev-parse", f"{two.candidate_commit}^") == one.commit_sha


def cancel(lab: Lab, task_row: Any) -> None:
    """Somebody cancels a task."""
    run_id = lab.store.get("workstream", task_row.workstream_id).run_id
    recovery = Recovery(lab.store, lab.home, Repository.open(lab.repo, lab.home.root), run_id)
    progress = Progress(lab.store, run_id, PolicySpec(), lab.home.root, recovery)
    progress.cancel_task(task_row.task_id, "not wanted any more", operator="ann")
