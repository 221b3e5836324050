"""Writes that change no state: of columns, and of the audit history alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from state import audit, guards, statements
from state.audit import Entry, TransitionRecord
from state.connection import Row
from state.entities import Kind, clean, refuse_fixed
from state.errors import TerminalStateViolation
from state.facts import STAMPS
from state.rules import at_least_warning, check_order

if TYPE_CHECKING:
    from state.transaction import Transaction


class Act(NamedTuple):
    """What an audit row tells of that is no change of state."""

    trigger: str
    reason: str | None = None
    operator: str | None = None
    metadata: Mapping[str, Any] | None = None


_METADATA_CHANGED = "metadata_changed"
_COLUMNS_CHANGED = "columns_changed"


def update(
    tx: Transaction,
    kind: Kind,
    entity_id: str,
    token: str | None,
    columns: Mapping[str, Any],
) -> Row:
    """See `Transaction.update`."""
    values = clean(kind, columns)
    refuse_fixed(kind, values, also=frozenset(STAMPS.get(kind.name, {}).values()))
    row = tx.locked(kind, entity_id)
    ended = kind.machine is not None and row["state"] in kind.machine.terminal
    if ended and values.keys() - {"metadata"}:
        state = row["state"]
        raise TerminalStateViolation(kind.name, entity_id, state, state, ())
    if token is not None:
        guards.check_token(tx.connection, kind, entity_id, row, token)
    if kind.machine:
        values["updated_at"] = max(tx.now(), row["updated_at"])
    check_order(kind.name, entity_id, {**row, **values}, values.keys())
    told = audit.told(kind.name, values)
    try:
        if ended or told:
            trigger = _METADATA_CHANGED if ended else _COLUMNS_CHANGED
            entry = _no_change(kind, row, values["updated_at"], Act(trigger, metadata=told))
            values["audit_head"] = tx.audited(kind, row, entry).hash
        return _change(tx, kind, entity_id, values)
    except tx.connection.broken_rule as error:
        raise tx.explained(kind, {**row, **values}, "updated", error) from error


def record(
    tx: Transaction, kind: Kind, entity_id: str, act: Act, columns: Mapping[str, Any]
) -> TransitionRecord:
    """See `Transaction.record`."""
    kind.machine_of()
    if columns:
        update(tx, kind, entity_id, None, columns)
    row = tx.locked(kind, entity_id)
    at = max(tx.now(), row["updated_at"])
    try:
        written = tx.audited(kind, row, _no_change(kind, row, at, act))
        _change(tx, kind, entity_id, {"updated_at": at, "audit_head": written.hash})
    except tx.connection.broken_rule as error:
        raise tx.explained(kind, row, act.trigger, error) from error
    return written


def _change(tx: Transaction, kind: Kind, entity_id: str, values: Mapping[str, Any]) -> Row:
    given = {**values, statements.KEY: entity_id}
    row = tx.connection.rows(statements.change(kind.name), given)[0]
    tx.hold(kind, row)
    return row


def _no_change(kind: Kind, row: Mapping[str, Any], at: str, act: Act) -> Entry:
    """The audit entry of an act that leaves the state as it is."""
    state = row["state"]
    severity = at_least_warning("info") if act.operator else "info"
    return Entry(
        kind.name,
        row[kind.key],
        row["version"],
        state,
        state,
        act.trigger,
        severity,
        at,
        act.reason,
        act.operator,
        act.metadata,
    )
