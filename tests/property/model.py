"""A small model of how the entities of a run work together: its states, and what a step may do.

A few workstreams, each with its branch, a few tasks, a few worker slots, one tool behind one
breaker. Rows survive a crash; what a thread knows (`Thread`) does not. Every step is one
transaction of the store, or one act of git. Whether a transition is let through, and what follows
from how everything stands, is asked of the real rules (`tests.property.real`); the order in which
an attempt goes about its work follows design section 4 and decisions T, K, P, G and B.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, NamedTuple

from state.machines import MACHINES
from state.propagation.facts import Policy
from tests.property.real import Standing, Stream, accepts, look_at

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
    stream: int = 0
    max_retries: int = 1


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
    seen: Branch = ()
    right: Branch = ()
    """Where it has seen its branch, and where it is about to put it back to."""


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
    overrides: int = 0
    idle_deaths: int = -1


ALWAYS_CRASHING = Luck()
"""Any number of crashes, interrupts and deaths of idle workers."""


class State(NamedTuple):
    """All rows, the branch, and what lives in processes.

    `gates` are, for each slot, the state of the gate that runs there, and `hindered` the tasks with
    a gate that was never run, because another did not pass (`resources.gates` records those as
    BLOCKED). `recorded` are, for each workstream, its branch up to each committed patch. `fences`
    are, for each workstream, the attempt (task, token) that git lets move its branch.
    """

    run: str
    streams: tuple[str, ...]
    tasks: tuple[Task, ...]
    entries: tuple[Entry | None, ...]
    gates: tuple[str, ...]
    hindered: frozenset[int]
    workers: tuple[str, ...]
    breaker: Breaker
    branches: tuple[Branch, ...]
    recorded: tuple[frozenset[Branch], ...]
    cancelling: bool
    threads: tuple[Thread | None, ...]
    look: Look | None
    luck: Luck
    fences: tuple[tuple[int, int] | None, ...] = ()


class Step(NamedTuple):
    """Something that may happen next. `make` gives the state after it, or raises Refused."""

    name: str
    by_system: bool
    make: Callable[[], State]


class Refused(Exception):
    """A transaction asked for a transition that the rules do not have: all of it is undone."""


class Guarded(Refused):
    """A transition that there is, and that a guard does not let through now."""


def _tables() -> frozenset[tuple[str, str, str]]:
    return frozenset(
        (name, one.source, one.target)
        for name, machine in MACHINES.items()
        for one in machine.all_transitions()
    )


@dataclass(frozen=True)
class Rules:
    """The size of the world, the legal transitions, and what a mutation leaves out.

    `needs` are what each task waits for, `streams` the workstreams, `belongs` which one each task
    is in: the first, unless said. `accepted` and `stands` remember what the real rules said.
    """

    needs: tuple[tuple[int, ...], ...] = ((),)
    streams: tuple[Stream, ...] = (Stream(),)
    belongs: tuple[int, ...] | None = None
    noncritical: frozenset[int] = frozenset()
    policy: Policy = field(default_factory=Policy)
    slots: int = 1
    max_retries: int = 1
    max_applies: int = 2
    threshold: int = 1
    luck: Luck = ALWAYS_CRASHING
    landing_lease: bool = True
    """Whether one attempt at a time lands, in all processes together (design section 4, 6)."""
    outcomes: frozenset[str] = frozenset({"failed", "hopeless", "empty", "spoiled", "good"})
    legal: frozenset[tuple[str, str, str]] = field(default_factory=_tables)
    left_out: frozenset[str] = frozenset()
    used: set[tuple[str, str, str]] = field(default_factory=set, compare=False)
    accepted: dict[Any, bool] = field(default_factory=dict, compare=False)
    stands: dict[Any, Standing] = field(default_factory=dict, compare=False)

    def go(self, machine: str, *path: str, **row: int) -> str:
        """Through these states, all in one transaction; the last one.

        Args:
            machine: whose.
            path: the states, the present one first.
            row: columns that a guard may look at.
        """
        for source, target in pairwise(path):
            asked = (machine, source, target, *row.values())
            allowed = self.accepted.get(asked)
            if allowed is None:
                allowed = self.accepted[asked] = accepts(machine, source, target, row)
            if not allowed:
                raise Guarded(f"{machine}: {source} -> {target}")
            if (machine, source, target) not in self.legal:
                raise Refused(f"{machine}: {source} -> {target}")
            self.used.add((machine, source, target))
        return path[-1]

    @property
    def places(self) -> tuple[int, ...]:
        """The workstream of each task."""
        return self.belongs or (0,) * len(self.needs)

    def standing(self, state: State) -> Standing:
        """What follows from how everything stands, by the real rules."""
        asked = (
            state.run,
            state.streams,
            tuple([task.state for task in state.tasks]),
            tuple([entry and entry.state for entry in state.entries]),
            state.cancelling,
        )
        found = self.stands.get(asked)
        if found is None:
            found = self.stands[asked] = look_at(self, *asked)
        return found

    def without(self, *left_out: str) -> "Rules":
        """The same world without a step or a guard."""
        return self._anew(left_out=self.left_out | set(left_out))

    def _anew(self, **changes: Any) -> "Rules":
        return replace(self, used=set(), accepted={}, stands={}, **changes)

    def illegal(self, machine: str, source: str, target: str) -> "Rules":
        """The same world without a transition that the machine has."""
        assert (machine, source, target) in self.legal
        return self._anew(legal=self.legal - {(machine, source, target)})

    def start(self) -> State:
        """The rows as a launch makes them; it then settles them before it writes anything."""
        return State(
            run="pending",
            streams=("planned",) * len(self.streams),
            tasks=tuple(
                Task("pending", stream=stream, max_retries=self.max_retries)
                for stream in self.places
            ),
            entries=(None,) * len(self.needs),
            gates=("",) * self.slots,
            hindered=frozenset(),
            workers=("",) * self.slots,
            breaker=Breaker(),
            branches=((),) * len(self.streams),
            recorded=(frozenset(),) * len(self.streams),
            cancelling=False,
            threads=(None,) * self.slots,
            look=None,
            luck=self.luck,
            fences=(None,) * len(self.streams),
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


def tip(state: State, stream: int) -> Branch:
    """Where a branch belongs by what is written down: commit upon commit."""
    found: Branch = ()
    while True:
        following = [one for one in state.recorded[stream] if one[:-1] == found]
        if not following:
            return found
        found = min(following)


def candidate(task: int, entry: Entry) -> Commit:
    """The commit that an entry lands as; deterministic, so that anybody knows it."""
    return (task, entry.token, entry.apply)


def fresh_token(state: State, task: int) -> int:
    """A token that nothing in the world still refers to; so the world stays finite."""
    used = {thread.token for thread in state.threads if thread and thread.task == task}
    written = {*state.branches, *(one for branch in state.recorded for one in branch)}
    used |= {token for one in written for number, token, _ in one if number == task}
    entry = state.entries[task]
    used |= {0, entry.token if entry else 0}
    return next(token for token in range(1, 99) if token not in used)
