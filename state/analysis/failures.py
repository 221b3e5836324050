"""Which tools, gates and reasons fail most, found in the audit rows."""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, and_, func, or_, select

from state.analysis.changes import PAGE, is_change
from state.analysis.moments import Moment, as_stored_time
from state.analysis.reasons import fold
from state.schema import state_transitions, tasks, test_gates
from state.store import StateStore

FAILURE_SEVERITIES = ("error", "critical")

FAILURE_STATES: Mapping[str, tuple[str, ...]] = {
    "run": ("failed",),
    "workstream": ("failed",),
    "task": ("failed", "retrying"),
    "worker": ("unresponsive",),
    "patch_ledger": ("apply_failed", "quarantined", "rolled_back"),
    "test_gate": ("FAILED",),
    "circuit_breaker": ("OPEN",),
}
"""Machine -> states that are entered by failing, whatever the severity of the change."""

STOPPED_TRIGGERS = ("user_cancelled",)
"""What a person stopped did not fail."""


@dataclass(frozen=True, slots=True)
class Example:
    """One of the failures of a group, with the reason as it was recorded."""

    transition_id: int
    entity_id: str
    reason: str | None
    at: str


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failures that belong together; `examples` are the latest of them, the newest first."""

    entity_type: str
    name: str
    count: int
    first_at: str
    last_at: str
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class FailurePatterns:
    """What fails most, each list with the most frequent first.

    Attributes:
        total: all failures.
        tools: failed attempts of tasks, by the tool that ran them.
        gates: failed gates, by their name, or their type when they have none.
        reasons: all failures, by type of entity and folded reason; by trigger when none was given.
    """

    total: int
    tools: tuple[FailureGroup, ...]
    gates: tuple[FailureGroup, ...]
    reasons: tuple[FailureGroup, ...]


def failure_patterns(
    store: StateStore,
    since: Moment | None = None,
    run_id: str | None = None,
    *,
    limit: int = 20,
    examples: int = 3,
) -> FailurePatterns:
    """Count failures by tool, gate and reason.

    A failure is a change of state of severity error or critical, or into one of `FAILURE_STATES`;
    not what a person stopped. Rows are streamed; what is kept grows with the number of groups.

    Args:
        store: to read.
        since: only failures then or later.
        run_id: only failures in this run.
        limit: how many groups each list has at most.
        examples: how many examples each group has at most.

    Raises:
        StoreUsageError: `since` is no time.
    """
    tools, gates, reasons = _Groups(examples), _Groups(examples), _Groups(examples)
    total = 0
    with store.reading() as connection:
        query = _failures(since, run_id)
        for row in connection.execute(query, execution_options={"yield_per": PAGE}):
            if row.metadata.get("interrupted"):
                continue
            total += 1
            example = Example(row.transition_id, row.entity_id, row.reason, row.transitioned_at)
            if row.tool_id is not None:
                tools.add(row.entity_type, row.tool_id, example)
            if row.gate is not None:
                gates.add(row.entity_type, row.gate, example)
            name = fold(row.reason or "") or row.trigger
            reasons.add(row.entity_type, name, example)
    return FailurePatterns(total, tools.most(limit), gates.most(limit), reasons.most(limit))


def _failures(since: Moment | None, run_id: str | None) -> Select[Any]:
    """Failing rows in the order of time, with the tool of a task and the name of a gate.

    Found through an index on (transitioned_at) or (run_id) when those are given, else by reading
    the whole audit once; tool and gate by primary key.
    """
    audit = state_transitions.c
    named = func.coalesce(test_gates.c.name, test_gates.c.gate_type)
    query = (
        select(state_transitions, tasks.c.tool_id, named.label("gate"))
        .outerjoin(tasks, _is(tasks, "task", "task_id"))
        .outerjoin(test_gates, _is(test_gates, "test_gate", "gate_id"))
        .where(is_change(), _failing(), audit.trigger.not_in(STOPPED_TRIGGERS))
        .order_by(audit.transitioned_at, audit.transition_id)
    )
    if since is not None:
        query = query.where(audit.transitioned_at >= as_stored_time(since))
    return query if run_id is None else query.where(audit.run_id == run_id)


def _is(table: Table, entity_type: str, key: str) -> ColumnElement[bool]:
    audit = state_transitions.c
    return and_(audit.entity_type == entity_type, table.c[key] == audit.entity_id)


def _failing() -> ColumnElement[bool]:
    audit = state_transitions.c
    entered = (
        and_(audit.entity_type == name, audit.to_state.in_(states))
        for name, states in FAILURE_STATES.items()
    )
    return or_(audit.severity.in_(FAILURE_SEVERITIES), *entered)


class _Groups:
    """Groups in the making: by type of entity and name."""

    def __init__(self, examples: int) -> None:
        self._examples = examples
        self._counts: Counter[tuple[str, str]] = Counter()
        self._first: dict[tuple[str, str], str] = {}
        self._last: dict[tuple[str, str], str] = {}
        self._latest: dict[tuple[str, str], deque[Example]] = {}

    def add(self, entity_type: str, name: str, example: Example) -> None:
        """One more failure."""
        key = (entity_type, name)
        self._counts[key] += 1
        # Rows come in the order of time.
        self._first.setdefault(key, example.at)
        self._last[key] = example.at
        self._latest.setdefault(key, deque(maxlen=self._examples)).append(example)

    def most(self, limit: int) -> tuple[FailureGroup, ...]:
        """The biggest groups; of two alike the one whose name comes first."""
        ranked = sorted(self._counts.items(), key=lambda one: (-one[1], one[0]))
        return tuple(
            FailureGroup(
                *key,
                count=count,
                first_at=self._first[key],
                last_at=self._last[key],
                examples=tuple(reversed(self._latest[key])),
            )
            for key, count in ranked[:limit]
        )
