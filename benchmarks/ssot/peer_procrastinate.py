"""procrastinate: jobs in PostgreSQL, by its own asynchronous worker.

It fetches one job at a time for each worker (an `UPDATE ... FOR UPDATE SKIP LOCKED` in a function)
and finishes each with another statement; status changes leave rows in `procrastinate_events`.
"""

import asyncio
import logging
import time

import procrastinate
from places import count, driver_url
from teams import Go, Spent

NAME = "procrastinate"
CONCURRENCY = 10
"""Jobs at once in a worker: with one it waits for each finish before it fetches the next."""

PAGE = 1000
_DONE = "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'"


def install(url: str) -> None:
    """Make its tables."""

    async def make() -> None:
        async with _app(url).open_async() as app:
            await app.schema_manager.apply_schema_async()

    asyncio.run(make())


def enqueue(url: str, jobs: int) -> float:
    """Queue jobs in its own batches; seconds."""

    async def defer() -> float:
        async with _app(url).open_async() as app:
            started = time.monotonic()
            for first in range(0, jobs, PAGE):
                batch = [{"number": number} for number in range(first, min(first + PAGE, jobs))]
                await app.configure_task("noop").batch_defer_async(*batch)
            return time.monotonic() - started

    return asyncio.run(defer())


def work(go: Go, url: str, concurrency: int = CONCURRENCY) -> Spent:
    """A worker until the queue is empty."""
    logging.disable(logging.INFO)

    async def drain() -> Spent:
        app = _app(url, max_size=max(4, concurrency))
        done = 0

        @app.task(name="noop")
        async def noop(number: int) -> None:
            nonlocal done
            done += 1

        async with app.open_async():
            started = go()
            await app.run_worker_async(
                wait=False,
                concurrency=concurrency,
                install_signal_handlers=False,
                listen_notify=False,
            )
            return Spent(started, time.monotonic(), done)

    return asyncio.run(drain())


def check(url: str, jobs: int) -> None:
    """Raise RuntimeError unless every job was done."""
    if (done := count(url, _DONE)) != jobs:
        raise RuntimeError(f"procrastinate did {done} of {jobs} jobs")


def _app(url: str, max_size: int = 4) -> procrastinate.App:
    connector = procrastinate.PsycopgConnector(conninfo=driver_url(url), max_size=max_size)
    return procrastinate.App(connector=connector)
