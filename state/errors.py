"""The errors people and programs meet: one root, a stable `code`, typed attributes (decisions X).

Each message says what happened, where, and what to do about it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, ClassVar


class PatchlineError(Exception):
    """Root of everything patchline raises on purpose."""

    code: ClassVar[str] = "patchline_error"


class StoreUsageError(PatchlineError, ValueError):
    """The store was asked for something it does not have: an entity type, a column, a backend."""

    code = "store_usage"


class StoreUnavailableError(PatchlineError):
    """The database cannot be opened, or is not one of ours."""

    code = "store_unavailable"


class TransactionLostError(StoreUnavailableError):
    """A transaction was dropped before it was kept: a deadlock, a restart, a cut connection.

    Nothing of it is in the database, so doing it again is safe.
    """

    code = "transaction_lost"


class HistoryDamagedError(PatchlineError):
    """The audit rows are not what they were when they were written or checkpointed."""

    code = "history_damaged"

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"{what} Find out what was changed: patchline audit verify.")


class EntityNotFoundError(PatchlineError, LookupError):
    """There is no such row."""

    code = "entity_not_found"

    def __init__(self, entity_type: str, entity_id: str | None) -> None:
        self.entity_type = entity_type
        self.entity_id = entity_id
        what = entity_type.replace("_", " ")
        super().__init__(
            f"There is no {what} {entity_id!r} in this store."
            if entity_id
            else f"There is no {what} yet."
        )


class EntityExistsError(PatchlineError):
    """A row with this key is there already."""

    code = "entity_exists"

    def __init__(self, entity_type: str, entity_id: str) -> None:
        self.entity_type = entity_type
        self.entity_id = entity_id
        super().__init__(f"There is a {entity_type.replace('_', ' ')} {entity_id!r} already.")


class InvalidTransitionError(PatchlineError, ValueError):
    """The machine has no such transition, or not with that trigger."""

    code = "invalid_transition"

    def __init__(
        self,
        entity_type: str,
        entity_id: str,
        from_state: str,
        to_state: str,
        allowed: Sequence[str],
        detail: str | None = None,
    ) -> None:
        self.entity_type = entity_type
        self.entity_id = entity_id
        self.from_state = from_state
        self.to_state = to_state
        self.allowed = tuple(allowed)
        super().__init__(detail or self._sentence())

    def _sentence(self) -> str:
        what = f"{self.entity_type.replace('_', ' ')} {self.entity_id}"
        options = ", ".join(self.allowed) or "nothing"
        return (
            f"The {what} cannot go from {self.from_state} to {self.to_state}. "
            f"From {self.from_state} it can go to: {options}."
        )


class TerminalStateViolation(InvalidTransitionError):
    """The entity has ended; ended entities are never reopened."""

    code = "terminal_state"

    def _sentence(self) -> str:
        what = f"{self.entity_type.replace('_', ' ')} {self.entity_id}"
        return (
            f"The {what} has ended as {self.from_state} and cannot become {self.to_state}. "
            "Make a new one instead (a task: with retry_of)."
        )


class GuardNotSatisfied(PatchlineError):
    """A legal transition lacks what it must be given, or a condition does not hold yet."""

    code = "guard_not_satisfied"

    def __init__(
        self,
        entity_type: str,
        entity_id: str,
        to_state: str,
        missing: Iterable[str],
        detail: str | None = None,
    ) -> None:
        self.entity_type = entity_type
        self.entity_id = entity_id
        self.to_state = to_state
        self.missing = tuple(missing)
        names = ", ".join(self.missing)
        what = f"{entity_type.replace('_', ' ')} {entity_id}"
        super().__init__(
            f"The {what} cannot become {to_state}: {detail or 'it must be given ' + names}"
            + ("" if detail is None else f" ({names})")
            + "."
        )


class TimestampOrderingViolation(PatchlineError):
    """Times of one row contradict each other: created <= started <= completed."""

    code = "timestamp_ordering"

    def __init__(
        self, entity_type: str, entity_id: str, earlier: tuple[str, str], later: tuple[str, str]
    ) -> None:
        self.entity_type = entity_type
        self.entity_id = entity_id
        self.earlier, self.later = earlier, later
        super().__init__(
            f"The {entity_type.replace('_', ' ')} {entity_id} cannot have {later[0]} {later[1]} "
            f"before {earlier[0]} {earlier[1]}. Check the time that was given."
        )


class OptimisticLockError(PatchlineError):
    """Somebody else changed the row first."""

    code = "optimistic_lock"

    def __init__(self, entity_type: str, entity_id: str, expected: int, actual: int | None) -> None:
        self.entity_type = entity_type
        self.entity_id = entity_id
        self.expected = expected
        self.actual = actual
        super().__init__(
            f"The {entity_type.replace('_', ' ')} {entity_id} is at version {actual}, not at "
            f"{expected}: it was changed in between. Read it again and decide anew."
        )


class TaskAlreadyAssignedError(PatchlineError):
    """Another worker holds the task."""

    code = "task_already_assigned"

    def __init__(self, task_id: str, worker_id: str | None) -> None:
        self.task_id = task_id
        self.worker_id = worker_id
        super().__init__(f"The task {task_id} is held by worker {worker_id}. Claim another task.")


class StaleTokenError(PatchlineError):
    """The attempt that carries this fencing token is no longer the live one (decisions T9)."""

    code = "stale_token"

    def __init__(self, entity_type: str, entity_id: str, token: str, live: str | None) -> None:
        self.entity_type = entity_type
        self.entity_id = entity_id
        self.token = token
        self.live = live
        now = f"attempt {live} is" if live else "no attempt is"
        super().__init__(
            f"Attempt {token} may no longer write to {entity_type.replace('_', ' ')} {entity_id}: "
            f"{now} live. Its late result is refused."
        )


class CircuitBreakerOpenError(PatchlineError):
    """The tool failed too often and is not called for a while."""

    code = "circuit_breaker_open"

    def __init__(self, tool_id: str, retry_after: datetime | None) -> None:
        self.tool_id = tool_id
        self.retry_after = retry_after
        until = f" until {retry_after.isoformat()}" if retry_after else ""
        super().__init__(
            f"The tool {tool_id} failed too often and is not called{until}. "
            f"Mend it, then: patchline breaker reset {tool_id} --reason ..."
        )


class CompensationFailedError(PatchlineError):
    """An action of a compensation did not succeed; the revert may have landed."""

    code = "compensation_failed"

    def __init__(self, ledger_id: str, detail: str) -> None:
        self.ledger_id = ledger_id
        super().__init__(f"Rolling back {ledger_id} failed: {detail}")


class UnauthorizedError(PatchlineError):
    """This needs a named operator, or this operator may not do it."""

    code = "unauthorized"

    def __init__(self, action: str, operator: str | None = None) -> None:
        self.action = action
        self.operator = operator
        who = f"{operator} may not" if operator else "Without an operator nobody may"
        super().__init__(f"{who} {action}.")


@dataclass(frozen=True, slots=True)
class PlanProblem:
    """One thing wrong with a plan file, with its position and how to mend it."""

    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    path: str | None = None
    hint: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Keys in the order of the contract (design section 6): file first."""
        values = asdict(self)
        return {key: values[key] for key in ("file", "line", "column", "path", "message", "hint")}

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        text = f"{where}: {self.message}" if where else self.message
        return f"{text} {self.hint}" if self.hint else text


class PlanError(PatchlineError):
    """A plan file cannot be used; carries every problem found."""

    code = "plan_error"

    def __init__(self, problems: Sequence[PlanProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(one) for one in self.problems) or "The plan has problems.")


class StaleLeaseError(PatchlineError):
    """Somebody else has taken the lease over; its former holder may move the branch no more."""

    code = "stale_lease"

    def __init__(self, branch: str, token: int | None = None) -> None:
        self.branch, self.token = branch, token
        which = "" if token is None else f" with token {token}"
        super().__init__(
            f"The lease{which} on branch {branch} is not ours any more: it had expired, and "
            "another session lands there. Nothing was moved; take the lease again."
        )


class PreflightError(PatchlineError):
    """The environment is not fit to begin; nothing was started."""

    code = "preflight"

    def __init__(self, message: str, hint: str | None = None) -> None:
        self.message = message
        self.hint = hint
        joint = " " if message.endswith(".") else "; "
        super().__init__(f"{message}{joint}{hint}" if hint else message)
