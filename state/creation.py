"""Completing a new row: its key, its times, its initial state and where it belongs."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import bindparam, select

from state.clock_and_ids import IdSource
from state.connection import Connection
from state.entities import Kind
from state.errors import (
    GuardNotSatisfied,
    InvalidTransitionError,
    StaleTokenError,
    StoreUsageError,
)
from state.facts import MANAGED
from state.machines import NONE_STATE
from state.schema import task_attempts
from state.settings import Settings
from state.statements import KEY

_STORE_WRITTEN = frozenset({"version", "updated_at", "audit_head"})
_WITH_CONTEXT = frozenset({"patch_ledger", "test_gate"})
_NEWEST_ATTEMPT = (
    select(task_attempts.c.attempt_id)
    .where(task_attempts.c.task_id == bindparam(KEY))
    .order_by(task_attempts.c.number.desc())
    .limit(1)
)


def complete(
    connection: Connection, settings: Settings, kind: Kind, given: Mapping[str, Any], now: str
) -> dict[str, Any]:
    """The values of a new row; ledger entries and gates get the run and workstream of their task.

    Raises:
        StoreUsageError: a column was given that the store itself writes.
        GuardNotSatisfied: the key cannot be made up and is missing.
        InvalidTransitionError: a state was given that is not the initial one.
        StaleTokenError: the row would belong to an attempt that is not the newest of its task.
    """
    values = dict(given)
    taken = (MANAGED.get(kind.name, frozenset[str]()) | _STORE_WRITTEN) & values.keys()
    if taken:
        raise StoreUsageError(
            f"The store itself writes {', '.join(sorted(taken))} of a {kind.name}. Leave it out."
        )
    if kind.name == "task_attempt":
        raise StoreUsageError("An attempt begins when its task does: claim the task.")
    if values.get(kind.key) is None:
        values[kind.key] = _new_key(settings.ids, kind, values)
    if values.get("created_at") is None:
        values["created_at"] = now
    if kind.machine is not None:
        initial = kind.machine.initial
        if values.setdefault("state", initial) != initial:
            raise InvalidTransitionError(
                kind.name, values[kind.key], NONE_STATE, values["state"], (initial,)
            )
        values.update(version=1, updated_at=max(values["created_at"], now))
    if "heartbeat_at" in kind.columns:
        values.setdefault("heartbeat_at", values["created_at"])
    if kind.name in _WITH_CONTEXT:
        context = settings.contexts.find(connection, kind.name, values)
        values.update(workstream_id=context.workstream_id, run_id=context.run_id)
        _check_attempt(connection, kind, values)
    return {
        name: values[name] if name in values else default()
        for name, default in kind.defaults.items()
    }


def _check_attempt(connection: Connection, kind: Kind, values: Mapping[str, Any]) -> None:
    """An attempt that another has followed brings no rows any more (decisions T9)."""
    attempt, task = values.get("attempt_id"), values.get("task_id")
    if attempt is not None and task is not None:
        newest = connection.scalar(_NEWEST_ATTEMPT, {KEY: task})
        if newest != attempt:
            raise StaleTokenError(kind.name, values[kind.key], attempt, newest)


def _new_key(ids: IdSource, kind: Kind, values: Mapping[str, Any]) -> str:
    if kind.prefix:
        return ids.new(kind.prefix)
    if kind.name == "phase" and values.get("plan") and values.get("sha256"):
        return f"{values['plan']}@{values['sha256'][:12]}"
    raise GuardNotSatisfied(kind.name, "(new)", "created", (kind.key,))
