"""Processes of their own that claim and finish tasks, all at once, until none is queued."""

from collections.abc import Sequence
from multiprocessing.connection import Connection

from state.store import StateStore
from tests.forks import Companion
from tests.state.world import World


def claimed_together(world: World, workers: Sequence[str]) -> dict[str, list[str]]:
    """Let a process for each worker claim until nothing is left; what each worker got."""
    processes = [Companion(claim, *world.address, worker) for worker in workers]
    assert [process.hear() for process in processes] == ["ready"] * len(workers)
    # All are up and wait for the word, so that they really meet.
    for process in processes:
        process.tell("go")
    got: dict[str, list[str]] = {
        worker: process.hear() for worker, process in zip(workers, processes, strict=True)
    }
    for process in processes:
        process.ended()
    return got


def claim(url: str, events: str, worker_id: str, test: Connection) -> None:
    """Say that it is ready, wait for the word to go, then work; at last, say what it got."""
    with StateStore.open(url, events=events) as store:
        test.send("ready")
        test.recv()
        got: list[str] = []
        while claim := store.claim_task(worker_id):
            got.append(claim.task_id)
            with store.batch() as tx:
                tx.transition("task", claim.task_id, "validating", token=claim.token)
                tx.transition("worker", worker_id, "idle")
    test.send(got)
