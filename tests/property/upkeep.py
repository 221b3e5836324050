"""The model's upkeep: dispatch, cascades, cancellation, recovery, and what people do.

Everything here is driven by rows alone, so whoever comes next goes on where a dead process stopped.
"""

from collections.abc import Iterator
from functools import partial

from state.propagation.facts import Step as Decided
from tests.property.model import (
    ENDED,
    Look,
    Rules,
    State,
    Step,
    Thread,
    fresh_token,
    put,
    tip,
    unlucky,
)
from tests.property.parts import give_up, has_landed, leave, settle_patch


def launch(rules: Rules) -> State:
    """The rows of a new run: what cannot begin is blocked or skipped before anybody sees them."""
    state = rules.start()._replace(run="running")
    while step := rules.standing(state).first:
        state = _taken(rules, state, step)
    return state._replace(run="pending")


def dispatch(rules: Rules, state: State) -> Iterator[Step]:
    """Open workstreams, queue tasks, make workers, claim; nothing once a cancel is asked for."""
    if state.look or state.cancelling or state.run in ENDED["run"]:
        return
    if state.run == "pending":
        yield _step("start run", lambda: state._replace(run=rules.go("run", "pending", "running")))
        return
    standing = rules.standing(state)
    for stream in standing.opening:
        yield _step("open", partial(_stream, rules, state, stream, "ready"))
    for number, task in enumerate(state.tasks):
        if state.streams[task.stream] not in ("ready", "executing"):
            continue
        if number in standing.queueing:
            yield _step("queue", partial(_task, rules, state, number, "queued"))
        if task.state == "queued":
            yield from _claims(rules, state, number)


def _claims(rules: Rules, state: State, number: int) -> Iterator[Step]:
    """The first worker that may take the task, or a new one: which of them makes no difference."""
    breaker = state.breaker
    free = breaker.state == "CLOSED" or (breaker.state == "HALF_OPEN" and breaker.probe is None)
    idle = [slot for slot, worker in enumerate(state.workers) if worker == "idle"]
    for slot in idle:
        # One that recovered from silence holds its task still (K2).
        holding = any(task.worker == slot for task in state.tasks)
        refused = holding and "one task per worker" not in rules.left_out
        # What has given its task up but not been handed back is not idle for its own process.
        if free and not refused and (holding or state.threads[slot] is None):
            yield _step("claim", partial(_claim, rules, state, number, slot))
            return
    for slot, worker in enumerate(state.workers):
        unused = state.threads[slot] is None and not state.gates[slot]
        if worker in ("", "shutdown") and unused:
            yield _step("make worker", partial(_spawn, rules, state, slot))
            return


def _claim(rules: Rules, state: State, number: int, slot: int) -> State:
    token, breaker = fresh_token(state, number), state.breaker
    probing = breaker.state == "HALF_OPEN"
    row = state.tasks[number]
    row = row._replace(state=rules.go("task", "queued", "running"), worker=slot, token=token)
    return state._replace(
        tasks=put(state.tasks, number, row),
        workers=put(state.workers, slot, rules.go("worker", "idle", "busy")),
        threads=put(state.threads, slot, Thread("claimed", number, token, probing=probing)),
        breaker=breaker._replace(probe=slot) if probing else breaker,
    )


def _spawn(rules: Rules, state: State, slot: int) -> State:
    idle = rules.go("worker", "initializing", "idle")
    return state._replace(workers=put(state.workers, slot, idle))


# -- cascades (R2, R3, T3, W2, W4, W5, W6) -------------------------------------------------------


def cascade(rules: Rules, state: State) -> Iterator[Step]:
    """The first step of what follows from how everything stands: then it is looked at anew."""
    step = None if state.look else rules.standing(state).first
    if step is None:
        return
    if (step.entity_type, step.target) == ("task", "cancelled"):
        number = int(step.entity_id)
        yield from _asking_git(rules, state, "cancel", number, number)
    else:
        yield _step(f"{step.entity_type} {step.target}", partial(_taken, rules, state, step))


