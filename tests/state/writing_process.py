"""A process of its own that writes without end, and tells of each change once that is kept."""

from multiprocessing.connection import Connection

from state.store import StateStore


def write(url: str, events: str, workstream_id: str, test: Connection) -> None:
    """Take turns at every kind of write; a word is sent when its transaction is kept."""
    with StateStore.open(url, events=events) as store:
        worker = store.create("worker").worker_id
        store.transition("worker", worker, "idle")
        while True:
            task = store.create("task", workstream_id=workstream_id).task_id
            test.send(("pending", task))
            store.transition("task", task, "queued")
            test.send(("queued", task))
            claim = store.claim_task(worker)
            if claim is None:  # another writer was quicker
                continue
            test.send(("running", claim.task_id))
            store.heartbeat(worker, token=claim.token)
            with store.batch() as tx:
                tx.transition("task", claim.task_id, "validating", token=claim.token)
                tx.transition("worker", worker, "idle")
            test.send(("validating", claim.task_id))
