"""Audit rows: what is written for every change, in the transaction of the change itself."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from state import statements
from state.canonical import JsonText, canonical_json
from state.chain import row_hash
from state.clock_and_ids import IdSource
from state.connection import Connection
from state.entities import storable
from state.schema import state_transitions

EVENT_PREFIX = "evt_"
_EVENT_NAMES = {"patch_ledger": "patch", "test_gate": "gate"}


@dataclass(frozen=True, slots=True)
class TransitionRecord:
    """An audit row: the columns of `state_transitions`."""

    transition_id: int
    event_id: str
    entity_type: str
    entity_id: str
    entity_version: int
    from_state: str
    to_state: str
    trigger: str
    reason: str | None
    severity: str
    operator: str | None
    metadata: dict[str, Any]
    run_id: str | None
    workstream_id: str | None
    phase_id: str | None
    transitioned_at: str
    prev_hash: str | None
    hash: str

    def as_event(self) -> dict[str, Any]:
        """The canonical event (decisions E2)."""
        name = _EVENT_NAMES.get(self.entity_type, self.entity_type)
        manual = self.operator is not None
        return {
            "event_id": self.event_id,
            "timestamp": self.transitioned_at,
            "event_type": "manual_override" if manual else f"{name}_state_transition",
            "severity": self.severity,
            "entity_type": self.entity_type,
            "entity_id": self.entity_id,
            "from_state": self.from_state,
            "to_state": self.to_state,
            "trigger": self.trigger,
            "reason": self.reason,
            "metadata": self.metadata,
            "operator": self.operator,
            "context": {
                "run_id": self.run_id,
                "workstream_id": self.workstream_id,
                "phase_id": self.phase_id,
            },
        }


@dataclass(frozen=True, slots=True)
class Context:
    """Where a change belongs: its run, workstream and plan revision, as far as there are any."""

    run_id: str | None = None
    workstream_id: str | None = None
    phase_id: str | None = None


class Contexts:
    """Finds the context of an entity; remembers it, since rows never change their parents."""

    def __init__(self) -> None:
        self._runs: dict[str, str | None] = {}
        self._workstreams: dict[str, str] = {}
        self._tasks: dict[str, str] = {}

    def forget(self) -> None:
        """After a rollback: what was remembered may never have come to be."""
        self._runs.clear()
        self._workstreams.clear()
        self._tasks.clear()

    def find(self, connection: Connection, entity_type: str, row: Mapping[str, Any]) -> Context:
        """The context of a row of that type."""
        if entity_type == "run":
            return Context(row["run_id"], None, row["phase_id"])
        if entity_type == "workstream":
            workstream = row["ws_id"]
            self._workstreams[workstream] = row["run_id"]
        else:
            workstream = row.get("workstream_id")
            if workstream is None and row.get("task_id") is not None:
                workstream = self._task(connection, row["task_id"])
        run = row.get("run_id")
        if run is None and workstream is not None:
            run = self._workstream(connection, workstream)
        return Context(run, workstream, self._run(connection, run) if run else None)

    def _task(self, connection: Connection, task_id: str) -> str | None:
        if task_id not in self._tasks:
            found = connection.scalar(statements.WORKSTREAM_OF_TASK, {statements.KEY: task_id})
            if found is None:
                return None
            self._tasks[task_id] = found
        return self._tasks[task_id]

    def _workstream(self, connection: Connection, ws_id: str) -> str | None:
        if ws_id not in self._workstreams:
            found = connection.scalar(statements.RUN_OF_WORKSTREAM, {statements.KEY: ws_id})
            if found is None:
                return None
            self._workstreams[ws_id] = found
        return self._workstreams[ws_id]

    def _run(self, connection: Connection, run_id: str) -> str | None:
        if run_id not in self._runs:
            found = connection.scalar(statements.PHASE_OF_RUN, {statements.KEY: run_id})
            self._runs[run_id] = found
        return self._runs[run_id]


@dataclass(frozen=True, slots=True)
class Entry:
    """What an audit row says, before it has an id."""

    entity_type: str
    entity_id: str
    entity_version: int
    from_state: str
    to_state: str
    trigger: str
    severity: str
    transitioned_at: str
    reason: str | None = None
    operator: str | None = None
    metadata: Mapping[str, Any] | None = None


def write(
    connection: Connection, ids: IdSource, entry: Entry, context: Context, head: str | None
) -> TransitionRecord:
    """Insert an audit row and hand it back.

    It comes before the change that it tells of: the database refuses a change without it.

    Args:
        connection: of the transaction.
        ids: for the event's id.
        entry: what it says.
        context: where it belongs.
        head: the hash of the entity's newest audit row so far; None for a creation.
    """
    metadata = canonical_json(dict(entry.metadata)) if entry.metadata else "{}"
    values: dict[str, Any] = {
        "event_id": ids.new(EVENT_PREFIX),
        "entity_type": entry.entity_type,
        "entity_id": entry.entity_id,
        "entity_version": entry.entity_version,
        "from_state": entry.from_state,
        "to_state": entry.to_state,
        "trigger": entry.trigger,
        "reason": entry.reason and storable(entry.reason),
        "severity": entry.severity,
        "operator": entry.operator and storable(entry.operator),
        "metadata": json.loads(metadata) if entry.metadata else {},
        "run_id": context.run_id,
        "workstream_id": context.workstream_id,
        "phase_id": context.phase_id,
        "transitioned_at": entry.transitioned_at,
        "prev_hash": head,
    }
    values["hash"] = row_hash(values, metadata)
    key: int = connection.scalar(_INSERT, {**values, "metadata": JsonText(metadata)})
    return TransitionRecord(transition_id=key, **values)


_INSERT = state_transitions.insert().returning(state_transitions.c.transition_id)
