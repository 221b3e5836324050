"""The rules of a single transition as pure functions over data (design section 4, decisions C).

The store reads a row, asks here what the change amounts to, and writes it. Rules that need other
rows (dependencies, entry gates, tokens) get what they need from the store.
"""

from collections.abc import Callable, Mapping, Set
from datetime import timedelta
from typing import Any, NamedTuple

from state.clock_and_ids import parse_timestamp, timestamp
from state.errors import (
    GuardNotSatisfied,
    InvalidTransitionError,
    TerminalStateViolation,
    TimestampOrderingViolation,
)
from state.facts import (
    FIRST_ONLY,
    FLAGS,
    MAX_APPLIES,
    NEEDS,
    NEEDS_OPERATOR,
    REASON_COLUMNS,
    STAMPS,
)
from state.machines import MANUAL_TRIGGER, StateMachine, Transition

Values = Mapping[str, Any]
_LATER_THAN = {
    "started_at": ("created_at",),
    "completed_at": ("created_at", "started_at"),
    "shutdown_at": ("created_at",),
    "terminated_at": ("created_at",),
    "committed_at": ("created_at",),
    "quarantined_at": ("created_at",),
    "rolled_back_at": ("created_at", "committed_at"),
    "dropped_at": ("created_at", "quarantined_at"),
}


class Request(NamedTuple):
    """What a caller wants of one entity.

    `now` is the injected clock's time as text; clock guards compare with it.
    """

    machine: StateMachine
    entity_id: str
    row: Values
    target: str
    now: str
    trigger: str | None
    reason: str | None
    operator: str | None
    columns: Values

    @property
    def source(self) -> str:
        """The state it is in."""
        return self.row["state"]

    def refuse(self, missing: str, detail: str | None = None) -> GuardNotSatisfied:
        """The error for a guard that does not hold."""
        return GuardNotSatisfied(self.machine.name, self.entity_id, self.target, (missing,), detail)


class Change(NamedTuple):
    """What a request amounts to: the columns to write beside the state, and the audit's part."""

    columns: dict[str, Any]
    at: str
    trigger: str
    severity: str
    reason: str | None
    extension: bool


def legal(request: Request, *, strict: bool) -> Transition:
    """The transition the machine has for this request.

    Raises:
        TerminalStateViolation: the entity has ended; checked first.
        InvalidTransitionError: no such transition, or it never has that trigger.
    """
    machine, source, target = request.machine, request.source, request.target
    found = machine.find(source, target, strict=strict)
    if found is None:
        error = TerminalStateViolation if source in machine.terminal else InvalidTransitionError
        allowed = machine.targets(source, strict=strict)
        raise error(machine.name, request.entity_id, source, target, allowed)
    manual = request.operator is not None and request.trigger == MANUAL_TRIGGER
    if request.trigger is not None and request.trigger not in found.triggers and not manual:
        raise InvalidTransitionError(
            machine.name,
            request.entity_id,
            source,
            target,
            machine.targets(source, strict=strict),
            f"A {machine.name.replace('_', ' ')} does not go from {source} to {target} by "
            f"{request.trigger!r}. Triggers: {', '.join(found.triggers)}"
            f" (with an operator also {MANUAL_TRIGGER}).",
        )
    return found


def judge(request: Request, transition: Transition) -> Change:
    """Check the guards that the row alone decides, and say what to write.

    Raises:
        GuardNotSatisfied: something needed is missing, or it is too early.
        TimestampOrderingViolation: a time was given that contradicts the others.
    """
    automatic = _AUTOMATIC.get(request.machine.name)
    columns = {**request.columns, **(automatic(request) if automatic else {})}
    at = _never_back(request)
    for name, value in _stamps(request, at).items():
        columns.setdefault(name, value)
    reason = _reason(request, columns)
    merged = {**request.row, **columns}
    _check_needs(request, merged)
    _check_clock(request)
    check_order(request.machine.name, request.entity_id, merged, columns.keys())
    return Change(
        columns=columns,
        at=at,
        trigger=request.trigger or transition.trigger,
        severity=severity_of(request.machine, transition, request.row, request.operator),
        reason=reason,
        extension=transition.extension,
    )


def severity_of(
    machine: StateMachine, transition: Transition, row: Values, operator: str | None
) -> str:
    """The severity of a change (decisions E3)."""
    if machine.name == "workstream" and transition.target == "failed" and row["is_critical"]:
        return "critical"
    return at_least_warning(transition.severity) if operator else transition.severity


def at_least_warning(severity: str) -> str:
    """An operator's change is never mere information."""
    return "warning" if severity == "info" else severity


def _never_back(request: Request) -> str:
    """Now, or the latest time the row knows when the clock stepped back."""
    row = request.row
    at = max(request.now, row["created_at"], row["updated_at"])
    started = row.get("started_at")
    return started if started and started > at else at


def _stamps(request: Request, at: str) -> dict[str, str]:
    name = STAMPS.get(request.machine.name, {}).get(request.target)
    if name is None or (name in FIRST_ONLY and request.row.get(name)):
        return {}
    return {name: at}


def _reason(request: Request, columns: dict[str, Any]) -> str | None:
    """The audit's reason; also put where the row keeps the reason of its latest change."""
    own = REASON_COLUMNS.get((request.machine.name, request.target))
    reason = request.reason
    if own is not None:
        reason = reason or columns.get(own)
        if own == "drop_reason":
            columns.setdefault(own, reason)
    if "reason" in request.row:
        columns["reason"] = reason
    return reason


