"""What the steps of the model are made of: threads, tokens, and how an attempt ends."""

from collections.abc import Callable, Iterator
from functools import partial

from state.propagation.dependencies import unpassed
from tests.property.model import (
    HALF_WAY,
    Entry,
    Guarded,
    Refused,
    Rules,
    State,
    Task,
    Thread,
    candidate,
    put,
)
from tests.property.real import Gate

Steps = Iterator[tuple[str, Callable[[], State]]]


def at(state: State, slot: int, thread: Thread) -> State:
    """The thread as given, in its slot."""
    return state._replace(threads=put(state.threads, slot, thread))


def gone(state: State, slot: int) -> State:
    """Without the thread of a slot."""
    return state._replace(threads=put(state.threads, slot, None))


def to(state: State, slot: int, thread: Thread, line: str) -> State:
    """The thread goes on at another line."""
    return at(state, slot, thread._replace(at=line))


def live(rules: Rules, state: State, thread: Thread) -> bool:
    """Whether its token is that of the running attempt."""
    fenced = "fencing" not in rules.left_out
    return state.tasks[thread.task].token == thread.token or not fenced


def write(
    rules: Rules, state: State, slot: int, thread: Thread, make: Callable[[], State]
) -> Callable[[], State]:
    """A write that carries the token: a stale one is refused, and the thread gives up (T9)."""
    if live(rules, state, thread):
        return make
    return partial(to, state, slot, thread, "hand_back")


def accepted(rules: Rules) -> str:
    """A new entry that passed its checks."""
    return rules.go("patch_ledger", "created", "validated", "queued")


def with_entry(state: State, task: int, entry: Entry) -> State:
    """The state with another newest entry of a task."""
    return state._replace(entries=put(state.entries, task, entry))


def settle_patch(rules: Rules, state: State, task: int, landed: bool) -> tuple[State, bool]:
    """End what a task has under way; a patch that git has is committed, and the task completed."""
    entry = state.entries[task]
    if entry is None or entry.state not in HALF_WAY:
        return state, False
    if entry.state == "verified" and landed:
        return commit_patch(rules, state, task, entry), True
    path = {
        "queued": ("queued", "apply_failed", "dropped"),
        "apply_failed": ("apply_failed", "dropped"),
        "verified": ("verified", "dropped"),
    }.get(entry.state, (entry.state, "quarantined"))
    return with_entry(state, task, entry._replace(state=rules.go("patch_ledger", *path))), False


def has_landed(state: State, task: int) -> bool:
    """What git answers."""
    entry = state.entries[task]
    return entry is not None and any(candidate(task, entry) in one for one in state.branches)


def leave(rules: Rules, row: Task, target: str, **columns: int) -> Task:
    """A task out of running: worker and token are cleared by the same statement (T6)."""
    return row._replace(state=rules.go("task", row.state, target), worker=None, token=0, **columns)


def commit_patch(rules: Rules, state: State, task: int, entry: Entry) -> State:
    """verified -> committed, and the task with it: running -> validating -> completed."""
    done = complete(rules, state, task)
    committed = entry._replace(state=rules.go("patch_ledger", entry.state, "committed"))
    state = with_entry(state, task, committed)
    stream = done.stream
    recorded = state.recorded[stream] | {(*entry.base, candidate(task, entry))}
    return state._replace(
        tasks=put(state.tasks, task, done._replace(commits=done.commits + 1)),
        recorded=put(state.recorded, stream, recorded),
    )


def complete(rules: Rules, state: State, task: int) -> Task:
    """running -> validating -> completed, if the exit gates of this attempt have passed (T4)."""
    row, entry = state.tasks[task], state.entries[task]
    own = entry is not None and entry.token == row.token
    if entry and own and unpassed([Gate(entry.judged)]) and "exit gates" not in rules.left_out:
        raise Refused(f"task {task}: its gates have not passed")
    return leave(rules, row._replace(state=rules.go("task", row.state, "validating")), "completed")


def give_up(
    rules: Rules, state: State, task: int, landed: bool, *, counts: bool = True, again: bool = True
) -> State:
    """running -> retrying or failed, after its patch was ended (T1, T2, K2)."""
    state, completed = settle_patch(rules, state, task, landed)
    if completed:
        return state
    row = state.tasks[task]
    if not counts:
        left = leave(rules, row, "retrying")
    elif again and _may_retry(rules, row):
        left = leave(rules, row, "retrying", retries=row.retries + 1)
    else:
        left = leave(rules, row, "failed")
    return state._replace(tasks=put(state.tasks, task, left))


def _may_retry(rules: Rules, row: Task) -> bool:
    """Whether the store lets the task be tried again."""
    counts = {"retry_count": row.retries, "max_retries": row.max_retries}
    try:
        rules.go("task", row.state, "retrying", **counts)
    except Guarded:
        return False
    return True
