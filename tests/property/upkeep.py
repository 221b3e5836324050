"""The model's upkeep: dispatch, cascades, cancellation, recovery, and what people do.

Everything here is driven by rows alone, so whoever comes next goes on where a dead process stopped.
"""

from collections.abc import Iterator
from functools import partial

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

LOST = frozenset({"failed", "cancelled"})


def dispatch(rules: Rules, state: State) -> Iterator[Step]:
    """Open the workstream, queue tasks, make workers, claim; nothing once a cancel is asked for."""
    if state.look or state.cancelling:
        return
    if state.run == "pending":
        yield _step("start run", lambda: state._replace(run=rules.go("run", "pending", "running")))
        return
    if state.ws == "planned":
        yield _step("open", lambda: _ws(rules, state, "ready"))
    if state.ws not in ("ready", "executing") or _critical_loss(state):
        return
    for number, task in enumerate(state.tasks):
        if task.state in ("pending", "retrying") and not _unmet(rules, state, number):
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
        unused = state.threads[slot] is None and "RUNNING" not in state.gates[slot]
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
        gates=put(state.gates, slot, ()),
    )


def _spawn(rules: Rules, state: State, slot: int) -> State:
    idle = rules.go("worker", "initializing", "idle")
    return state._replace(workers=put(state.workers, slot, idle), gates=put(state.gates, slot, ()))


# -- cascades (R2, R3, W2, W6, T3) -------------------------------------------------------------


def cascade(rules: Rules, state: State) -> Iterator[Step]:
    """What one entity's end means for the others: tasks, then the workstream, then the run."""
    if state.look:
        return
    for number, task in enumerate(state.tasks):
        if task.state == "blocked" and not _unmet(rules, state, number):
            yield _step("unblock", partial(_task, rules, state, number, "pending"))
        unreachable = any(state.tasks[need].state in LOST for need in rules.needs[number])
        doomed = state.cancelling or _critical_loss(state) or unreachable
        if doomed and task.state not in ENDED["task"]:
            yield from _asking_git(rules, state, "cancel", number, number)
    if all(task.state in ENDED["task"] for task in state.tasks):
        yield from _workstream(rules, state)
    if state.ws in ENDED["workstream"] and state.run not in ENDED["run"]:
        yield _step("end run", partial(_end_run, rules, state))


def _workstream(rules: Rules, state: State) -> Iterator[Step]:
    done = all(task.state == "completed" for task in state.tasks)
    if state.ws == "validating":
        yield _step("validation fails", lambda: _ws(rules, state, "failed"))
        if all(one == tip(state)[: len(one)] for one in state.recorded):
            merged = state._replace(branch=tip(state))
            yield _step("validation passes", lambda: _ws(rules, merged, "completed"))
    elif state.cancelling and state.ws not in ENDED["workstream"]:
        yield _step("cancel workstream", lambda: _ws(rules, state, "cancelled"))
    elif state.ws == "ready":
        end = "executing" if done else "cancelled"
        yield _step("nothing ran", lambda: _ws(rules, state, end))
    elif state.ws == "executing":
        end = "validating" if done else "failed"
        yield _step("derive workstream", lambda: _ws(rules, state, end))


def _end_run(rules: Rules, state: State) -> State:
    ended = "succeeded" if state.ws == "completed" else "failed"
    target = "canceled" if state.cancelling else ended
    return state._replace(run=rules.go("run", state.run, target))


# -- transactions that ask git ------------------------------------------------------------------


def _asking_git(
    rules: Rules, state: State, why: str, number: int, task: int | None
) -> Iterator[Step]:
    """Cancel a task or fence a worker; git's answer may be old when the transaction writes."""
    entry = state.entries[task] if task is not None else None
    landed = task is not None and has_landed(state, task)
    if entry and entry.state == "verified":
        look = Look(why, number, landed)
        yield _step(f"{why}: ask git", lambda: state._replace(look=look))
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
        if "RUNNING" in state.gates[slot] and thread is None:
            yield _step("end gate", partial(_end_gate, rules, state, slot))
        if state.breaker.probe == slot and silent:
            freed = state.breaker._replace(probe=None)
            yield _step("probe expires", partial(state._replace, breaker=freed))
    if state.breaker.state == "OPEN":
        yield _step("cool down", lambda: _cool(rules, state))


def _end_gate(rules: Rules, state: State, slot: int) -> State:
    killed = rules.go("test_gate", "RUNNING", "FAILED")
    return state._replace(gates=put(state.gates, slot, (killed,)))


def _cool(rules: Rules, state: State) -> State:
    half = rules.go("circuit_breaker", "OPEN", "HALF_OPEN")
    return state._replace(breaker=state.breaker._replace(state=half))


# -- people --------------------------------------------------------------------------------------


def people(rules: Rules, state: State) -> Iterator[Step]:
    """A cancel at any moment, a stranger on the branch, an idle worker's death, an operator."""
    if state.run not in ENDED["run"] and not state.cancelling:
        yield Step("user cancels", False, lambda: state._replace(cancelling=True))
    struck = unlucky(state, "strangers")
    if struck and struck.luck != state.luck and state.ws in ("ready", "executing"):
        moved = struck._replace(branch=(*tip(state), (-1, 0, 0)))
        yield Step("stranger moves branch", False, lambda: moved)
    if state.look:
        return
    struck = unlucky(state, "idle_deaths")
    for slot, worker in enumerate(state.workers if struck else ()):
        if struck and worker == "idle" and state.threads[slot] is None:
            yield Step("heartbeat lost", False, partial(_worker, rules, struck, slot, "shutdown"))
    for number, entry in enumerate(state.entries):
        if state.run not in ENDED["run"] or entry is None:
            continue
        for source, target in (("quarantined", "dropped"), ("committed", "rolled_back")):
            if entry.state == source:
                make = partial(_by_operator, rules, state, number, target)
                yield Step(f"operator: {target}", False, make)


def _by_operator(rules: Rules, state: State, number: int, target: str) -> State:
    entry = state.entries[number]
    assert entry is not None
    changed = entry._replace(state=rules.go("patch_ledger", entry.state, target))
    return state._replace(entries=put(state.entries, number, changed))


# -- parts -----------------------------------------------------------------------------------------


def _step(name: str, make: object) -> Step:
    return Step(name, True, make)  # type: ignore[arg-type]


def _unmet(rules: Rules, state: State, number: int) -> bool:
    return any(state.tasks[need].state != "completed" for need in rules.needs[number])


def _critical_loss(state: State) -> bool:
    return any(task.state == "failed" for task in state.tasks)


def _ws(rules: Rules, state: State, target: str) -> State:
    return state._replace(ws=rules.go("workstream", state.ws, target))


def _task(rules: Rules, state: State, number: int, target: str) -> State:
    row = state.tasks[number]
    changed = row._replace(state=rules.go("task", row.state, target))
    return state._replace(tasks=put(state.tasks, number, changed))


def _worker(rules: Rules, state: State, slot: int, target: str) -> State:
    end = rules.go("worker", state.workers[slot], target)
    return state._replace(workers=put(state.workers, slot, end))
