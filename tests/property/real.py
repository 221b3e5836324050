"""The real rules, asked by the model: what the store lets through, and what follows from what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from state.entities import KINDS
from state.errors import GuardNotSatisfied
from state.facts import NEEDS_OPERATOR
from state.machines import MACHINES
from state.propagation import cascade, dependencies, workstreams
from state.propagation.facts import (
    Cancellation,
    LedgerFacts,
    RunFacts,
    Step,
    TaskFacts,
    WorkstreamFacts,
)
from state.rules import Request, judge, legal

if TYPE_CHECKING:
    from tests.property.model import Rules

NOW = "2030-01-01T00:00:00.000000Z"
GIVEN: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("task", "running"): {"worker_id": "w"},
    ("test_gate", "PASSED"): {"exit_code": 0},
    ("test_gate", "FAILED"): {"exit_code": 1},
}
"""What whoever asks for these gives along."""
FILLED = {
    "format_ok": True,
    "scope_ok": True,
    "constraints_ok": True,
    "tests_ok": True,
    "commit_sha": "c",
    "quarantine_reason": "q",
    "rollback_reason": "r",
}
"""What a row of the ledger says, so far as guards ask for it; the model has no place for it."""


class Stream(NamedTuple):
    """A workstream of the plan; `needs` are the numbers of those that it waits for."""

    needs: tuple[int, ...] = ()
    enabled: bool = True


class Gate(NamedTuple):
    """A gate that judges a task."""

    state: str
    blocking: bool = True


class Standing(NamedTuple):
    """What follows from how everything stands.

    `first` is the first step of the cascade; `opening` are the workstreams that may open,
    `judging` those whose work is done, `queueing` the tasks that may be queued.
    """

    first: Step | None
    opening: frozenset[int]
    judging: frozenset[int]
    queueing: frozenset[int]


def accepts(machine: str, source: str, target: str, row: Mapping[str, int]) -> bool:
    """Whether the guards of a legal transition hold that the row alone decides.

    Raises:
        InvalidTransitionError: the machine has no such transition.
    """
    columns = {name: default() for name, default in KINDS[machine].defaults.items()}
    columns |= {"created_at": NOW, "updated_at": NOW, "state": source}
    if machine == "patch_ledger":
        columns |= FILLED
    request = Request(
        machine=MACHINES[machine],
        entity_id="it",
        row={**columns, **row},
        target=target,
        now=NOW,
        trigger=None,
        reason=None,
        operator="ann" if (machine, source, target) in NEEDS_OPERATOR else None,
        columns=GIVEN.get((machine, target), {}),
    )
    try:
        judge(request, legal(request, strict=False))
    except GuardNotSatisfied:
        return False
    return True


def look_at(
    rules: Rules,
    run: str,
    streams: Sequence[str],
    tasks: Sequence[str],
    entries: Sequence[str | None],
    cancelling: bool,
) -> Standing:
    """Ask what follows from the states of a run's parts; the parts are known by their numbers."""
    facts = _facts(rules, run, streams, tasks, entries, cancelling)
    steps = cascade.cascade(facts, rules.policy)
    known = {one.ws_id: one for one in facts.workstreams}
    satisfies = rules.policy.skipped_satisfies
    opening, judging = set[int](), set[int]()
    for number, one in enumerate(facts.workstreams):
        waiting = workstreams.next_of_waiting_workstream(one, known, satisfies)
        if one.state in workstreams.WAITING and waiting and waiting.state == "ready":
            opening.add(number)
        if one.state == "executing":
            own = [task for task in facts.tasks if task.workstream_id == one.ws_id]
            derived = workstreams.derive_workstream(own, facts.ledger[one.ws_id])
            if derived and derived.state == "validating":
                judging.add(number)
    queueing = {
        number
        for number, task in enumerate(facts.tasks)
        if task.state == "retrying"
        or (
            task.state == "pending"
            and not dependencies.unmet([facts.tasks[need] for need in rules.needs[number]])
        )
    }
    first = steps[0] if steps else None
    return Standing(first, frozenset(opening), frozenset(judging), frozenset(queueing))


def _facts(
    rules: Rules,
    run: str,
    streams: Sequence[str],
    tasks: Sequence[str],
    entries: Sequence[str | None],
    cancelling: bool,
) -> RunFacts:
    ledger: dict[str, list[LedgerFacts]] = {str(number): [] for number in range(len(streams))}
    for number, state in enumerate(entries):
        if state:
            entry = LedgerFacts(str(number), state, str(number))
            ledger[str(rules.places[number])].append(entry)
    return RunFacts(
        "run",
        run,
        [
            WorkstreamFacts(
                str(number),
                state,
                enabled=one.enabled,
                depends_on=tuple(str(need) for need in one.needs),
            )
            for number, (one, state) in enumerate(zip(rules.streams, streams, strict=True))
        ],
        [
            TaskFacts(
                str(number),
                state,
                is_critical=number not in rules.noncritical,
                workstream_id=str(rules.places[number]),
                depends_on=tuple(str(need) for need in needs),
            )
            for number, (needs, state) in enumerate(zip(rules.needs, tasks, strict=True))
        ],
        ledger,
        Cancellation("enough", "ann") if cancelling else None,
    )
