"""Settling a run: the same end wherever it is cut short, whoever is faster, however often."""

from pathlib import Path
from typing import Any

import pytest

from resources.execution.progress import MAX_OVERTAKEN, Overtaken, Progress
from resources.execution.recovery import Recovery
from resources.specs import OnCriticalFailure, PolicySpec
from state.queries import history
from state.run_view import run_view
from state.store import StateStore
from state.transaction import Transaction
from tests.resources.gitbox import GitBox
from tests.resources.scene import PowerCut, Scene, Scenes

STOP = PolicySpec(on_critical_failure=OnCriticalFailure.STOP)


def settle(scene: Scene) -> None:
    scene.progress.settle()


def cancel_run(scene: Scene) -> None:
    scene.progress.cancel_run("no longer wanted", "ann")


def cancel_c(scene: Scene) -> None:
    scene.progress.cancel_workstream(scene.ids["c"], "its dependencies conflict")


def cancel_b(scene: Scene) -> None:
    scene.progress.cancel_workstream(scene.ids["b"], "no longer wanted", "ann")


ACTS = [
    pytest.param(settle, PolicySpec(), id="settle"),
    pytest.param(settle, STOP, id="settle and stop"),
    pytest.param(cancel_run, PolicySpec(), id="cancel the run"),
    pytest.param(cancel_c, PolicySpec(), id="cancel a blocked workstream"),
    pytest.param(cancel_b, PolicySpec(), id="cancel an executing workstream"),
]


def test_one_settling_brings_everything_to_where_it_belongs(scenes: Scenes) -> None:
    scene = scenes()
    scene.progress.settle()
    assert scene.states() == {
        "a": "failed",
        "a/bad": "failed",
        "a/busy": "cancelled",
        "a/after": "cancelled",
        "a/last": "cancelled",
        "b": "executing",
        "b/do": "completed",
        "b/next": "pending",
        "c": "cancelled",
        "c/one": "cancelled",
        "c/two": "cancelled",
        "d": "cancelled",
        "d/one": "cancelled",
        "run": "running",
        "patch": "quarantined",
    }
    assert scene.steps("d")[-2:] == [
        ("blocked", "dependency_check_failed", "waits for c"),
        ("cancelled", "dependency_unreachable", "needs c, which did not complete"),
    ]
    assert (scene.home.root / "archive" / f"{scene.ids['a']}.json").exists()
    moved = sum(1 for name in scene.ids if name not in ("a/bad", "b", "b/do", "patch"))
    assert scene.store.made == moved, "one transaction per entity"


@pytest.mark.parametrize(("act", "policy"), ACTS)
def test_settling_again_changes_nothing(scenes: Scenes, act: Any, policy: PolicySpec) -> None:
    scene = scenes(policy)
    act(scene)
    before, made = scene.all_steps(), scene.store.made
    act(scene)
    scene.progress.settle()
    assert scene.all_steps() == before
    ended = run_view(scene.store, scene.run_id).run.state != "running"
    assert scene.store.made - made <= 1, "asking again reads, and writes nothing"
    assert ended == (act is cancel_run or policy is STOP or act is cancel_b)


@pytest.mark.parametrize(("act", "policy"), ACTS)
def test_a_crash_after_any_transaction_is_made_good_by_the_next_settling(
    scenes: Scenes, act: Any, policy: PolicySpec
) -> None:
    whole = scenes(policy)
    act(whole)
    assert whole.store.made > 5
    for survived in range(1, whole.store.made):
        scene = scenes(policy)
        scene.store.left = survived
        with pytest.raises(PowerCut):
            act(scene)
        scene.check_order()
        scene.store.left = None
        scene.progress.settle()
        assert scene.states() == whole.states()
        assert scene.all_steps() == whole.all_steps(), f"after {survived} transactions"


def test_a_cancelled_run_ends_with_everything_under_it(scenes: Scenes) -> None:
    scene = scenes()
    cancel_run(scene)
    states = scene.states()
    assert states.pop("run") == "canceled"
    assert states.pop("patch") == "quarantined"
    assert {states.pop("a/bad"), states.pop("b/do")} == {"failed", "completed"}
    assert set(states.values()) == {"cancelled"}
    assert scene.steps("run")[-2:] == [
        ("running", "cancel_requested", "no longer wanted"),
        ("canceled", "user_cancelled", "no longer wanted"),
    ]
    by = {row.entity_type: row.operator for row in history(scene.store, "run", scene.run_id)[-1:]}
    assert by == {"run": "ann"}
    assert scene.store.get("run", scene.run_id).held


