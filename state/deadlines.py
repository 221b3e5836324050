"""How long an entity may be in each state before it counts as stuck (decisions E5 and K1).

Every state that is not terminal has a line. The figures are seconds in the state; a task or a gate
with a timeout of its own has that instead (see `state.analysis.stuck`).
"""

from collections.abc import Mapping
from math import inf, isnan

from state.entities import kind_of
from state.errors import StoreUsageError

Limits = Mapping[str, Mapping[str, float]]

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0

DEADLINES: Limits = {
    "run": {"pending": _HOUR, "running": _DAY},
    "workstream": {
        "planned": _DAY,
        "blocked": _DAY,
        "ready": _DAY,
        "executing": _HOUR,
        "validating": _HOUR,
    },
    "task": {
        "pending": _DAY,
        "blocked": _DAY,
        "queued": _HOUR,
        "running": 30 * _MINUTE,
        "retrying": 10 * _MINUTE,
        "validating": 30 * _MINUTE,
    },
    "worker": {
        "initializing": 2 * _MINUTE,
        "idle": inf,
        "busy": 2 * _HOUR,
        "unresponsive": 5 * _MINUTE,
    },
    "uet_worker": {
        "SPAWNING": 10 * _MINUTE,
        "IDLE": inf,
        "BUSY": 2 * _HOUR,
        "DRAINING": 10 * _MINUTE,
    },
    "patch_ledger": {
        "created": 10 * _MINUTE,
        "validated": 10 * _MINUTE,
        "queued": _HOUR,
        "applied": _HOUR,
        "apply_failed": 30 * _MINUTE,
        "verified": _HOUR,
        "committed": inf,
    },
    "test_gate": {"PENDING": _HOUR, "RUNNING": 30 * _MINUTE, "BLOCKED": _DAY},
    "circuit_breaker": {"CLOSED": inf, "OPEN": _HOUR, "HALF_OPEN": 10 * _MINUTE},
}
"""Machine -> state -> seconds. Infinite where an entity rightly rests: a landed patch, a closed
breaker, a worker or sandbox in the pool (an idle worker that is dead shows by its silence)."""

WORKER_SILENT_SEC = 2 * _MINUTE
"""Without a heartbeat for longer, an idle or busy worker is silent (decisions K1 and E5)."""

RESTS_WHEN_HELD: Mapping[str, frozenset[str]] = {
    "run": frozenset({"pending", "running"}),
    "workstream": frozenset({"planned", "blocked", "ready", "executing"}),
    "task": frozenset({"pending", "blocked", "queued", "retrying"}),
}
"""States that only dispatch moves on: in a held run nothing is late there (decisions R5)."""


def deadlines(changes: Limits) -> Limits:
    """The table with some limits changed; infinite means no limit.

    Args:
        changes: machine -> state -> seconds.

    Raises:
        StoreUsageError: no such machine, a state that has no deadline, or a limit that is not
            above zero.
    """
    table = {name: dict(states) for name, states in DEADLINES.items()}
    for name, states in changes.items():
        machine = kind_of(name).machine_of().name
        for state, seconds in states.items():
            if state not in table[machine]:
                known = ", ".join(table[machine])
                raise StoreUsageError(
                    f"A {name} has no deadline in the state {state!r}. It has one in: {known}."
                )
            if isnan(seconds) or seconds <= 0:
                raise StoreUsageError(
                    f"The deadline {seconds:g} of a {name} in {state} is not above zero seconds."
                )
            table[machine][state] = float(seconds)
    return table
