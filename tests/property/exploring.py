"""Explores every state of the model, and says what is wrong with them and with their graph."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.property.attempts import interruptions, thread_steps
from tests.property.model import Rules, State, settled, successors
from tests.property.upkeep import cascade, dispatch, people, recovery, transactions

SOURCES = (dispatch, thread_steps, cascade, transactions, recovery, interruptions, people)
LIMIT = 1_000_000
"""More states than this are a mistake in the model, not a bigger world."""


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


def explore(rules: Rules) -> Graph:
    """Breadth first through everything that can happen."""
    first = rules.start()
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
