"""A process of its own that claims and finishes tasks until none is queued; prints what it got."""

import json
import sys

from state.store import StateStore


def main(url: str, events: str, worker_id: str) -> None:
    """Say that it is ready, wait for the word to go, then work."""
    with StateStore.open(url, events=events) as store:
        print("ready", flush=True)
        sys.stdin.readline()
        got: list[str] = []
        while claim := store.claim_task(worker_id):
            got.append(claim.task_id)
            with store.batch() as tx:
                tx.transition("task", claim.task_id, "validating", token=claim.token)
                tx.transition("worker", worker_id, "idle")
    print(json.dumps(got), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
