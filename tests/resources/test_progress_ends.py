"""Ends that somebody wants: told to everybody, left where they cannot be, kept on disk."""

import os
from pathlib import Path

import pytest

from resources.execution.archive import archive_workstream
from state.queries import history
from tests.resources.gitbox import GitBox
from tests.resources.scene import Scene, Scenes


def test_who_cancelled_a_run_is_told_with_everything_under_it(scenes: Scenes) -> None:
    scene = scenes()
    scene.progress.cancel_run("no longer wanted", "ann")
    rows = {
        name: history(scene.store, "task" if "/" in name else "workstream", scene.ids[name])[-1]
        for name in ("a/busy", "b/next", "a", "d")
    }
    assert {row.metadata.get("asked_by") for row in rows.values()} == {"ann"}
    assert {row.operator for row in rows.values()} == {None}, "one order is one override"


def test_a_run_that_was_declared_ended_is_tidied_up(scenes: Scenes) -> None:
    scene = scenes()
    scene.store.transition("run", scene.run_id, "failed", operator="ann", reason="enough of it")
    scene.progress.settle()
    states = scene.states()
    assert {states.pop("a/bad"), states.pop("b/do")} == {"failed", "completed"}
    assert (states.pop("run"), states.pop("patch")) == ("failed", "quarantined")
    assert set(states.values()) == {"cancelled"}
    assert scene.steps("b/next")[-1] == ("cancelled", "dependency_failed", "its run is failed")
    made = scene.store.made
    scene.progress.settle()
    assert scene.store.made == made


def test_a_strict_store_keeps_the_wish_and_leaves_what_cannot_end(tmp_path: Path) -> None:
    scene = Scene(tmp_path, GitBox(tmp_path), strict=True)
    with scene.store:
        scene.stream("a", "ready", "executing")
        scene.task("a/busy", "queued", "running")
        waiting = scene.task("a/waits")
        scene.progress.cancel_run("enough", "ann")
        scene.progress.settle()
        scene.progress.cancel_task(waiting, "enough", "ann")
        assert scene.store.get("task", scene.ids["a/busy"]).state == "cancelled"
        assert scene.store.get("task", waiting).state == "pending"
        run = scene.store.get("run", scene.run_id)
        assert (run.state, run.held) == ("running", True)


def test_the_archive_of_a_workstream_is_on_disk_under_its_name(
    scenes: Scenes, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, synced = scenes(), list[str]()
    plain = os.fsync

    def watched(handle: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{handle}"))
        plain(handle)

    monkeypatch.setattr(os, "fsync", watched)
    path = archive_workstream(scene.store, scene.home.root, scene.ids["a"], "it failed")
    home, folder, file = str(scene.home.root), str(path.parent), str(path.parent / path.stem)
    assert synced[0] == home
    assert synced[1].startswith(file)
    assert synced[2:] == [folder]


def test_a_workstream_begins_with_a_task_at_work_and_only_then(scenes: Scenes) -> None:
    scene = scenes()
    scene.stream("e", "ready")
    scene.task("e/do", "queued")
    scene.progress.task_started(scene.ids["e/do"])
    assert scene.steps("e")[-1][0] == "ready"
    worker = scene.store.create("worker", run_id=scene.run_id).worker_id
    scene.store.transition("worker", worker, "idle")
    assert scene.store.claim_task(worker, task_id=scene.ids["e/do"])
    scene.progress.task_started(scene.ids["e/do"])
    scene.progress.task_started(scene.ids["e/do"])
    assert scene.steps("e")[-2:] == [
        ("ready", "tasks_created", None),
        ("executing", "first_task_started", None),
    ]
