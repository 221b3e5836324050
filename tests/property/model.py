"""A small model of how the entities of a run work together: its states, and what a step may do.

One workstream, a few tasks, a few worker slots, one tool behind one breaker, one branch. Rows
survive a crash; what a thread knows (`Thread`) does not. Every step is one transaction of the
store, or one act of git. The legal transitions come from `state.machines`; how they are put
together follows decisions T, K, P, G, B, R3 and W, and the steps of an attempt (design section 4).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, NamedTuple

from state.machines import MACHINES

Commit = tuple[int, int, int]
"""Task, token and number of the apply; the stranger's is (-1, 0, 0)."""
Branch = tuple[Commit, ...]

ENDED = {name: machine.terminal for name, machine in MACHINES.items()}
HALF_WAY = frozenset({"created", "validated", "queued", "applied", "apply_failed", "verified"})
"""States of a patch that is neither on the branch nor at its end."""

LANDED = frozenset({"committed", "rolled_back"})


class Task(NamedTuple):
    """A row of `tasks`; `commits` and `empty` are only there to be looked at."""

    state: str
    retries: int = 0
    worker: int | None = None
    token: int = 0
    commits: int = 0
    empty: bool = False


class Entry(NamedTuple):
    """The newest ledger entry of a task; `judged` is what the gates said of it."""

    state: str
    token: int
    apply: int = 1
    base: Branch = ()
    judged: str = ""


class Breaker(NamedTuple):
    """The tool's circuit breaker; `probe` is the slot that holds the lease of the probe."""

    state: str = "CLOSED"
    failures: int = 0
    probe: int | None = None


class Thread(NamedTuple):
    """What executes an attempt: `at` is its next line. A crash loses all of it."""

    at: str
    task: int
    token: int
    apply: int = 1
    base: Branch = ()
    paused: bool = False
    probing: bool = False


class Look(NamedTuple):
    """A transaction that has asked git about a verified patch and not yet written."""

    why: str
    number: int
    landed: bool


class Luck(NamedTuple):
    """How often the environment may still strike; -1 is without limit."""

    crashes: int = -1
    pauses: int = 0
    interrupts: int = -1
    strangers: int = 0
    idle_deaths: int = -1


ALWAYS_CRASHING = Luck()
"""Any number of crashes, interrupts and deaths of idle workers."""


class State(NamedTuple):
    """All rows, the branch, and what lives in processes.

    `gates` are, for each slot, the states of the gates that it ran last. `recorded` are the
    branches up to each committed patch.
    """

    run: str
    ws: str
    tasks: tuple[Task, ...]
    entries: tuple[Entry | None, ...]
    gates: tuple[tuple[str, ...], ...]
    workers: tuple[str, ...]
    breaker: Breaker
    branch: Branch
    recorded: frozenset[Branch]
    cancelling: bool
    threads: tuple[Thread | None, ...]
    look: Look | None
    luck: Luck


class Step(NamedTuple):
    """Something that may happen next. `make` gives the state after it, or raises Refused."""

    name: str
    by_system: bool
    make: Callable[[], State]


class Refused(Exception):
    """A transaction asked for a transition that the rules do not have: all of it is undone."""


def _tables() -> frozenset[tuple[str, str, str]]:
    return frozenset(
        (name, one.source, one.target)
        for name, machine in MACHINES.items()
        for one in machine.all_transitions()
    )


