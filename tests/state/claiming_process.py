"""Processes of their own that claim and finish tasks, all at once, until none is queued."""

from collections.abc import Sequence
from multiprocessing.connection import Connection

from state.store import StateStore
from tests.forks import FORKS
from tests.state.world import World

PATIENCE_SEC = 90


def claimed_together(world: World, workers: Sequence[str]) -> dict[str, list[str]]:
    """Let a process for each worker claim until nothing is left; what each worker got."""
    talks: list[Connection] = []
    processes = []
    for worker in workers:
        ours, theirs = FORKS.Pipe()
        process = FORKS.Process(target=claim, args=(*world.address, worker, theirs))
        process.start()
        theirs.close()
        talks.append(ours)
        processes.append(process)
    try:
        for talk in talks:
            assert talk.recv() == "ready"
        # All are up and wait for the word, so that they really meet.
        for talk in talks:
            talk.send("go")
        assert all(talk.poll(PATIENCE_SEC) for talk in talks)
        got: dict[str, list[str]] = {w: t.recv() for w, t in zip(workers, talks, strict=True)}
        for process in processes:
            process.join(PATIENCE_SEC)
        assert [process.exitcode for process in processes] == [0] * len(workers)
    finally:
        for talk, process in zip(talks, processes, strict=True):
            talk.close()
            process.kill()
            process.join()
            process.close()
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
