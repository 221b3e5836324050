"""Eight processes after four hundred tasks: each task goes to one, each process has its share."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.state.soundness import assert_sound
from tests.state.world import World

ROOT = Path(__file__).parents[2]
PROCESSES, TASKS = 8, 400
UNFAIR = 3


@pytest.mark.timeout(100)
def test_eight_processes_claim_each_task_once_and_fairly(world: World) -> None:
    with world.store.batch() as tx:
        for position in range(TASKS):
            made = tx.create("task", workstream_id=world.ws_id, position=position)
            tx.transition("task", made.task_id, "queued")
    workers = [world.make_in("worker", "idle") for _ in range(PROCESSES)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.state.claiming_process", *world.address, worker],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for worker in workers
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    shares: dict[str, list[str]] = {}
    for worker, process in zip(workers, processes, strict=True):
        out, _ = process.communicate(timeout=90)
        assert process.returncode == 0
        shares[worker] = json.loads(out)

    tasks = world.store.find("task")
    got = [task for share in shares.values() for task in share]
    assert sorted(got) == sorted(task.task_id for task in tasks)
    assert {(task.state, task.attempts) for task in tasks} == {("validating", 1)}
    for worker, share in shares.items():
        held = world.store.find("task_attempt", worker_id=worker)
        assert sorted(attempt.task_id for attempt in held) == sorted(share)
    sizes = sorted(len(share) for share in shares.values())
    assert sizes[-1] <= UNFAIR * sizes[0], sizes
    assert {row.state for row in world.store.find("worker")} == {"idle"}
    world.store.events.catch_up()
    assert_sound(world.url, world.store.events.path)
