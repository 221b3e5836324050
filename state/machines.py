"""The eight state machines as frozen data: the only place where states and transitions are listed.

The enums, the CHECK constraints, the guards' targets and `patchline machines --json` all come from
here (design section 2). 51 states, 66 specified transitions and 9 extensions, which are legal too
unless a store is opened strictly.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

NONE_STATE = "none"
"""What `from_state` says in the audit row of a creation (decisions E1)."""

MANUAL_TRIGGER = "manual_override"
"""The trigger an operator's change may carry in place of the machine's own."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One legal change of state; `triggers` begins with the machine's own."""

    source: str
    target: str
    triggers: tuple[str, ...]
    severity: str
    extension: bool

    @property
    def trigger(self) -> str:
        """The trigger used when the caller names none."""
        return self.triggers[0]


@dataclass(frozen=True, slots=True)
class StateMachine:
    """A machine: its table, key column, states and legal transitions (source -> target)."""

    name: str
    table: str
    key: str
    initial: str
    terminal: frozenset[str]
    states: tuple[str, ...]
    transitions: Mapping[str, Mapping[str, Transition]]
    extensions: Mapping[str, Mapping[str, Transition]]

    def find(self, source: str, target: str, *, strict: bool = False) -> Transition | None:
        """The legal transition between two states, or None. Strict leaves the extensions out."""
        found = self.transitions.get(source, {}).get(target)
        if found is None and not strict:
            found = self.extensions.get(source, {}).get(target)
        return found

    def targets(self, source: str, *, strict: bool = False) -> tuple[str, ...]:
        """The states that can follow `source`."""
        extra = () if strict else tuple(self.extensions.get(source, {}))
        return (*self.transitions.get(source, {}), *extra)

    def all_transitions(self) -> Iterator[Transition]:
        """Every legal transition, the extensions last."""
        for table in (self.transitions, self.extensions):
            for targets in table.values():
                yield from targets.values()

    def spelling(self, state: str) -> str:
        """The machine's spelling of cancelled: a run says `canceled`, the rest `cancelled` (R4)."""
        if state in ("canceled", "cancelled"):
            return "canceled" if "canceled" in self.states else "cancelled"
        return state


_Table = dict[str, dict[str, str]]


def _lookup(severities: Mapping[str, str], source: str, target: str) -> str:
    return severities.get(f"{source}->{target}", severities.get(f"*->{target}", "info"))


def _build(
    table: _Table,
    severities: Mapping[str, str],
    others: Mapping[str, tuple[str, ...]],
    extension: bool,
) -> Mapping[str, Mapping[str, Transition]]:
    built: dict[str, Mapping[str, Transition]] = {}
    for source, targets in table.items():
        row: dict[str, Transition] = {}
        for target, trigger in targets.items():
            more = (*others.get(f"{source}->{target}", ()), *others.get(f"*->{target}", ()))
            severity = _lookup(severities, source, target)
            row[target] = Transition(source, target, (trigger, *more), severity, extension)
        built[source] = MappingProxyType(row)
    return MappingProxyType(built)


def _machine(
    name: str,
    table: str,
    key: str,
    terminal: tuple[str, ...],
    transitions: _Table,
    severity: Mapping[str, str],
    extensions: _Table | None = None,
    other_triggers: Mapping[str, tuple[str, ...]] | None = None,
) -> StateMachine:
    """The first source listed is the initial state."""
    states = dict.fromkeys(transitions)
    for targets in transitions.values():
        states.update(dict.fromkeys(targets))
    others = other_triggers or {}
    return StateMachine(
        name=name,
        table=table,
        key=key,
        initial=next(iter(transitions)),
        terminal=frozenset(terminal),
        states=tuple(states),
        transitions=_build(transitions, severity, others, extension=False),
        extensions=_build(extensions or {}, severity, others, extension=True),
    )


