"""Explores every state of the model, and says what is wrong with them and with their graph."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.property.attempts import interruptions, thread_steps
from tests.property.model import ENDED, HALF_WAY, LANDED, Entry, Refused, Rules, State, Step
from tests.property.upkeep import (
    cascade,
    dispatch,
    launch,
    operators,
    people,
    recovery,
    transactions,
    validation,
)

SOURCES = (
    dispatch,
    thread_steps,
    cascade,
    validation,
    transactions,
    recovery,
    interruptions,
    people,
    operators,
)
LIMIT = 1_000_000
"""More states than this are a mistake in the model, not a bigger world."""


def tidied(state: State) -> State:
    """Without what no longer matters: details of ended patches and workers, and ended gates.

    A gate that was never run rests once its task has ended: `state.analysis.stuck` leaves it out.
    """
    entries = tuple(
        Entry(entry.state, 0, judged=entry.judged if entry.state in LANDED else "")
        if entry and entry.state not in HALF_WAY
        else entry
        for entry in state.entries
    )
    workers = tuple(
        "" if worker == "shutdown" and not thread else worker
        for worker, thread in zip(state.workers, state.threads, strict=True)
    )
    gates = tuple("" if gate in ENDED["test_gate"] else gate for gate in state.gates)
    hindered = state.hindered
    if hindered:
        over = ENDED["task"]
        hindered = frozenset(task for task in hindered if state.tasks[task].state not in over)
    return state._replace(entries=entries, workers=workers, gates=gates, hindered=hindered)


def settled(state: State) -> bool:
    """Whether everything is at its end or at rest, and nothing lives.

    A committed patch rests, and so does a breaker that waits for its next caller.
    """
    return (
        state.run in ENDED["run"]
        and all(one in ENDED["workstream"] for one in state.streams)
        and all(task.state in ENDED["task"] for task in state.tasks)
        and not any(entry and entry.state in HALF_WAY for entry in state.entries)
        and not any(state.gates)
        and not state.hindered
        and all(worker in ("", "shutdown") for worker in state.workers)
        and state.breaker.state != "OPEN"
        and state.breaker.probe is None
        and not any(state.threads)
        and state.look is None
    )


def successors(
    rules: Rules, state: State, sources: Sequence[Callable[[Rules, State], Iterator[Step]]]
) -> Iterator[tuple[str, bool, State]]:
    """Every step that is possible: its name, whether the system does it by itself, and its end."""
    for source in sources:
        for step in source(rules, state):
            if step.name in rules.left_out:
                continue
            try:
                after = step.make()
            except Refused:
                continue
            if after != state:
                yield step.name, step.by_system, tidied(after)


@dataclass(frozen=True)
class Graph:
    """Every reachable state by number; `system` are the steps that need no outside event."""

    states: Sequence[State]
    system: Sequence[Sequence[int]]
    came_from: Mapping[int, tuple[int, str]]
    steps: frozenset[str]
    used: frozenset[tuple[str, str, str]]

    def way_to(self, number: int) -> list[str]:
        """The steps of the shortest way to a state; what a person needs to understand it."""
        steps: list[str] = []
        while number in self.came_from:
            number, name = self.came_from[number]
            steps.append(name)
        return steps[::-1]


def explore(rules: Rules, holds: Callable[[State], bool] | None = None) -> Graph:
    """Breadth first through everything that can happen, or to where a property does not hold."""
    first = launch(rules)
    numbers: dict[State, int] = {first: 0}
    states, system = [first], []
    came_from: dict[int, tuple[int, str]] = {}
    names: set[str] = set()
    here = 0
    while here < len(states):
        following: list[int] = []
        for name, by_system, after in successors(rules, states[here], SOURCES):
            number = numbers.get(after)
            if number is None:
                number = numbers[after] = len(states)
                states.append(after)
                came_from[number] = (here, name)
                names.add(name)
            if by_system:
                following.append(number)
        system.append(following)
        here += 1
        if holds and not holds(states[-1]):
            break
        assert len(states) < LIMIT, f"more than {LIMIT} states"
    return Graph(states, system, came_from, frozenset(names), frozenset(rules.used))


def broken(graph: Graph, holds: Callable[[State], bool]) -> list[str]:
    """The shortest way to a state in which a property does not hold; empty when it always does."""
    for number, state in enumerate(graph.states):
        if not holds(state):
            return [*graph.way_to(number), repr(state)]
    return []


def dead_ends(graph: Graph) -> list[str]:
    """The way to a state where nothing goes on by itself although not everything is settled."""
    for number, following in enumerate(graph.system):
        if not following and not settled(graph.states[number]):
            return [*graph.way_to(number), repr(graph.states[number])]
    return []


def endless(graph: Graph) -> list[int]:
    """States from which the system could go on for ever without an outside event."""
    waiting = [len(following) for following in graph.system]
    before: list[list[int]] = [[] for _ in graph.states]
    for number, following in enumerate(graph.system):
        for after in following:
            before[after].append(number)
    ready = deque(number for number, count in enumerate(waiting) if count == 0)
    done = 0
    while ready:
        done += 1
        for number in before[ready.popleft()]:
            waiting[number] -= 1
            if waiting[number] == 0:
                ready.append(number)
    return [] if done == len(waiting) else [n for n, count in enumerate(waiting) if count]


def without_exit(
    graph: Graph, local: Callable[[State], str | None], resting: frozenset[str]
) -> list[str]:
    """States of one entity that it cannot leave by the system's own steps, with the way there."""
    locals_ = [local(state) for state in graph.states]
    before: list[list[int]] = [[] for _ in graph.states]
    leaving: deque[int] = deque()
    for number, following in enumerate(graph.system):
        mine = locals_[number]
        if any(locals_[after] != mine for after in following):
            leaving.append(number)
        for after in following:
            if locals_[after] == mine:
                before[after].append(number)
    free = set(leaving)
    while leaving:
        for number in before[leaving.popleft()]:
            if number not in free:
                free.add(number)
                leaving.append(number)
    for number, mine in enumerate(locals_):
        if mine is not None and mine not in resting and number not in free:
            return [mine, *graph.way_to(number), repr(graph.states[number])]
    return []
