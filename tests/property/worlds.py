"""The worlds that are explored: small, each about one kind of trouble."""

from functools import cache

from state.propagation.facts import Policy
from tests.property.exploring import Graph, explore
from tests.property.model import Luck, Rules
from tests.property.real import Stream

FEW = frozenset({"failed", "good"})
GOOD = frozenset({"good"})
ONCE = Luck(crashes=1, interrupts=0, idle_deaths=0)
ASLEEP = Luck(crashes=0, pauses=1, interrupts=0, idle_deaths=0)

WORLDS = {
    # One task, any number of crashes and interrupts, somebody who moves the branch.
    "crashes": (Rules(luck=Luck(strangers=1)), 5_000),
    # A task that waits for another, which may fail without failing the workstream at once.
    "chain": (Rules(needs=((), (0,)), noncritical=frozenset({0}), max_retries=0), 4_000),
    # A workstream that waits for another.
    "streams": (
        Rules(
            needs=((), ()),
            streams=(Stream(), Stream(needs=(0,))),
            belongs=(0, 1),
            max_retries=0,
            outcomes=FEW,
            luck=ONCE,
        ),
        1_000,
    ),
    # One that is disabled, one that waits for it, and one that does not; and where that is enough.
    "skips": (
        Rules(
            streams=(Stream(enabled=False), Stream(needs=(0,)), Stream()),
            belongs=(2,),
            max_retries=0,
            luck=ONCE,
        ),
        500,
    ),
    "skips and goes on": (
        Rules(
            streams=(Stream(enabled=False), Stream(needs=(0,))),
            belongs=(1,),
            policy=Policy(skipped_satisfies=True),
            max_retries=0,
            luck=ONCE,
        ),
        500,
    ),
    # A thread that sleeps through its own fencing, and wakes while the next attempt is at work.
    "sleeper": (
        Rules(slots=2, threshold=9, outcomes=GOOD, luck=ONCE._replace(crashes=0, pauses=1)),
        10_000,
    ),
    # Two tasks that land on one branch.
    "branch": (
        Rules(needs=((), ()), slots=2, max_retries=0, threshold=9, outcomes=GOOD, luck=ONCE),
        40_000,
    ),
    # Two tasks behind one breaker, and one that fails takes the other with it.
    "breaker": (
        Rules(
            needs=((), ()),
            slots=2,
            max_retries=0,
            max_applies=1,
            outcomes=FEW,
            luck=ONCE._replace(crashes=0),
        ),
        20_000,
    ),
}
"""The rules of each world, and how many states it has at the least."""


@cache
def world(name: str) -> Graph:
    return explore(WORLDS[name][0])
