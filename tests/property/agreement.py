"""How a row, its history and the event file of a store must look, by the model."""

import json
from typing import Any

from state.queries import history, transitions_since
from state.store import StateStore
from tests.property.reference import Reference, Row

END = {
    "run": "completed_at",
    "workstream": "completed_at",
    "task": "completed_at",
    "worker": "shutdown_at",
    "uet_worker": "terminated_at",
    "test_gate": "completed_at",
}


def stamp(row: Row) -> str:
    """A time as the store keeps it."""
    return row.updated.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def check_columns(row: Row, kept: Any) -> None:
    """The cross-column rules of decisions C, and what the model knows of the columns."""
    for name in ("worker_id", "token", "retry_count", "apply_attempts", "held", "task_id"):
        if name in row.columns:
            assert getattr(kept, name) == row.columns[name], (row, name)
    assert kept.updated_at >= kept.created_at
    if end := END.get(row.kind):
        ended = getattr(kept, end)
        assert (ended is not None) == row.terminal
        started = getattr(kept, "started_at", None)
        moments = [m for m in (kept.created_at, started, ended) if m is not None]
        assert moments == sorted(moments)
    if row.kind == "task":
        assert (row.state == "running") == (kept.worker_id is not None)
        assert kept.retry_count <= kept.max_retries
    if row.state in ("PASSED", "FAILED"):
        assert kept.exit_code is not None
    if row.state in ("quarantined", "rolled_back"):
        assert kept.quarantine_reason if row.state == "quarantined" else kept.rollback_reason


def check_history_and_events(store: StateStore, model: Reference) -> None:
    """Every history is the way its row went, and the event file equals the table."""
    for row in model.rows.values():
        audit = history(store, row.kind, row.key)
        moved = [one for one in audit if one.from_state != one.to_state]
        assert [*(one.from_state for one in moved), row.state] == row.path
        assert [one.entity_version for one in moved] == list(range(1, row.version + 1))
        assert len(audit) == row.audited
        assert [one.transitioned_at for one in audit] == sorted(
            one.transitioned_at for one in audit
        )
    lines = store.events.path.read_text(encoding="utf-8").splitlines()
    table = [one.as_event() for one in transitions_since(store)]
    assert [json.loads(line) for line in lines] == table
