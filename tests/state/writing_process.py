"""A process of its own that writes without end, and tells each entity once that is kept."""

import sys

from state.store import StateStore


def main(url: str, events: str, workstream_id: str) -> None:
    """Take turns at every kind of write; a line is printed when its transaction is kept."""
    with StateStore.open(url, events=events) as store:
        worker = store.create("worker").worker_id
        store.transition("worker", worker, "idle")
        while True:
            task = store.create("task", workstream_id=workstream_id).task_id
            print("pending", task, flush=True)
            store.transition("task", task, "queued")
            print("queued", task, flush=True)
            claim = store.claim_task(worker)
            if claim is None:  # another writer was quicker
                continue
            print("running", claim.task_id, flush=True)
            store.heartbeat(worker, token=claim.token)
            with store.batch() as tx:
                tx.transition("task", claim.task_id, "validating", token=claim.token)
                tx.transition("worker", worker, "idle")
            print("validating", claim.task_id, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
