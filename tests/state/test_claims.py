"""A task is held by one worker at a time, whoever asks and however many ask at once."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import pytest

from state.claims import Claim
from state.errors import EntityNotFoundError, StaleTokenError, TaskAlreadyAssignedError
from state.queries import history
from state.store import StateStore
from tests.state.claiming_process import claimed_together
from tests.state.world import World


def test_a_claim_starts_the_task_and_busies_the_worker(world: World) -> None:
    store, task, worker = (
        world.store,
        world.make_in("task", "queued"),
        world.make_in("worker", "idle"),
    )
    claim = store.claim_task(worker)
    assert claim == Claim(task, "att_000001", 1)
    row = store.get("task", task)
    assert (row.state, row.worker_id, row.token) == ("running", worker, claim.token)
    holder = store.get("worker", worker)
    assert (holder.state, holder.task_id) == ("busy", task)
    assert store.get("task_attempt", claim.token).worker_id == worker
    assert history(store, "task", task)[-1].metadata["worker_id"] == worker
    store.heartbeat(worker, token=claim.token)
    with pytest.raises(StaleTokenError):
        store.heartbeat(worker, token="att_other")


def test_nothing_to_claim_is_none(world: World) -> None:
    worker = world.make_in("worker", "idle")
    world.make("task")
    assert world.store.claim_task(worker) is None
    with pytest.raises(EntityNotFoundError):
        world.store.claim_task("nobody")
    with pytest.raises(EntityNotFoundError):
        world.store.claim_task(worker, task_id="nothing")


def test_tasks_are_handed_out_in_plan_order(world: World) -> None:
    late = world.make_in("task", "queued", position=2)
    early = world.make_in("task", "queued", position=1)
    got = [world.store.claim_task(world.make_in("worker", "idle")) for _ in range(2)]
    assert [claim.task_id for claim in got if claim] == [early, late]


def test_a_worker_takes_only_what_it_can_do(world: World) -> None:
    store = world.store
    task = world.make_in("task", "queued", capabilities=["python", "sql"])
    worker = world.make_in("worker", "idle", capabilities={"python"})
    assert store.claim_task(worker) is None
    assert store.claim_task(worker, task_id=task) is None
    claim = store.claim_task(worker, capabilities={"sql"})
    assert claim is not None
    assert claim.task_id == task


def test_a_named_task_that_another_holds_is_an_error(world: World) -> None:
    store, task = world.store, world.make_in("task", "queued")
    first, second = world.make_in("worker", "idle"), world.make_in("worker", "idle")
    assert store.claim_task(first, task_id=task) is not None
    with pytest.raises(TaskAlreadyAssignedError) as held:
        store.claim_task(second, task_id=task)
    assert (held.value.task_id, held.value.worker_id) == (task, first)
    assert store.get("worker", second).state == "idle"


@pytest.mark.parametrize("state", ["initializing", "busy", "unresponsive", "shutdown"])
def test_only_an_idle_worker_claims(world: World, state: str) -> None:
    world.make_in("task", "queued")
    assert world.store.claim_task(world.make_in("worker", state)) is None


def test_a_draining_worker_and_one_that_still_holds_a_task_claim_nothing(world: World) -> None:
    store = world.store
    world.make_in("task", "queued")
    assert store.claim_task(world.make_in("worker", "idle", drain=True)) is None
    worker = world.make_in("worker", "idle")
    claim = store.claim_task(worker)
    assert claim is not None
    world.go("worker", worker, "unresponsive", "idle")
    world.make_in("task", "queued")
    assert store.claim_task(worker) is None
    store.transition("task", claim.task_id, "validating", token=claim.token)
    assert store.claim_task(worker) is not None


def test_tasks_of_held_ended_and_other_runs_are_not_handed_out(world: World) -> None:
    store = world.store
    world.make_in("task", "queued")
    other = store.create("run").run_id
    assert store.claim_task(world.make_in("worker", "idle", run_id=other)) is None
    other_ws = store.create("workstream", run_id=other).ws_id
    free = world.make_in("worker", "idle")
    assert store.claim_task(free, workstream_id=other_ws) is None
    store.record("run", world.run_id, "held", held=True)
    assert store.claim_task(free) is None
    store.record("run", world.run_id, "released", held=False)
    store.transition("run", world.run_id, "canceled")
    assert store.claim_task(free, workstream_id=world.ws_id) is None


def test_a_released_runs_tasks_are_handed_out_again(world: World) -> None:
    store, worker = world.store, world.make_in("worker", "idle")
    task = world.make_in("task", "queued")
    store.record("run", world.run_id, "held", held=True)
    store.record("run", world.run_id, "released", held=False)
    claim = store.claim_task(worker, workstream_id=world.ws_id)
    assert claim is not None
    assert claim.task_id == task


def test_eight_threads_claim_each_task_once(world: World) -> None:
    store = world.store
    tasks = [world.make_in("task", "queued") for _ in range(40)]
    workers = [world.make_in("worker", "idle") for _ in range(8)]
    start = threading.Barrier(len(workers))

    def work(worker: str) -> list[str]:
        got: list[str] = []
        start.wait()
        while claim := store.claim_task(worker):
            got.append(claim.task_id)
            with store.batch() as tx:
                tx.transition("task", claim.task_id, "validating", token=claim.token)
                tx.transition("worker", worker, "idle")
        return got

    with ThreadPoolExecutor(len(workers)) as pool:
        got = [task for part in pool.map(work, workers) for task in part]
    assert sorted(got) == sorted(tasks)


def test_eight_threads_after_one_task_have_one_winner(world: World) -> None:
    store, task = world.store, world.make_in("task", "queued")
    workers = [world.make_in("worker", "idle") for _ in range(8)]
    start = threading.Barrier(len(workers))

    def take(worker: str) -> Claim | str | None:
        start.wait()
        try:
            return store.claim_task(worker, task_id=task)
        except TaskAlreadyAssignedError as held:
            return held.worker_id

    with ThreadPoolExecutor(len(workers)) as pool:
        results = dict(zip(workers, pool.map(take, workers), strict=True))
    winners = [worker for worker, got in results.items() if isinstance(got, Claim)]
    assert winners == [winner_of(store, task)]
    assert {got for got in results.values() if not isinstance(got, Claim)} <= {None, *winners}


def winner_of(store: StateStore, task: str) -> str:
    return store.get("task", task).worker_id


def test_four_processes_on_one_file_claim_each_task_once(world: World) -> None:
    tasks = [world.make_in("task", "queued") for _ in range(24)]
    workers = [world.make_in("worker", "idle") for _ in range(4)]
    got = claimed_together(world, workers)
    assert sorted(chain.from_iterable(got.values())) == sorted(tasks)

    lines = [json.loads(line) for line in world.store.events.path.read_text().splitlines()]
    with world.store.reading() as connection:
        rows = connection.exec_driver_sql(
            "SELECT event_id FROM state_transitions ORDER BY transition_id"
        )
        audited = [event_id for (event_id,) in rows]
    assert [line["event_id"] for line in lines] == audited
