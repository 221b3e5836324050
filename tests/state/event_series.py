"""What tests of several event files need: the files one after another, compared with the table."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from state.event_files import rotated_files
from state.queries import transitions_since
from state.store import StateStore
from tests.state.world import World

SMALL = "3000"
"""Bytes: about seven events."""


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The events of one file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def series(current: Path) -> list[dict[str, Any]]:
    """The events of all files in their order; each full one holds the rows that its name says."""
    files = [one.path for one in rotated_files(current)]
    return [event for path in [*files, current] for event in lines_of(path)]


def table(store: StateStore) -> list[dict[str, Any]]:
    """The events of the audit table."""
    return [record.as_event() for record in transitions_since(store, limit=100_000)]


def assert_whole(store: StateStore, limit: int = int(SMALL)) -> None:
    """The files together are the table: no gap, no duplicate, in order, each within its limit."""
    current = store.events.path
    assert series(current) == table(store)
    numbers = {one.event_id: one.transition_id for one in transitions_since(store, limit=100_000)}
    for full in rotated_files(current):
        found = [numbers[event["event_id"]] for event in lines_of(full.path)]
        assert (found[0], found[-1]) == (full.first, full.last)
        assert full.path.stat().st_size <= limit
    assert current.stat().st_size <= limit


def write_together(world: World, batches: int) -> None:
    """Six threads on three stores begin at once; each writes so many batches of two rows."""
    stores = [world.open() for _ in range(3)]
    start = threading.Barrier(6)

    def write(store: StateStore) -> None:
        start.wait()
        for _ in range(batches):
            with store.batch() as tx:
                worker = tx.create("worker").worker_id
                tx.transition("worker", worker, "idle")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, stores * 2))
    for store in stores:
        store.close()
