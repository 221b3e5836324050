"""What `status`, `list` and the live progress read."""

import json

import pytest

from state.errors import EntityNotFoundError, StoreUsageError
from state.queries import LISTS, count_by_state, list_entities, run_summary, transitions_since
from state.store import StateStore
from tests.state.world import World


def test_a_runs_summary_is_in_plan_order_with_successors_after_their_originals(
    world: World,
) -> None:
    store = world.store
    run = store.create("run", plan="modernise", target="main", dagster_run_id="d1").run_id
    late = store.create("workstream", run_id=run, slug="late", position=1).ws_id
    core = store.create("workstream", run_id=run, slug="core", position=0, branch="b").ws_id
    third = world.make("task", workstream_id=late, slug="c")
    second = world.make("task", workstream_id=core, slug="b", position=1)
    first = world.make("task", workstream_id=core, slug="a", position=0)
    world.go("task", first, "queued", "running", "failed", reason="exit code 1")
    again = world.make("task", workstream_id=core, slug="a", position=9, retry_of=first)
    done = world.make("patch_ledger", task_id=third, workstream_id=late)
    bad = world.make("patch_ledger", task_id=first, workstream_id=core)
    world.go("patch_ledger", bad, "quarantined")

    summary = run_summary(store, run)
    assert list(summary) == [
        "run_id",
        "dagster_run_id",
        "plan",
        "state",
        "started_at",
        "completed_at",
        "target",
        "head",
        "workstreams",
        "tasks",
        "patches",
    ]
    assert summary["plan"] == "modernise"
    assert summary["workstreams"][0] == {
        "ws_id": core,
        "id": "core",
        "state": "planned",
        "branch": "b",
        "reason": None,
    }
    assert [(one["task_id"], one["id"]) for one in summary["tasks"]] == [
        (first, "core/a"),
        (again, "core/a"),
        (second, "core/b"),
        (third, "late/c"),
    ]
    assert summary["tasks"][0] | {"task_id": 0} == {
        "task_id": 0,
        "id": "core/a",
        "state": "failed",
        "attempts": 1,
        "reason": "exit code 1",
    }
    assert [(one["ledger_id"], one["reason"]) for one in summary["patches"]] == [
        (bad, "out of scope"),
        (done, None),
    ]
    assert json.loads(json.dumps(summary)) == summary


def test_the_newest_run_is_summed_up_when_none_is_named(world: World) -> None:
    world.clock.advance(5)
    newest = world.store.create("run").run_id
    assert run_summary(world.store)["run_id"] == newest
    assert run_summary(world.store, world.run_id)["run_id"] == world.run_id


def test_no_run_is_an_error(world: World, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(EntityNotFoundError, match="no run 'ghost'"):
        run_summary(world.store, "ghost")
    url = f"sqlite:///{tmp_path_factory.mktemp('empty') / 'p.db'}"
    with StateStore.open(url) as empty, pytest.raises(EntityNotFoundError, match="no run yet"):
        run_summary(empty)


@pytest.mark.parametrize("kind", LISTS)
def test_every_list_is_ready_for_json(world: World, kind: str) -> None:
    for name in LISTS.values():
        if name:
            world.make(name)
    rows = list_entities(world.store, kind)
    assert rows
    assert json.loads(json.dumps(rows)) == rows
    assert len(list_entities(world.store, kind, limit=1)) == 1


def test_lists_are_filtered_and_newest_first(world: World) -> None:
    store = world.store
    one, two = world.make("task"), world.make_in("task", "queued")
    names = [row["task_id"] for row in list_entities(store, "tasks", {"run_id": world.run_id})]
    assert set(names) == {one, two}
    assert [row["task_id"] for row in list_entities(store, "tasks", {"state": ["queued"]})] == [two]
    assert list_entities(store, "tasks", {"run_id": "other"}) == []
    assert list_entities(store, "events", {"entity_id": two})[0]["to_state"] == "queued"
    assert count_by_state(store, "tasks") == {"pending": 1, "queued": 1}
    with pytest.raises(StoreUsageError):
        list_entities(store, "songs")
    with pytest.raises(StoreUsageError):
        list_entities(store, "tasks", {"colour": "red"})


def test_progress_reads_on_from_where_it_was(world: World) -> None:
    store = world.store
    seen = transitions_since(store)[-1].transition_id
    task = world.make("task")
    store.create("run")
    fresh = transitions_since(store, seen, world.run_id)
    assert [(row.entity_id, row.to_state) for row in fresh] == [(task, "pending")]
    assert len(transitions_since(store, seen)) == 2