_ALL = (
    _machine(
        "run",
        table="runs",
        key="run_id",
        terminal=("succeeded", "failed", "canceled"),
        transitions={
            "pending": {"running": "orchestrator_started", "canceled": "user_cancelled"},
            "running": {
                "succeeded": "all_workstreams_completed",
                "failed": "critical_workstream_failed",
                "canceled": "user_cancelled",
            },
        },
        severity={"running->failed": "error", "*->canceled": "warning"},
    ),
    _machine(
        "workstream",
        table="workstreams",
        key="ws_id",
        terminal=("completed", "failed", "cancelled", "skipped"),
        transitions={
            "planned": {
                "ready": "tasks_created",
                "blocked": "dependency_check_failed",
                "skipped": "disabled",
                "cancelled": "user_cancelled",
            },
            "blocked": {"ready": "dependencies_met"},
            "ready": {
                "executing": "first_task_started",
                "skipped": "disabled",
                "cancelled": "user_cancelled",
            },
            "executing": {
                "validating": "all_tasks_completed",
                "failed": "critical_task_failed",
                "cancelled": "user_cancelled",
            },
            "validating": {"completed": "validation_passed", "failed": "validation_failed"},
        },
        extensions={"blocked": {"cancelled": "dependency_unreachable"}},
        # A critical workstream's failure is critical: see state.rules.severity_of.
        severity={"*->failed": "error", "*->cancelled": "warning"},
    ),
    _machine(
        "task",
        table="tasks",
        key="task_id",
        terminal=("completed", "failed", "cancelled"),
        transitions={
            "pending": {"queued": "scheduler_assigned", "blocked": "dependency_check_failed"},
            "blocked": {"pending": "dependency_satisfied"},
            "queued": {"running": "worker_started"},
            "running": {
                "validating": "execution_completed",
                "retrying": "execution_failed",
                "failed": "execution_failed",
                "cancelled": "user_cancelled",
            },
            "retrying": {"queued": "retry_delay_elapsed"},
            "validating": {"completed": "validation_passed", "failed": "validation_failed"},
        },
        extensions={
            "pending": {"cancelled": "user_cancelled"},
            "queued": {"cancelled": "user_cancelled"},
            "blocked": {"cancelled": "user_cancelled"},
            "retrying": {"cancelled": "user_cancelled"},
        },
        severity={"running->retrying": "warning", "*->failed": "error", "*->cancelled": "warning"},
        other_triggers={
            "running->failed": ("timeout_exceeded", "worker_lost"),
            "running->retrying": ("timeout_exceeded", "worker_lost"),
            "*->cancelled": ("dependency_failed", "critical_sibling_failed"),
        },
    ),
    _machine(
        "worker",
        table="workers",
        key="worker_id",
        terminal=("shutdown",),
        transitions={
            "initializing": {"idle": "registered"},
            "idle": {"busy": "task_assigned", "shutdown": "shutdown_requested"},
            "busy": {
                "idle": "task_finished",
                "unresponsive": "heartbeat_timeout",
                "shutdown": "shutdown_requested",
            },
            "unresponsive": {"idle": "heartbeat_recovered", "shutdown": "recovery_window_exceeded"},
        },
        extensions={"initializing": {"shutdown": "start_failed"}},
        severity={
            "busy->unresponsive": "warning",
            "unresponsive->idle": "warning",
            "unresponsive->shutdown": "error",
        },
        other_triggers={"idle->shutdown": ("heartbeat_lost",)},
    ),
    _machine(
        "uet_worker",
        table="uet_workers",
        key="worker_id",
        terminal=("TERMINATED",),
        transitions={
            "SPAWNING": {"IDLE": "initialized", "TERMINATED": "spawn_failed"},
            "IDLE": {"BUSY": "task_assigned", "TERMINATED": "shutdown_requested"},
            "BUSY": {
                "IDLE": "task_finished",
                "DRAINING": "shutdown_requested",
                "TERMINATED": "crashed",
            },
            "DRAINING": {"TERMINATED": "drained"},
        },
        severity={"SPAWNING->TERMINATED": "error", "BUSY->TERMINATED": "error"},
    ),
    _machine(
        "patch_ledger",
        table="patch_ledger_entries",
        key="ledger_id",
        terminal=("rolled_back", "quarantined", "dropped"),
        transitions={
            "created": {"validated": "checks_passed", "quarantined": "checks_failed"},
            "validated": {"queued": "accepted_for_merge", "quarantined": "policy_violation"},
            "queued": {"applied": "apply_succeeded", "apply_failed": "apply_failed"},
            "applied": {"verified": "gates_passed", "quarantined": "gates_failed"},
            "apply_failed": {"quarantined": "retries_exhausted", "dropped": "discarded"},
            "verified": {"committed": "commit_succeeded"},
            "committed": {"rolled_back": "rollback_requested"},
        },
        extensions={
            "quarantined": {"dropped": "discarded"},
            "apply_failed": {"queued": "reapply"},
            "verified": {"dropped": "discarded"},
        },
        severity={
            "*->quarantined": "warning",
            "queued->apply_failed": "warning",
            "committed->rolled_back": "critical",
            "*->dropped": "warning",
        },
    ),
    _machine(
        "test_gate",
        table="test_gates",
        key="gate_id",
        terminal=("PASSED", "FAILED"),
        transitions={
            "PENDING": {"RUNNING": "started", "BLOCKED": "dependency_failed"},
            "RUNNING": {"PASSED": "expected_exit_code", "FAILED": "unexpected_exit_code"},
            "BLOCKED": {"PENDING": "dependency_passed"},
        },
        severity={"RUNNING->FAILED": "error", "PENDING->BLOCKED": "warning"},
        other_triggers={"RUNNING->FAILED": ("timeout_exceeded", "user_cancelled")},
    ),
    _machine(
        "circuit_breaker",
        table="circuit_breakers",
        key="tool_id",
        terminal=(),
        transitions={
            "CLOSED": {"OPEN": "failure_threshold_exceeded"},
            "OPEN": {"HALF_OPEN": "cooldown_expired"},
            "HALF_OPEN": {"CLOSED": "probe_succeeded", "OPEN": "probe_failed"},
        },
        severity={
            "CLOSED->OPEN": "error",
            "HALF_OPEN->OPEN": "error",
            "OPEN->HALF_OPEN": "warning",
        },
    ),
)

MACHINES: Mapping[str, StateMachine] = MappingProxyType({one.name: one for one in _ALL})


def machines_document() -> dict[str, Any]:
    """What `patchline machines --json` prints (design section 6)."""
    return {
        machine.name: {
            "table": machine.table,
            "key": machine.key,
            "initial": machine.initial,
            "terminal": [state for state in machine.states if state in machine.terminal],
            "states": list(machine.states),
            "transitions": [
                {
                    "from": one.source,
                    "to": one.target,
                    "triggers": list(one.triggers),
                    "severity": one.severity,
                    "extension": one.extension,
                }
                for one in machine.all_transitions()
            ],
        }
        for machine in MACHINES.values()
    }