def _taken(rules: Rules, state: State, step: Decided) -> State:
    """After a step of a cascade that needs nothing of git."""
    path = [proposal.state for proposal in step.path]
    if step.entity_type == "run":
        return state._replace(run=rules.go("run", state.run, *path))
    take = _task if step.entity_type == "task" else _stream
    return take(rules, state, int(step.entity_id), *path)


def validation(rules: Rules, state: State) -> Iterator[Step]:
    """A workstream whose work is done is judged; what it hands on is its branch as written down."""
    if state.look:
        return
    for stream in rules.standing(state).judging:
        yield _step("validate", partial(_stream, rules, state, stream, "validating"))
    for stream, now in enumerate(state.streams):
        if now != "validating":
            continue
        yield _step("validation fails", partial(_stream, rules, state, stream, "failed"))
        right = tip(state, stream)
        if all(one == right[: len(one)] for one in state.recorded[stream]):
            merged = state._replace(branches=put(state.branches, stream, right))
            make = partial(_stream, rules, merged, stream, "completed")
            yield _step("validation passes", make)


# -- transactions that ask git ------------------------------------------------------------------


def _asking_git(
    rules: Rules, state: State, why: str, number: int, task: int | None
) -> Iterator[Step]:
    """Cancel a task or fence a worker; git's answer may be old when the transaction writes."""
    entry = state.entries[task] if task is not None else None
    landed = task is not None and has_landed(state, task)
    if task is not None and entry and entry.state == "verified":
        look, fences = Look(why, number, landed), state.fences
        if why == "fence":  # a worker that is taken for dead moves nothing any more
            fences = put(fences, state.tasks[task].stream, None)
        yield _step(f"{why}: ask git", lambda: state._replace(look=look, fences=fences))
    else:
        yield _step(why, partial(_apply, rules, state, Look(why, number, landed)))


def transactions(rules: Rules, state: State) -> Iterator[Step]:
    """Finish the transaction that has asked git, or lose it with its process."""
    look = state.look
    if look:
        without = state._replace(look=None)
        yield _step(look.why, partial(_apply, rules, without, look))
        if struck := unlucky(without, "crashes"):
            yield Step("crash in a transaction", False, lambda: struck)


def _apply(rules: Rules, state: State, look: Look) -> State:
    return (_cancel if look.why == "cancel" else _fence)(rules, state, look.number, look.landed)


def _cancel(rules: Rules, state: State, number: int, landed: bool) -> State:
    state, completed = settle_patch(rules, state, number, landed)
    if completed:
        return state
    row = leave(rules, state.tasks[number], "cancelled")
    return state._replace(tasks=put(state.tasks, number, row))


def _fence(rules: Rules, state: State, slot: int, landed: bool) -> State:
    """A worker is shut down, and its task leaves running, in one transaction (K2)."""
    for number, task in enumerate(state.tasks):
        if task.worker == slot:
            state = give_up(rules, state, number, landed)
    end = rules.go("worker", state.workers[slot], "shutdown")
    return state._replace(workers=put(state.workers, slot, end))


# -- recovery and reconciling ----------------------------------------------------------------------


