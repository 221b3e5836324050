"""Taking over what a process left half-way, and what cancelling means for a patch that landed."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resources.execution.progress import Progress
from resources.execution.recovery import Recovery
from resources.specs import PolicySpec
from state.home import Home
from state.store import StateStore
from tests.resources.gitbox import GitBox

FLAGS = {"format_ok": True, "scope_ok": True, "constraints_ok": True}
BRANCH = "patchline/run/core"


class Scene:
    """A run with one executing workstream on its branch."""

    def __init__(self, store: StateStore, folder: Path) -> None:
        self.store, self.box = store, GitBox(folder)
        self.run_id = store.create("run", base_commit=self.box.head()).run_id
        store.transition("run", self.run_id, "running")
        self.ws_id = store.create("workstream", run_id=self.run_id, slug="core").ws_id
        self.box.git("branch", BRANCH)
        store.transition("workstream", self.ws_id, "ready", branch=BRANCH)
        store.transition("workstream", self.ws_id, "executing")
        home = Home.at(folder / "home")
        self.recovery = Recovery(store, home, self.box.repository, self.run_id)
        policy = PolicySpec()
        self.progress = Progress(store, self.run_id, policy, home.root, self.recovery)

    def worker(self) -> str:
        """An idle worker whose process is gone."""
        worker = self.store.create(
            "worker",
            run_id=self.run_id,
            host=os.uname().nodename,
            pid=os.getpid(),
            pid_started_at=1,
        )
        self.store.transition("worker", worker.worker_id, "idle")
        return worker.worker_id

    def running(self) -> tuple[str, str, str]:
        """A running task: its id, its worker and its token."""
        task_id = self.store.create("task", workstream_id=self.ws_id, slug="do").task_id
        self.store.transition("task", task_id, "queued")
        worker_id = self.worker()
        claim = self.store.claim_task(worker_id, task_id=task_id)
        assert claim is not None
        return task_id, worker_id, claim.token

    def verified(self, task_id: str, token: str) -> tuple[str, str]:
        """A patch about to land: its ledger entry, and the commit."""
        commit = self.box.commit({"a.txt": "changed\n"}, on=BRANCH)
        entry = self.store.create(
            "patch_ledger", task_id=task_id, workstream_id=self.ws_id, attempt_id=token
        ).ledger_id
        given: dict[str, dict[str, Any]] = {
            "validated": FLAGS,
            "queued": {},
            "applied": {},
            "verified": {"tests_ok": True, "candidate_commit": commit},
        }
        for state, columns in given.items():
            self.store.transition("patch_ledger", entry, state, **columns)
        return entry, commit


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with StateStore.open(f"sqlite:///{tmp_path / 'pipeline.db'}") as store:
        yield Scene(store, tmp_path)


@pytest.mark.parametrize("by", ["taking the run over", "beginning the task again"])
@pytest.mark.parametrize("worker", ["dead", "shut down", "let go"])
def test_a_running_task_whose_worker_will_not_end_it_is_rolled_back(
    scene: Scene, by: str, worker: str
) -> None:
    task_id, worker_id, _ = scene.running()
    if worker == "shut down":
        scene.store.transition("worker", worker_id, "shutdown")
    elif worker == "let go":
        scene.store.transition("worker", worker_id, "idle", task_id=None)
    for _ in range(2):
        if by == "taking the run over":
            scene.recovery.take_over()
        else:
            scene.recovery.abandon_dead_attempt(task_id)
        task = scene.store.get("task", task_id)
        assert (task.state, task.retry_count) == ("retrying", 1)
        assert scene.store.get("worker", worker_id).state == "shutdown"


def test_cancelling_a_task_whose_commit_is_on_its_branch_completes_it(scene: Scene) -> None:
    task_id, _, token = scene.running()
    entry, commit = scene.verified(task_id, token)
    scene.box.git("update-ref", f"refs/heads/{BRANCH}", commit)
    scene.progress.cancel_task(task_id, "a sibling failed")
    assert scene.store.get("task", task_id).state == "completed"
    row = scene.store.get("patch_ledger", entry)
    assert (row.state, row.commit_sha) == ("committed", commit)


def test_cancelling_a_task_whose_commit_has_not_landed_drops_its_patch(scene: Scene) -> None:
    task_id, _, token = scene.running()
    entry, _ = scene.verified(task_id, token)
    scene.progress.cancel_task(task_id, "a sibling failed")
    assert scene.store.get("task", task_id).state == "cancelled"
    assert scene.store.get("patch_ledger", entry).state == "dropped"
