"""Processes that start their work at the same moment, and how long they took together."""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any

START_WITHIN_SEC = 120
Go = Callable[[], float]


@dataclass
class Spent:
    """What one process did: `done` pieces between two moments of the system's monotonic clock."""

    started: float
    ended: float
    done: int
    latencies: list[float] = field(default_factory=list[float])


@dataclass
class Together:
    """What a team did: from the first start to the last end."""

    seconds: float
    done: int
    latencies: list[float]

    @property
    def rate(self) -> float:
        """Pieces a second."""
        return self.done / self.seconds


def run_team(work: Callable[..., Spent], arguments: Sequence[tuple[Any, ...]]) -> Together:
    """Run `work(go, *arguments)` in one new process for each set of arguments.

    Args:
        work: a function of a module. It makes everything ready, calls `go` (which waits for the
            others and says the time), works, and says what it did.
        arguments: for each process.

    Raises:
        RuntimeError: one of them failed; its error is in the message.
    """
    # Forked processes would share connections and locks with this one.
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(len(arguments))
    team: list[tuple[Any, Connection]] = []
    for given in arguments:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_member, args=(work, given, barrier, theirs), daemon=True)
        process.start()
        theirs.close()
        team.append((process, ours))
    spent = [_answer(pipe) for _, pipe in team]
    for process, _ in team:
        process.join()
    seconds = max(one.ended for one in spent) - min(one.started for one in spent)
    latencies = [each for one in spent for each in one.latencies]
    return Together(seconds, sum(one.done for one in spent), latencies)


def _answer(pipe: Connection) -> Spent:
    try:
        answer = pipe.recv()
    except EOFError as error:
        raise RuntimeError("a process of the benchmark died; see its last words above") from error
    if isinstance(answer, str):
        raise RuntimeError(f"a process of the benchmark failed: {answer}")
    return answer


def _member(
    work: Callable[..., Spent], given: tuple[Any, ...], barrier: Barrier, answer: Connection
) -> None:
    def go() -> float:
        barrier.wait(START_WITHIN_SEC)
        return time.monotonic()

    try:
        answer.send(work(go, *given))
    except BaseException as error:
        barrier.abort()
        answer.send(f"{type(error).__name__}: {error}")
        raise
