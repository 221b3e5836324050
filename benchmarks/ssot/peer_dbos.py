"""dbos: durable workflows in PostgreSQL, taken from one of its queues by threads.

A workflow is more than a job: its arguments, its state and its result are kept, and it is taken up
again after a crash. Its processes poll the queue; how long the work took is read from its own rows
(milliseconds), since its start-up cannot be held back.
"""

import logging
import os
import time

from dbos import DBOS, DBOSClient, DBOSConfig
from places import count, driver_url
from teams import Go, Spent

NAME = "dbos"
CONCURRENCY = 20
"""Workflows at once in a process."""

POLLING_SEC = 0.05
"""Between looks at the queue (its default is 1)."""

QUEUE = "bench"
VERSION = "1"
_PATIENCE_SEC = 600
_LEFT = "SELECT count(*) FROM dbos.workflow_status WHERE status <> 'SUCCESS'"
_SPAN = "SELECT max(updated_at) - min(started_at_epoch_ms) FROM dbos.workflow_status"


@DBOS.workflow(name="noop")
def noop(number: int) -> None:
    """Nothing, durably."""


def install(url: str) -> None:
    """Make its tables and its queue."""
    _launch(url, "setup")
    DBOS.register_queue(QUEUE, worker_concurrency=CONCURRENCY, polling_interval_sec=POLLING_SEC)
    DBOS.destroy(destroy_registry=False)


def enqueue(url: str, jobs: int) -> float:
    """Queue workflows, one by one: it has no batches of them; seconds."""
    client = DBOSClient(system_database_url=driver_url(url))
    started = time.monotonic()
    for number in range(jobs):
        client.enqueue(
            {"queue_name": QUEUE, "workflow_name": "noop", "app_version": VERSION}, number
        )
    spent = time.monotonic() - started
    client.destroy()
    return spent


def work(go: Go, url: str, concurrency: int = CONCURRENCY) -> Spent:
    """A process that works until no workflow is left; times are its rows'."""
    go()
    _launch(url, f"worker-{os.getpid()}")
    deadline = time.monotonic() + _PATIENCE_SEC
    while count(url, _LEFT):
        if time.monotonic() > deadline:
            raise RuntimeError("dbos has not done its workflows in time")
        time.sleep(0.2)
    span = count(url, _SPAN) / 1000
    DBOS.destroy(destroy_registry=False)
    # Every process says the same span; the team's first start and last end are then its own.
    return Spent(0.0, span, 0)


def check(url: str, jobs: int) -> None:
    """Raise RuntimeError unless every workflow was done."""
    done = count(url, "SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS'")
    if done != jobs:
        raise RuntimeError(f"dbos did {done} of {jobs} workflows")


def _launch(url: str, executor: str) -> None:
    logging.disable(logging.WARNING)
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": driver_url(url),
        "executor_id": executor,
        "application_version": VERSION,
        "log_level": "ERROR",
    }
    DBOS(config=config)
    DBOS.launch()