@dataclass(frozen=True)
class Rules:
    """The size of the world, the legal transitions, and what a mutation leaves out."""

    needs: tuple[tuple[int, ...], ...] = ((),)
    slots: int = 1
    max_retries: int = 1
    max_applies: int = 2
    threshold: int = 1
    luck: Luck = ALWAYS_CRASHING
    landing_lease: bool = False
    """Whether one attempt at a time lands, in all processes together (design section 4, 6)."""
    outcomes: frozenset[str] = frozenset({"failed", "hopeless", "empty", "spoiled", "good"})
    legal: frozenset[tuple[str, str, str]] = field(default_factory=_tables)
    left_out: frozenset[str] = frozenset()
    used: set[tuple[str, str, str]] = field(default_factory=set, compare=False)

    def go(self, machine: str, *path: str) -> str:
        """Through these states, all in one transaction; the last one."""
        for source, target in pairwise(path):
            if (machine, source, target) not in self.legal:
                raise Refused(f"{machine}: {source} -> {target}")
            self.used.add((machine, source, target))
        return path[-1]

    def without(self, *left_out: str) -> "Rules":
        """The same world without a step or a guard."""
        return replace(self, left_out=self.left_out | set(left_out), used=set())

    def illegal(self, machine: str, source: str, target: str) -> "Rules":
        """The same world without a transition that the machine has."""
        assert (machine, source, target) in self.legal
        return replace(self, legal=self.legal - {(machine, source, target)}, used=set())

    def start(self) -> State:
        """The rows as a launch writes them."""
        tasks = tuple(
            Task(self.go("task", "pending", "blocked") if needs else "pending")
            for needs in self.needs
        )
        return State(
            run="pending",
            ws="planned",
            tasks=tasks,
            entries=(None,) * len(tasks),
            gates=((),) * self.slots,
            workers=("",) * self.slots,
            breaker=Breaker(),
            branch=(),
            recorded=frozenset(),
            cancelling=False,
            threads=(None,) * self.slots,
            look=None,
            luck=self.luck,
        )


def put(sequence: tuple[Any, ...], place: int, value: Any) -> tuple[Any, ...]:
    """The tuple with one value changed."""
    return (*sequence[:place], value, *sequence[place + 1 :])


def unlucky(state: State, what: str) -> State | None:
    """The state after one more stroke of that kind; None when there is none left."""
    left = getattr(state.luck, what)
    if left <= 0:
        return state if left else None
    return state._replace(luck=state.luck._replace(**{what: left - 1}))


def tip(state: State) -> Branch:
    """Where the branch belongs by what is written down: commit upon commit."""
    found: Branch = ()
    while True:
        following = [one for one in state.recorded if one[:-1] == found]
        if not following:
            return found
        found = min(following)


def candidate(task: int, entry: Entry) -> Commit:
    """The commit that an entry lands as; deterministic, so that anybody knows it."""
    return (task, entry.token, entry.apply)


def fresh_token(state: State, task: int) -> int:
    """A token that nothing in the world still refers to; so the world stays finite."""
    used = {thread.token for thread in state.threads if thread and thread.task == task}
    used |= {token for number, token, _ in state.branch if number == task}
    used |= {token for one in state.recorded for number, token, _ in one if number == task}
    entry = state.entries[task]
    used |= {0, entry.token if entry else 0}
    return next(token for token in range(1, 99) if token not in used)


def tidied(state: State) -> State:
    """Without what no longer matters: details of ended patches, workers and their gates."""
    entries = tuple(
        Entry(entry.state, 0, judged=entry.judged if entry.state in LANDED else "")
        if entry and entry.state not in HALF_WAY
        else entry
        for entry in state.entries
    )
    workers, gates = list(state.workers), list(state.gates)
    for slot, worker in enumerate(workers):
        if worker in ("", "shutdown") and not state.threads[slot]:
            workers[slot] = ""
            if "RUNNING" not in gates[slot]:
                gates[slot] = ()
    return state._replace(entries=entries, workers=tuple(workers), gates=tuple(gates))


def settled(state: State) -> bool:
    """Whether everything is at its end or at rest, and nothing lives.

    A committed patch rests; so do a breaker that waits for its next caller, and a gate that was
    never run because another did not pass (`resources.gates` records those as BLOCKED).
    """
    return (
        state.run in ENDED["run"]
        and state.ws in ENDED["workstream"]
        and all(task.state in ENDED["task"] for task in state.tasks)
        and not any(entry and entry.state in HALF_WAY for entry in state.entries)
        and not any("RUNNING" in gates or "PENDING" in gates for gates in state.gates)
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
