"""The model's landing: apply, gates, git's compare-and-swap, commit (design section 4, 6 to 8)."""

from functools import partial

from tests.property.model import Branch, Entry, Rules, State, Thread, candidate, put, tip
from tests.property.parts import Steps, accepted, commit_patch, live, to, with_entry, write

_IN_TURN = frozenset(
    {"applied", "gating", "gated", "ungated", "ungated_stop", "verified", "lost", "again"}
    | {"put_back", "requeue", "landed"}
)
ACTS_OF_GIT = frozenset({"verified", "again", "put_back"})
"""Lines that write nothing to the store: they run while a transaction is under way."""


def _landing(rules: Rules, state: State, slot: int, thread: Thread) -> Steps:
    if rules.landing_lease:
        if _somebodys_turn(rules, state):
            return
        state = _take_turn(rules, state, thread)
        if thread.apply == 1:
            thread = thread._replace(base=tip(state, state.tasks[thread.task].stream))
    own = state.entries[thread.task]
    assert own is not None

    def conflict() -> State:
        end = rules.go("patch_ledger", own.state, "apply_failed", "quarantined")
        after = with_entry(state, thread.task, own._replace(state=end))
        return to(after, slot, thread, "failing")

    def applied() -> State:
        end = rules.go("patch_ledger", own.state, "applied", apply_attempts=thread.apply - 1)
        changed = own._replace(state=end, base=thread.base, apply=thread.apply)
        return to(with_entry(state, thread.task, changed), slot, thread, "applied")

    yield "conflict", write(rules, state, slot, thread, conflict)
    yield "apply", write(rules, state, slot, thread, applied)


def _somebodys_turn(rules: Rules, state: State) -> bool:
    """From its apply to its commit; the lease of one that sleeps or was fenced is over."""
    return any(
        other is not None
        and other.at in _IN_TURN
        and not other.paused
        and live(rules, state, other)
        for other in state.threads
    )


def _take_turn(rules: Rules, state: State, thread: Thread) -> State:
    """Put the fence up, and write down what others have landed who did not come to say so."""
    stream = state.tasks[thread.task].stream
    fences = put(state.fences, stream, (thread.task, thread.token))
    return _settled(rules, state._replace(fences=fences), stream)


def _settled(rules: Rules, state: State, stream: int) -> State:
    if "settle" in rules.left_out:
        return state
    right = tip(state, stream)
    for task, entry in enumerate(state.entries):
        if entry is None or entry.state != "verified" or entry.base != right:
            continue
        if state.tasks[task].stream == stream and candidate(task, entry) in state.branches[stream]:
            return _settled(rules, commit_patch(rules, state, task, entry), stream)
    return state


def _let_by(rules: Rules, state: State, thread: Thread) -> bool:
    """Whether git lets the thread move its branch: nobody has put another fence up since."""
    if not rules.landing_lease or "git fence" in rules.left_out:
        return True
    own = state.fences[state.tasks[thread.task].stream]
    return own == (thread.task, thread.token)


def _overtaken(rules: Rules, state: State, slot: int, thread: Thread) -> Steps:
    """Somebody had the turn meanwhile: take it again, unless they have ended the entry."""
    if _somebodys_turn(rules, state):
        return

    def again() -> State:
        after = _take_turn(rules, state, thread)
        own = after.entries[thread.task]
        verified = own is not None and (own.state, own.token) == ("verified", thread.token)
        return to(after, slot, thread, "verified" if verified else "hand_back")

    yield "take the turn again", write(rules, state, slot, thread, again)


def _applied(rules: Rules, state: State, slot: int, thread: Thread) -> Steps:
    def begin() -> State:
        running = rules.go("test_gate", "PENDING", "RUNNING")
        return to(state._replace(gates=put(state.gates, slot, running)), slot, thread, "gating")

    yield "begin gate", begin  # the rows of gates take no token


def _gating(rules: Rules, state: State, slot: int, thread: Thread) -> Steps:
    ends = {"PASSED": "gated", "FAILED": "ungated"}
    for verdict, line in ends.items():
        make = partial(gate_ends, rules, state, slot, thread, verdict, line)
        yield f"gate: {verdict}", make


def gate_ends(
    rules: Rules, state: State, slot: int, thread: Thread, verdict: str, line: str
) -> State:
    """The gate has its verdict; one that depends on a failed gate is blocked."""
    gate = rules.go("test_gate", "RUNNING", verdict)
    if line == "ungated":  # a second gate depends on this one
        rules.go("test_gate", "PENDING", "BLOCKED")
        state = state._replace(hindered=state.hindered | {thread.task})
    own = state.entries[thread.task]
    if own is not None and own.token == thread.token:
        state = with_entry(state, thread.task, own._replace(judged=verdict))
    return to(state._replace(gates=put(state.gates, slot, gate)), slot, thread, line)