def recovery(rules: Rules, state: State) -> Iterator[Step]:
    """What a reconciler does about the dead and the silent, at any time."""
    if state.look:
        return
    for slot, worker in enumerate(state.workers):
        thread = state.threads[slot]
        held = next((n for n, task in enumerate(state.tasks) if task.worker == slot), None)
        silent = thread is None or thread.paused
        if worker == "busy" and silent:
            yield _step("silence", partial(_worker, rules, state, slot, "unresponsive"))
        if worker == "unresponsive" and not silent:
            yield _step("recover", partial(_worker, rules, state, slot, "idle"))
        dead = worker in ("busy", "unresponsive") or (worker == "idle" and held is not None)
        if (dead and thread is None) or (worker == "unresponsive" and silent):
            yield from _asking_git(rules, state, "fence", slot, held)
        if worker == "idle" and thread is None and state.run in ENDED["run"]:
            yield _step("close", partial(_worker, rules, state, slot, "shutdown"))
        if state.gates[slot] and thread is None:
            yield _step("end gate", partial(_end_gate, rules, state, slot))
        if state.breaker.probe == slot and silent:
            freed = state.breaker._replace(probe=None)
            yield _step("probe expires", partial(state._replace, breaker=freed))
    if state.breaker.state == "OPEN":
        yield _step("cool down", lambda: _cool(rules, state))


def _end_gate(rules: Rules, state: State, slot: int) -> State:
    killed = rules.go("test_gate", "RUNNING", "FAILED")
    return state._replace(gates=put(state.gates, slot, killed))


def _cool(rules: Rules, state: State) -> State:
    half = rules.go("circuit_breaker", "OPEN", "HALF_OPEN")
    return state._replace(breaker=state.breaker._replace(state=half))


# -- people --------------------------------------------------------------------------------------


def people(rules: Rules, state: State) -> Iterator[Step]:
    """A cancel at any moment, a stranger on the branch, an idle worker's death."""
    if state.run not in ENDED["run"] and not state.cancelling:
        yield Step("user cancels", False, lambda: state._replace(cancelling=True))
    struck = unlucky(state, "strangers")
    if struck and struck.luck != state.luck and state.streams[0] in ("ready", "executing"):
        elsewhere = (*tip(state, 0), (-1, 0, 0))
        moved = struck._replace(branches=put(state.branches, 0, elsewhere))
        yield Step("stranger moves branch", False, lambda: moved)
    if state.look:
        return
    struck = unlucky(state, "idle_deaths")
    for slot, worker in enumerate(state.workers if struck else ()):
        if struck and worker == "idle" and state.threads[slot] is None:
            yield Step("heartbeat lost", False, partial(_worker, rules, struck, slot, "shutdown"))


def operators(rules: Rules, state: State) -> Iterator[Step]:
    """What is done by hand: a run declared ended, a patch dropped or rolled back after its run."""
    if state.look:
        return
    struck = unlucky(state, "overrides")
    if struck and state.run == "running":
        yield Step("operator: failed", False, partial(_end_by_hand, rules, struck))
    for number, entry in enumerate(state.entries):
        if state.run not in ENDED["run"] or entry is None:
            continue
        for source, target in (("quarantined", "dropped"), ("committed", "rolled_back")):
            if entry.state == source:
                make = partial(_by_operator, rules, state, number, target)
                yield Step(f"operator: {target}", False, make)


def _end_by_hand(rules: Rules, state: State) -> State:
    return state._replace(run=rules.go("run", state.run, "failed"))


def _by_operator(rules: Rules, state: State, number: int, target: str) -> State:
    entry = state.entries[number]
    assert entry is not None
    changed = entry._replace(state=rules.go("patch_ledger", entry.state, target))
    return state._replace(entries=put(state.entries, number, changed))


# -- parts -----------------------------------------------------------------------------------------


def _step(name: str, make: object) -> Step:
    return Step(name, True, make)  # type: ignore[arg-type]


def _stream(rules: Rules, state: State, number: int, *path: str) -> State:
    end = rules.go("workstream", state.streams[number], *path)
    return state._replace(streams=put(state.streams, number, end))


def _task(rules: Rules, state: State, number: int, *path: str) -> State:
    row = state.tasks[number]
    changed = row._replace(state=rules.go("task", row.state, *path))
    return state._replace(tasks=put(state.tasks, number, changed))


def _worker(rules: Rules, state: State, slot: int, target: str) -> State:
    end = rules.go("worker", state.workers[slot], target)
    return state._replace(workers=put(state.workers, slot, end))
