"""The model's attempts: line by line what a thread does for a task (design section 4, 2 to 8)."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from tests.property.landings import ACTS_OF_GIT, LANDING, gate_ends
from tests.property.model import (
    Breaker,
    Entry,
    Rules,
    State,
    Step,
    Thread,
    put,
    tip,
    unlucky,
)
from tests.property.parts import (
    Steps,
    accepted,
    at,
    complete,
    give_up,
    gone,
    has_landed,
    live,
    to,
    with_entry,
    write,
)

Line = Callable[[Rules, State, int, Thread], Iterator[tuple[str, Callable[[], State]]]]


def thread_steps(rules: Rules, state: State) -> Iterator[Step]:
    """The next line of every thread that is awake."""
    for slot, thread in enumerate(state.threads):
        if thread is None:
            continue
        if thread.paused:
            yield Step("wake", True, partial(at, state, slot, thread._replace(paused=False)))
            continue
        if state.look and thread.at not in ACTS_OF_GIT:
            continue  # somebody is inside a transaction
        for name, make in _LINES[thread.at](rules, state, slot, thread):
            yield Step(name, True, make)


def interruptions(rules: Rules, state: State) -> Iterator[Step]:
    """What befalls threads: the death of their process, a pause, an interrupt by a person."""
    for slot, thread in enumerate(state.threads):
        if thread is None:
            continue
        if struck := unlucky(state, "crashes"):
            yield Step("crash", False, partial(gone, struck, slot))
        if thread.paused or state.look:
            continue
        if struck := unlucky(state, "pauses"):
            yield Step("pause", False, partial(at, struck, slot, thread._replace(paused=True)))
        if struck := unlucky(state, "interrupts"):
            if thread.at == "tool":
                yield Step("interrupt", False, partial(to, struck, slot, thread, "stopping"))
            if thread.at == "gating":
                make = partial(gate_ends, rules, struck, slot, thread, "FAILED", "ungated_stop")
                yield Step("interrupt", False, make)


# -- the lines -------------------------------------------------------------------------------------


def _claimed(rules: Rules, state: State, slot: int, thread: Thread) -> Steps:
    def start() -> State:
        stream, after = state.tasks[thread.task].stream, state
        if state.streams[stream] == "ready":
            began = rules.go("workstream", "ready", "executing")
            after = state._replace(streams=put(state.streams, stream, began))
        return to(after, slot, thread, "started")

    yield "start workstream", start


def _started(rules: Rules, state: State, slot: int, thread: Thread) -> Steps:
    may = state.breaker.state == "CLOSED" or thread.probing
    yield "ask breaker", partial(to, state, slot, thread, "tool" if may else "stopping")


def _tool(rules: Rules, state: State, slot: int, thread: Thread) -> Steps:
    if not live(rules, state, thread):
        yield "tool is killed", partial(to, state, slot, thread, "hand_back")
        return
    for outcome in sorted(rules.outcomes):
        bad = outcome in ("failed", "hopeless")
        make = partial(_breaker_hears, rules, state, slot, thread, bad, _AFTER_TOOL[outcome])
        yield f"tool: {outcome}", make


def _breaker_hears(
    rules: Rules, state: State, slot: int, thread: Thread, bad: bool, line: str
) -> State:
    breaker = state.breaker
    if breaker.state == "CLOSED":
        breaker = Breaker("CLOSED", breaker.failures + 1 if bad else 0)
        if breaker.failures >= rules.threshold:
            breaker = Breaker(rules.go("circuit_breaker", "CLOSED", "OPEN"))
    elif thread.probing and breaker.probe == slot:
        breaker = Breaker(rules.go("circuit_breaker", "HALF_OPEN", "OPEN" if bad else "CLOSED"))
    return to(state._replace(breaker=breaker), slot, thread._replace(probing=False), line)


def _unchanged(rules: Rules, state: State, slot: int, thread: Thread) -> Steps:
    def finish() -> State:
        row = complete(rules, state, thread.task)._replace(empty=True)
        after = state._replace(tasks=put(state.tasks, thread.task, row))
        return to(after, slot, thread, "hand_back")

    yield "complete without a patch", write(rules, state, slot, thread, finish)


def _spoiled(rules: Rules, state: State, slot: int, thread: Thread) -> Steps:
    def refuse() -> State:
        path = rules.go("patch_ledger", "created", "quarantined")
        entry = Entry(path, thread.token)
        return to(with_entry(state, thread.task, entry), slot, thread, "failing")

    yield "refuse patch", write(rules, state, slot, thread, refuse)


def _produced(rules: Rules, state: State, slot: int, thread: Thread) -> Steps:
    def accept() -> State:
        entry = Entry(accepted(rules), thread.token)
        after = with_entry(state, thread.task, entry)
        base = tip(state, state.tasks[thread.task].stream)
        return to(after, slot, thread._replace(apply=1, base=base), "landing")

    yield "accept patch", write(rules, state, slot, thread, accept)


def _ending(
    rules: Rules,
    state: State,
    slot: int,
    thread: Thread,
    *,
    counts: bool = True,
    again: bool = True,
) -> Steps:
    def end() -> State:
        landed = has_landed(state, thread.task)
        after = give_up(rules, state, thread.task, landed, counts=counts, again=again)
        return to(after, slot, thread, "hand_back")

    yield "end attempt", write(rules, state, slot, thread, end)


def _hand_back(rules: Rules, state: State, slot: int, thread: Thread) -> Steps:
    def release() -> State:
        workers, breaker = state.workers, state.breaker
        if workers[slot] == "busy":
            workers = put(workers, slot, rules.go("worker", "busy", "idle"))
        if breaker.probe == slot:
            breaker = breaker._replace(probe=None)
        return gone(state._replace(workers=workers, breaker=breaker), slot)

    yield "hand back", release


_AFTER_TOOL = {
    "failed": "failing",
    "hopeless": "hopeless",
    "empty": "unchanged",
    "spoiled": "spoiled",
    "good": "produced",
}
_LINES: Mapping[str, Line] = {
    **LANDING,
    "claimed": _claimed,
    "started": _started,
    "tool": _tool,
    "unchanged": _unchanged,
    "spoiled": _spoiled,
    "produced": _produced,
    "failing": _ending,
    "hopeless": partial(_ending, again=False),
    "stopping": partial(_ending, counts=False),
    "hand_back": _hand_back,
}