def _gated(rules: Rules, state: State, slot: int, thread: Thread) -> Steps:
    own = state.entries[thread.task]
    assert own is not None

    def verify() -> State:
        end = rules.go("patch_ledger", own.state, "verified")
        return to(with_entry(state, thread.task, own._replace(state=end)), slot, thread, "verified")

    yield "verify", write(rules, state, slot, thread, verify)


def _ungated(line: str, rules: Rules, state: State, slot: int, thread: Thread) -> Steps:
    own = state.entries[thread.task]
    assert own is not None

    def quarantine() -> State:
        end = rules.go("patch_ledger", own.state, "quarantined")
        return to(with_entry(state, thread.task, own._replace(state=end)), slot, thread, line)

    if "gates decide" in rules.left_out and live(rules, state, thread):
        yield from _gated(rules, state, slot, thread)
        return
    yield "quarantine", write(rules, state, slot, thread, quarantine)


def _land(otherwise: str, rules: Rules, state: State, slot: int, thread: Thread) -> Steps:
    """git's compare-and-swap; of tokens it knows what the fence says."""
    if not _let_by(rules, state, thread):
        yield "fence refuses", partial(to, state, slot, thread, "overtaken")
        return
    stream = state.tasks[thread.task].stream
    if state.branches[stream] != thread.base:
        yield "branch has moved", partial(to, state, slot, thread, otherwise)
        return
    branch: Branch = (*thread.base, (thread.task, thread.token, thread.apply))
    after = state._replace(branches=put(state.branches, stream, branch))
    yield "land", partial(to, after, slot, thread, "landed")


def _lost(rules: Rules, state: State, slot: int, thread: Thread) -> Steps:
    """Look where the branch is and where it belongs; one that somebody moved is put back."""
    stream = state.tasks[thread.task].stream

    def look() -> State:
        after = _settled(rules, state, stream) if rules.landing_lease else state
        right, found = tip(after, stream), after.branches[stream]
        if found != right and found not in _unwritten(after, stream, right):
            return to(after, slot, thread._replace(seen=found, right=right), "put_back")
        line = "again" if found == thread.base else "requeue"
        return to(after, slot, thread._replace(base=found), line)

    yield "look at branch", write(rules, state, slot, thread, look)


def _put_back(rules: Rules, state: State, slot: int, thread: Thread) -> Steps:
    if not _let_by(rules, state, thread):
        yield "fence refuses", partial(to, state, slot, thread, "overtaken")
        return
    stream = state.tasks[thread.task].stream
    after = state
    if state.branches[stream] == thread.seen:
        after = state._replace(branches=put(state.branches, stream, thread.right))
    yield "put branch back", partial(to, after, slot, thread._replace(seen=(), right=()), "lost")


def _unwritten(state: State, stream: int, right: Branch) -> set[Branch]:
    """Where a branch may be besides its tip: a commit just landed and not yet written down."""
    return {
        (*right, candidate(task, entry))
        for task, entry in enumerate(state.entries)
        if entry and entry.state == "verified" and entry.base == right
        if state.tasks[task].stream == stream
    }


def _requeue(rules: Rules, state: State, slot: int, thread: Thread) -> Steps:
    own = state.entries[thread.task]
    assert own is not None

    def renew() -> State:
        rules.go("patch_ledger", own.state, "dropped")
        last = thread.apply >= rules.max_applies
        after = with_entry(state, thread.task, Entry(accepted(rules), thread.token))
        following = thread if last else thread._replace(apply=thread.apply + 1)
        return to(after, slot, following, "failing" if last else "landing")

    yield "apply again", write(rules, state, slot, thread, renew)


def _landed(rules: Rules, state: State, slot: int, thread: Thread) -> Steps:
    own = state.entries[thread.task]
    assert own is not None

    def commit() -> State:
        return to(commit_patch(rules, state, thread.task, own), slot, thread, "hand_back")

    yield "commit", write(rules, state, slot, thread, commit)


LANDING = {
    "landing": _landing,
    "applied": _applied,
    "gating": _gating,
    "gated": _gated,
    "ungated": partial(_ungated, "failing"),
    "ungated_stop": partial(_ungated, "stopping"),
    "verified": partial(_land, "lost"),
    "lost": _lost,
    "put_back": _put_back,
    "overtaken": _overtaken,
    "again": partial(_land, "requeue"),
    "requeue": _requeue,
    "landed": _landed,
}
"""The lines of landing by name."""
