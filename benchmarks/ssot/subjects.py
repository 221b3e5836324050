"""What is measured: each subject gives one cell or several, with its floor right before it."""

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import floor
import history
import work
from places import Backend, Postgresql, Sqlite, count, fdatasync_rate
from teams import Spent, Together, run_team

from state.store import StateStore

_COMPLETED = "SELECT count(*) FROM tasks WHERE state = 'completed'"
_AUDITED = "SELECT count(*) FROM state_transitions"
Cell = dict[str, Any]
Measure = Callable[["Bench", Backend, int], Iterator[Cell]]


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    lives: int
    claims: int
    rows: int
    processes: tuple[int, ...]


@dataclass
class Bench:
    """The places, the sizes, and what is kept from one repetition to the next."""

    sqlite: Sqlite
    postgresql: Postgresql
    sizes: Sizes
    prepared: dict[tuple[Any, ...], Any]

    def once(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """What `make` gave at the first call with this key."""
        if key not in self.prepared:
            self.prepared[key] = make()
        return self.prepared[key]


# The store


def lives(bench: Bench, backend: Backend, processes: int) -> Iterator[Cell]:
    """Transitions: one by one, and a hundred in a transaction."""
    source, total = f"lives{processes}", bench.sizes.lives

    def prepare() -> tuple[Any, Any]:
        url = backend.make(source)
        shares = work.make_lives(url, _new_events(backend, source), total, processes)
        with _copied(backend, source, "recording") as (copy, events):
            return shares, work.record_lives(copy, events, shares)

    shares, scripts = bench.once((backend.name, source), prepare)
    for name, batched in (("single", False), ("batched", True)):
        bare = [(work.in_batches(one) if batched else one,) for one in scripts]
        through = [(one, batched) for one in shares]
        pair = Pair(floor.replay, bare, work.store_lives, through)
        yield _against_floor(name, backend, processes, source, pair, (total, work.CHANGES))


def claims(bench: Bench, backend: Backend, processes: int) -> Iterator[Cell]:
    """Queued tasks, claimed and ended by workers that compete for them."""
    source, total = f"queue{processes}", bench.sizes.claims

    def prepare() -> tuple[Any, Any, Any]:
        url = backend.make(source)
        workers = work.make_queue(url, _new_events(backend, source), total, processes)
        with _copied(backend, source, "recording") as (copy, events):
            return workers, *work.record_claims(copy, events, workers)

    workers, scripts, heads = bench.once((backend.name, source), prepare)
    bare = [(one, heads) for one in scripts]
    through = [(one,) for one in workers]
    pair = Pair(floor.replay_claims, bare, work.store_claims, through)
    yield _against_floor("claims", backend, processes, source, pair, (total, work.ROWS_OF_A_CLAIM))


def verification(bench: Bench, backend: Backend, _: int) -> Iterator[Cell]:
    """The whole audit history, verified by one process."""

    def prepare() -> tuple[str, Path, int]:
        url, events = backend.make("history"), _new_events(backend, "history")
        return url, events, history.fill(url, events, bench.sizes.rows)

    url, events, rows = bench.once((backend.name, "history"), prepare)
    disk = fdatasync_rate(backend.folder)
    seconds = history.verify(url, events, rows)
    yield _cell("verify", backend, 1, disk, Together(seconds, rows, []), rows)


# Peers


def peer(name: str) -> Measure:
    """Jobs that do nothing, claimed and finished by a peer of ours."""

    def measure(bench: Bench, _: Backend, processes: int) -> Iterator[Cell]:
        module = import_module(f"peer_{name}")
        backend, jobs = bench.postgresql, bench.sizes.claims
        url = backend.empty(name)
        module.install(url)
        enqueueing = module.enqueue(url, jobs)
        disk = fdatasync_rate(backend.folder)
        spent = run_team(module.work, [(url,)] * processes)
        module.check(url, jobs)
        backend.drop(name)
        cell = _cell(name, backend, processes, disk, spent, jobs)
        yield cell | {"enqueued_per_s": jobs / enqueueing, "concurrency": module.CONCURRENCY}

    return measure


# Parts


@dataclass(frozen=True)
class Pair:
    """A subject and its floor, each with what every process of it is given."""

    floor: Callable[..., Spent]
    floor_given: list[tuple[Any, ...]]
    subject: Callable[..., Spent]
    subject_given: list[tuple[Any, ...]]


def _against_floor(
    name: str,
    backend: Backend,
    processes: int,
    source: str,
    pair: Pair,
    expected: tuple[int, int],
) -> Cell:
    """A subject on a fresh copy, right after its floor on another.

    Raises:
        RuntimeError: not every task was completed, or not with as many audit rows as `expected`.
    """
    tasks, rows_each = expected
    disk = fdatasync_rate(backend.folder)
    spent: list[Together] = []
    for run, given in ((pair.floor, pair.floor_given), (pair.subject, pair.subject_given)):
        with _copied(backend, source, "subject") as (url, events):
            before = count(url, _AUDITED)
            address = (url,) if run is pair.floor else (url, str(events))
            spent.append(run_team(run, [(*address, *one) for one in given]))
            done, rows = count(url, _COMPLETED), count(url, _AUDITED) - before
        if (done, rows) != (tasks, tasks * rows_each):
            raise RuntimeError(f"{name}: {done} of {tasks} tasks completed, {rows} audit rows")
    bare, through = spent
    pieces = tasks if through.latencies else tasks * rows_each
    cell = _cell(name, backend, processes, disk, through, pieces)
    cell |= {"floor_per_s": pieces / bare.seconds, "of_floor": bare.seconds / through.seconds}
    return cell | _latency("", through) | _latency("floor_", bare)


def _cell(
    name: str, backend: Backend, processes: int, disk: float, spent: Together, pieces: int
) -> Cell:
    return {
        "subject": name,
        "backend": backend.name,
        "processes": processes,
        "pieces": pieces,
        "seconds": spent.seconds,
        "per_s": pieces / spent.seconds,
        "fdatasync_per_s": disk,
    }


def _latency(prefix: str, spent: Together) -> Cell:
    """Milliseconds that half, and 19 of 20, of the claims took at most."""
    if not spent.latencies:
        return {}
    cuts = statistics.quantiles(spent.latencies, n=20)
    return {f"{prefix}p50_ms": cuts[9] * 1000, f"{prefix}p95_ms": cuts[18] * 1000}


@contextmanager
def _copied(backend: Backend, source: str, name: str) -> Iterator[tuple[str, Path]]:
    """A copy of a database for the duration of a block, with an event file that fits it."""
    url, events = backend.copy(source, name), _new_events(backend, name)
    StateStore.open(url, events=events).close()
    try:
        yield url, events
    finally:
        backend.drop(name)


def _new_events(backend: Backend, name: str) -> Path:
    """An event file that is not there yet."""
    for old in backend.folder.glob(f"{backend.name}-{name}.jsonl*"):
        old.unlink()
    return backend.folder / f"{backend.name}-{name}.jsonl"
