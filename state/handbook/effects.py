"""What a transition needs and writes, asked of the rules themselves (`state.facts`, `state.rules`).

The rules are run on a sample row, so that the page cannot say anything else than what they do.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from state.entities import KINDS
from state.facts import FLAGS, NEEDS, NEEDS_OPERATOR, REASON_COLUMNS
from state.machines import StateMachine, Transition
from state.rules import Change, Request, judge

_NOW = "2026-01-01T00:00:00.000000Z"
_GIVEN = "given"
_HELD = 1
"""What every number of the sample row is: both adding to it and setting it to 0 show."""
_HELD_TIMES = frozenset(
    {
        "created_at",
        "updated_at",
        "heartbeat_at",
        "unresponsive_at",
        "next_attempt_at",
        "probe_expires_at",
    }
)
"""Times that a row may have before; the others are stamps, and the sample row lacks them."""


@dataclass(frozen=True, slots=True)
class Effects:
    """Columns that a transition writes by itself, by what happens to them."""

    stamps: tuple[str, ...]
    sets: tuple[str, ...]
    clears: tuple[str, ...]
    counts: tuple[str, ...]
    resets: tuple[str, ...]


def needs_of(machine: StateMachine, step: Transition) -> list[str]:
    """Columns that must be given, or be in the row already, plus `operator` where one is needed.

    What the source state needs already is not repeated.
    """
    return [
        name
        for rules in (NEEDS, FLAGS)
        for name in rules.get(machine.name, {}).get(step.target, ())
        if name not in rules.get(machine.name, {}).get(step.source, ())
    ] + (["operator"] if (machine.name, step.source, step.target) in NEEDS_OPERATOR else [])


def effects_of(machine: StateMachine, step: Transition, trigger: str) -> Effects:
    """What the transition writes beside state, version, `updated_at` and the reason columns."""
    row = _sample_row(machine, step)
    change = _judged(machine, step, trigger, row)
    given = set(needs_of(machine, step))
    silent = {"reason", *REASON_COLUMNS.values(), *given}
    wrote = {name: value for name, value in change.columns.items() if name not in silent}
    return Effects(
        stamps=_where(wrote, lambda _, value: value == _NOW),
        sets=_where(wrote, lambda _, value: value is True),
        clears=_where(wrote, lambda name, value: value is None and row[name] is not None),
        counts=_where(wrote, lambda _, value: _is_number(value) and value > _HELD),
        resets=_where(wrote, lambda _, value: _is_number(value) and value == 0),
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _where(values: Mapping[str, Any], holds: Callable[[str, Any], bool]) -> tuple[str, ...]:
    return tuple(name for name, value in values.items() if holds(name, value))


def _judged(
    machine: StateMachine, step: Transition, trigger: str, row: Mapping[str, Any]
) -> Change:
    # With an operator the clock guards say nothing: the sample row has no real times.
    request = Request(machine, "sample", row, step.target, _NOW, trigger, None, "somebody", {})
    return judge(request, step)


def _sample_row(machine: StateMachine, step: Transition) -> dict[str, Any]:
    """A row in the source state that has all it needs, and something in every column to clear."""
    kind = KINDS[machine.name]
    row: dict[str, Any] = {name: default() for name, default in kind.defaults.items()}
    row.update({name: _sample(name, value) for name, value in row.items()})
    row.update(state=step.source, **dict.fromkeys(_flags(machine), True))
    if step.target == "FAILED":
        row["exit_code"] = _HELD  # not an expected one
    return row


def _flags(machine: StateMachine) -> Iterable[str]:
    return {name for names in FLAGS.get(machine.name, {}).values() for name in names}


def _sample(name: str, value: Any) -> Any:
    if name == "exit_code":
        return 0
    if name in _HELD_TIMES:
        return _NOW
    if name.endswith("_at"):
        return None
    if value is None:
        return _GIVEN
    return _HELD if value == 0 and _is_number(value) else value
