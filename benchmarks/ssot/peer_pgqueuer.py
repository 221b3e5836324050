"""pgqueuer: jobs in PostgreSQL, taken and finished many at a time by asyncpg and uvloop.

A worker takes a batch of jobs in one statement and writes what became of them through a buffer, in
batches again; a finished job is deleted and noted in `pgqueuer_log`. A worker that dies leaves its
batch to be done again. A single job is never on disk as finished before its batch is.
"""

import logging
import time
from typing import Any

import asyncpg
import uvloop
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.core.qm import QueueManager
from pgqueuer.models import Job
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode
from places import count, driver_url
from teams import Go, Spent

NAME = "pgqueuer"
CONCURRENCY = 50
"""Jobs in a batch (its default is 10)."""

PAGE = 1000


def install(url: str) -> None:
    """Make its tables."""

    async def make() -> None:
        connection = await _connect(url)
        await Queries(AsyncpgDriver(connection)).install()
        await connection.close()

    uvloop.run(make())


def enqueue(url: str, jobs: int) -> float:
    """Queue jobs in its own batches; seconds."""

    async def put() -> float:
        connection = await _connect(url)
        queries = Queries(AsyncpgDriver(connection))
        started = time.monotonic()
        for first in range(0, jobs, PAGE):
            size = min(PAGE, jobs - first)
            await queries.enqueue(["noop"] * size, [None] * size, [0] * size)
        spent = time.monotonic() - started
        await connection.close()
        return spent

    return uvloop.run(put())


def work(go: Go, url: str, concurrency: int = CONCURRENCY) -> Spent:
    """A worker until the queue is empty."""
    logging.disable(logging.INFO)

    async def drain() -> Spent:
        connection = await _connect(url)
        manager = QueueManager(Queries(AsyncpgDriver(connection)))
        done = 0

        @manager.entrypoint("noop")
        async def noop(job: Job) -> None:
            nonlocal done
            done += 1

        started = go()
        await manager.run(mode=QueueExecutionMode.drain, batch_size=concurrency)
        ended = time.monotonic()
        await connection.close()
        return Spent(started, ended, done)

    return uvloop.run(drain())


def check(url: str, jobs: int) -> None:
    """Raise RuntimeError unless every job was done."""
    done = count(url, "SELECT count(*) FROM pgqueuer_log WHERE status = 'successful'")
    if done != jobs:
        raise RuntimeError(f"pgqueuer did {done} of {jobs} jobs")


async def _connect(url: str) -> Any:
    return await asyncpg.connect(driver_url(url))