def _blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _check_needs(request: Request, merged: Values) -> None:
    machine, target = request.machine.name, request.target
    missing = [name for name in NEEDS.get(machine, {}).get(target, ()) if _blank(merged[name])]
    missing += [name for name in FLAGS.get(machine, {}).get(target, ()) if not merged[name]]
    if (machine, request.source, target) in NEEDS_OPERATOR and _blank(request.operator):
        missing.append("operator")
    if missing:
        raise GuardNotSatisfied(machine, request.entity_id, target, missing)
    if machine == "test_gate" and target in ("PASSED", "FAILED"):
        _check_verdict(request, merged)


def _check_verdict(request: Request, merged: Values) -> None:
    """A gate's verdict is what its exit code says, unless it was stopped before it could end."""
    code, expected = merged["exit_code"], merged["expected_exit_codes"]
    listed = ", ".join(str(one) for one in expected)
    if request.target == "PASSED" and code not in expected:
        raise request.refuse("exit_code", f"{code} is not an expected one: {listed}")
    stopped = request.trigger in ("user_cancelled", "timeout_exceeded")
    if request.target == "FAILED" and code in expected and not stopped:
        raise request.refuse("exit_code", f"{code} is an expected one: {listed}")


def _check_clock(request: Request) -> None:
    """Cooldown of a breaker and delay of a retry; an operator need not wait for either."""
    if request.operator is not None:
        return
    step = (request.machine.name, request.source, request.target)
    if step == ("circuit_breaker", "OPEN", "HALF_OPEN") and request.row["opened_at"]:
        opened = parse_timestamp(request.row["opened_at"])
        ready = timestamp(opened + timedelta(seconds=request.row["cooldown_sec"]))
        if request.now < ready:
            raise request.refuse("cooldown_sec", f"its cooldown lasts until {ready}")
    if step == ("task", "retrying", "queued"):
        due = request.row["next_attempt_at"]
        if due and request.now < due:
            raise request.refuse("next_attempt_at", f"its retry is due at {due}")


def check_order(machine: str, entity_id: str, merged: Values, changed: Set[str]) -> None:
    """created <= started <= completed, for the times that are being written.

    Raises:
        TimestampOrderingViolation: they contradict each other.
    """
    if _LATER_THAN.keys().isdisjoint(changed):
        return
    for name in changed & _LATER_THAN.keys():
        for before in _LATER_THAN[name]:
            early, late = merged.get(before), merged.get(name)
            if early and late and late < early:
                raise TimestampOrderingViolation(machine, entity_id, (before, early), (name, late))


def _task(request: Request) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    if request.source == "running":
        columns.update(worker_id=None, token=None)
    if request.source == "blocked":
        columns["blocked_by"] = None
    if request.trigger == "timeout_exceeded":
        columns["timeout_occurred"] = True
    if request.source == "retrying":
        columns["next_attempt_at"] = None
    if request.target == "retrying":
        # An interruption by a person passes the old count: it uses no attempt up.
        count = request.columns.get("retry_count", request.row["retry_count"] + 1)
        limit = request.columns.get("max_retries", request.row["max_retries"])
        if count > limit:
            raise request.refuse("retry_count", f"all {limit} retries are used up")
        columns["retry_count"] = count
    return columns


def _workstream(request: Request) -> dict[str, Any]:
    return {"blocked_by": None} if request.source == "blocked" else {}


def _worker(request: Request) -> dict[str, Any]:
    if request.target != "idle":
        return {}
    columns: dict[str, Any] = {"task_id": None, "unresponsive_at": None}
    if request.source == "unresponsive" or not request.row["heartbeat_at"]:
        columns["heartbeat_at"] = request.now
    return columns


def _uet_worker(request: Request) -> dict[str, Any]:
    return {"task_id": None} if request.target in ("IDLE", "TERMINATED") else {}


def _patch_ledger(request: Request) -> dict[str, Any]:
    attempts = request.row["apply_attempts"]
    if (request.source, request.target) == ("apply_failed", "queued") and attempts >= MAX_APPLIES:
        raise request.refuse("apply_attempts", f"it was applied {attempts} times already")
    if request.source == "queued" and "apply_attempts" not in request.columns:
        return {"apply_attempts": attempts + 1}
    return {}


def _test_gate(request: Request) -> dict[str, Any]:
    return {"timed_out": True} if request.trigger == "timeout_exceeded" else {}


def _circuit_breaker(request: Request) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    if request.target == "CLOSED":
        columns.update(failure_count=0, success_count=0, probe_token=None, probe_expires_at=None)
    if request.target == "HALF_OPEN":
        columns["success_count"] = 0
    if request.target == "OPEN":
        columns.update(probe_token=None, probe_expires_at=None)
    return {name: value for name, value in columns.items() if name not in request.columns}


_AUTOMATIC: Mapping[str, Callable[[Request], dict[str, Any]]] = {
    "task": _task,
    "workstream": _workstream,
    "worker": _worker,
    "uet_worker": _uet_worker,
    "patch_ledger": _patch_ledger,
    "test_gate": _test_gate,
    "circuit_breaker": _circuit_breaker,
}
