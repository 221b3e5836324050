"""While a compensation is carried out, the state says that a live process is at work on its run.

Whoever takes a run over kills what dead processes have left of it, and knows the dead from the
living by the workers in the state. A compensation claims no task, so it has a worker of its own.
"""

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from resources.commands.identity import process_started_at
from resources.execution.workers import HEARTBEAT_SEC
from state.lost_transactions import redone_when_lost
from state.machines import MACHINES
from state.store import StateStore

log = logging.getLogger(__name__)

ENDED = MACHINES["worker"].terminal


@contextmanager
def at_work(store: StateStore, run_id: str, heartbeat_sec: float = HEARTBEAT_SEC) -> Iterator[None]:
    """Be seen at work on a run for the duration of a block.

    Args:
        store: the state.
        run_id: the run.
        heartbeat_sec: seconds between two heartbeats, for those on other machines.
    """
    worker_id, over = _register(store, run_id), threading.Event()
    beating = threading.Thread(
        target=_beat,
        args=(store, worker_id, over, heartbeat_sec),
        name="patchline-compensation",
        daemon=True,
    )
    beating.start()
    try:
        yield
    finally:
        over.set()
        beating.join()
        _end(store, worker_id)


@redone_when_lost
def _register(store: StateStore, run_id: str) -> str:
    with store.batch() as tx:
        row = tx.create(
            "worker",
            run_id=run_id,
            host=socket.gethostname(),
            pid=os.getpid(),
            pid_started_at=process_started_at(os.getpid()),
        )
        tx.transition("worker", row.worker_id, "idle", reason="a compensation is carried out")
    return row.worker_id


@redone_when_lost
def _end(store: StateStore, worker_id: str) -> None:
    with store.batch() as tx:
        if tx.get("worker", worker_id).state not in ENDED:
            tx.transition("worker", worker_id, "shutdown", reason="the compensation is over")


def _beat(store: StateStore, worker_id: str, over: threading.Event, heartbeat_sec: float) -> None:
    while not over.wait(heartbeat_sec):
        try:
            store.heartbeat(worker_id)
        except Exception:
            log.exception("worker %s: heartbeat failed, trying again", worker_id)