def test_a_run_that_has_not_begun_can_be_cancelled(tmp_path: Path) -> None:
    scene = Scene(tmp_path, GitBox(tmp_path))
    with scene.store:
        run_id = scene.store.create("run").run_id
        ws_id = scene.store.create("workstream", run_id=run_id).ws_id
        task_id = scene.store.create("task", workstream_id=ws_id).task_id
        recovery = Recovery(scene.store, scene.home, GitBox(tmp_path / "other").repository, run_id)
        progress = Progress(scene.store, run_id, PolicySpec(), scene.home.root, recovery)
        progress.settle()
        assert scene.store.get("task", task_id).state == "pending"
        progress.cancel_run("never mind")
        assert scene.store.get("task", task_id).state == "cancelled"
        assert scene.store.get("workstream", ws_id).state == "cancelled"
        assert scene.store.get("run", run_id).state == "canceled"


def test_what_another_process_changed_meanwhile_is_decided_anew(scenes: Scenes) -> None:
    scene = scenes()
    busy = scene.ids["a/busy"]

    def finish() -> None:
        with StateStore.open(scene.address) as other:
            other.transition("task", busy, "validating")

    scene.store.before = finish
    scene.progress.settle()
    states = scene.states()
    assert (states["a/busy"], states["a"]) == ("validating", "executing"), "it awaits its verdict"
    assert states["a/after"] == "cancelled"
    scene.store.transition("task", busy, "completed")
    scene.progress.settle()
    assert (scene.states()["a/busy"], scene.states()["a"]) == ("completed", "failed")


def test_a_task_made_meanwhile_holds_the_end_of_its_workstream_up(scenes: Scenes) -> None:
    scene = scenes()
    scene.progress.settle()
    ws = scene.ids["b"]
    scene.store.transition("task", scene.ids["b/next"], "cancelled")

    def successor() -> None:
        with StateStore.open(scene.address) as other:
            other.create("task", workstream_id=ws, slug="b/again", retry_of=scene.ids["b/next"])

    scene.store.before = successor
    scene.progress.settle()
    assert scene.states()["b"] == "executing"
    assert scene.states()["b/again"] == "pending"


def test_being_overtaken_for_ever_is_an_error_that_says_where(
    scenes: Scenes, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = scenes()
    tried: list[str] = []
    plain = Recovery.settle_patches

    def busy(self: Recovery, tx: Transaction, task: Any, reason: str) -> str | None:
        tried.append(task.task_id)
        tx.record("task", task.task_id, "touched")
        stale = tx.get("task", task.task_id).version + 1
        tx.transition("task", task.task_id, "cancelled", expected_version=stale)
        return plain(self, tx, task, reason)

    monkeypatch.setattr(Recovery, "settle_patches", busy)
    with pytest.raises(Overtaken, match=scene.ids["a/after"]):
        scene.progress.settle()
    assert tried == [scene.ids["a/after"]] * MAX_OVERTAKEN


def test_a_workstream_that_fails_validation_takes_a_late_successor_with_it(
    scenes: Scenes,
) -> None:
    scene = scenes()
    scene.store.transition("workstream", scene.ids["b"], "validating")
    assert scene.progress.end_workstream(scene.ids["b"], "gate failed", "validation_failed")
    assert scene.steps("b")[-1] == ("failed", "validation_failed", "gate failed")
    assert scene.states()["b/next"] == "cancelled"
    assert not scene.progress.end_workstream(scene.ids["b"], "again", "validation_failed")


def test_settling_one_task_leaves_the_rest_to_others(scenes: Scenes) -> None:
    scene = scenes()
    scene.progress.settle_task(scene.ids["b/next"])
    assert scene.states()["b/next"] == "pending"
    assert scene.store.made == 1
    scene.progress.settle_task(scene.ids["a/after"])
    assert scene.states()["c"] == "cancelled", "an end has consequences"
