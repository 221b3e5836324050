"""Audit rows: what is written for every change, in the transaction of the change itself."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from state import statements
from state.canonical import JsonText, canonical_json
from state.chain import row_hash
from state.clock_and_ids import IdSource
from state.connection import Connection
from state.entities import storable
from state.facts import PROVED
from state.schema import state_transitions

EVENT_PREFIX = "evt_"
TOLD = "set"
"""The key of the metadata under which an audit row tells columns (`state.facts.PROVED`)."""

_EVENT_NAMES = {"patch_ledger": "patch", "test_gate": "gate"}


class TransitionRecord(NamedTuple):
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


class Context(NamedTuple):
    """Where a change belongs: its run, workstream and plan revision, as far as there are any."""

    run_id: str | None = None
    workstream_id: str | None = None
    phase_id: str | None = None


class Contexts:
    """Finds the context of an entity; remembers it, since rows never change their parents."""

    def __init__(self) -> None:
        self._runs: dict[str, Context] = {}
        self._workstreams: dict[str, Context] = {}
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
            of_run = self._of_run(connection, row["run_id"])
            return of_run._replace(workstream_id=row["ws_id"])
        workstream = row.get("workstream_id")
        if workstream is None and row.get("task_id") is not None:
            workstream = self._of_task(connection, row["task_id"])
        run = row.get("run_id")
        if run is not None:
            return self._of_run(connection, run)._replace(workstream_id=workstream)
        return Context() if workstream is None else self._of_workstream(connection, workstream)

    def _of_task(self, connection: Connection, task_id: str) -> str | None:
        found = self._tasks.get(task_id)
        if found is None:
            found = connection.scalar(statements.WORKSTREAM_OF_TASK, {statements.KEY: task_id})
            if found is not None:
                self._tasks[task_id] = found
        return found

    def _of_workstream(self, connection: Connection, ws_id: str) -> Context:
        found = self._workstreams.get(ws_id)
        if found is None:
            run = connection.scalar(statements.RUN_OF_WORKSTREAM, {statements.KEY: ws_id})
            if run is None:
                return Context(workstream_id=ws_id)
            found = self._of_run(connection, run)._replace(workstream_id=ws_id)
            self._workstreams[ws_id] = found
        return found

    def _of_run(self, connection: Connection, run_id: str) -> Context:
        found = self._runs.get(run_id)
        if found is None:
            phase = connection.scalar(statements.PHASE_OF_RUN, {statements.KEY: run_id})
            found = self._runs[run_id] = Context(run_id, None, phase)
        return found


class Entry(NamedTuple):
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


def told(entity_type: str, columns: Mapping[str, Any]) -> dict[str, Any]:
    """What of these columns belongs into the metadata of the change's audit row."""
    proved = {name: columns[name] for name in PROVED.get(entity_type, ()) if name in columns}
    return {TOLD: proved} if proved else {}


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
        "metadata": _as_stored(entry.metadata, metadata) if entry.metadata else {},
        "run_id": context.run_id,
        "workstream_id": context.workstream_id,
        "phase_id": context.phase_id,
        "transitioned_at": entry.transitioned_at,
        "prev_hash": head,
    }
    values["hash"] = row_hash(values, metadata)
    key: int = connection.scalar(_INSERT, {**values, "metadata": JsonText(metadata)})
    return TransitionRecord(transition_id=key, **values)


def _as_stored(metadata: Mapping[str, Any], text: str) -> dict[str, Any]:
    """The metadata as whoever reads the row gets it."""
    if all(type(value) in _PLAIN for value in metadata.values()):
        return dict(metadata)
    return json.loads(text)


_PLAIN = frozenset({str, int, bool, type(None)})
_INSERT = state_transitions.insert().returning(state_transitions.c.transition_id)
