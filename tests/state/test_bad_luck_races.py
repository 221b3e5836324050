"""Eight processes after four hundred tasks: each task goes to one, each process has its share."""

import pytest

from tests.state.claiming_process import claimed_together
from tests.state.soundness import assert_sound
from tests.state.world import World

PROCESSES, TASKS = 8, 400
EVEN = TASKS // PROCESSES
UNFAIR = 3
"""Without the queue some processes get nothing at all."""


@pytest.mark.timeout(100)
def test_eight_processes_claim_each_task_once_and_fairly(world: World) -> None:
    with world.store.batch() as tx:
        for position in range(TASKS):
            made = tx.create("task", workstream_id=world.ws_id, position=position)
            tx.transition("task", made.task_id, "queued")
    workers = [world.make_in("worker", "idle") for _ in range(PROCESSES)]
    shares = claimed_together(world, workers)

    tasks = world.store.find("task")
    got = [task for share in shares.values() for task in share]
    assert sorted(got) == sorted(task.task_id for task in tasks)
    assert {(task.state, task.attempts) for task in tasks} == {("validating", 1)}
    for worker, share in shares.items():
        held = world.store.find("task_attempt", worker_id=worker)
        assert sorted(attempt.task_id for attempt in held) == sorted(share)
    sizes = sorted(len(share) for share in shares.values())
    assert UNFAIR * sizes[0] >= EVEN, sizes
    assert sizes[-1] <= UNFAIR * EVEN, sizes
    assert {row.state for row in world.store.find("worker")} == {"idle"}
    world.store.events.catch_up()
    assert_sound(world.url, world.store.events.path)
