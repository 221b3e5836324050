"""The rules of the store once more, as a few plain dictionaries: what the store is compared with.

Written from the specification (decisions T, K, P, G, B, C; the order of checks in design section 7)
and from the tables of `tests/state/machines.yaml`, not from the code in `state`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

TABLES: dict[str, dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parents[1] / "state" / "machines.yaml").read_text(encoding="utf-8")
)
COOLDOWN = timedelta(seconds=60)
MAX_APPLIES = 3
CHECKED = ("format_ok", "scope_ok", "constraints_ok")
OK = ""
"""What a call says that is accepted; otherwise the code of its error."""


@dataclass
class Row:
    """What is remembered of an entity; `path` is every state it was in."""

    kind: str
    key: str
    state: str
    updated: datetime
    version: int = 1
    columns: dict[str, Any] = field(default_factory=dict[str, Any])
    path: list[str] = field(default_factory=list[str])
    audited: int = 1
    created: datetime = datetime.min

    @property
    def terminal(self) -> bool:
        return self.state in TABLES[self.kind]["terminal"]


@dataclass
class Ask:
    """A transition that somebody asks for."""

    target: str
    operator: bool = False
    trigger: str | None = None
    expected_version: int | None = None
    token: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Reference:
    """A run with its parts. Every call says OK, or the code of the error that must come."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.needs: dict[str, list[str]] = {}
        self.gates: dict[tuple[str, str], list[str]] = {}

    def add(self, kind: str, key: str, now: datetime, **columns: Any) -> Row:
        """A new row in its machine's initial state."""
        initial = TABLES[kind]["initial"]
        row = Row(kind, key, initial, now, columns=columns, path=["none", initial], created=now)
        self.rows[key] = row
        return row

    def of(self, kind: str) -> list[Row]:
        """The rows of a kind, oldest first."""
        return [row for row in self.rows.values() if row.kind == kind]

    def targets(self, row: Row) -> list[str]:
        """Where a row may go."""
        table = TABLES[row.kind]
        extra = table.get("extensions", {}).get(row.state, {})
        return [*table["transitions"].get(row.state, {}), *extra]

    # Changing state

    def judge(self, row: Row, ask: Ask, now: datetime) -> str:
        """Existence apart: legality, version, token, guards, in this order."""
        if ask.target not in self.targets(row):
            return "terminal_state" if row.terminal else "invalid_transition"
        if ask.expected_version not in (None, row.version):
            return "optimistic_lock"
        if ask.token is not None and ask.token != row.columns.get("token"):
            return "stale_token"
        guard = getattr(self, f"_guard_{row.kind}", None)
        return OK if guard is None or guard(row, ask, now) else "guard_not_satisfied"

    def transition(self, row: Row, ask: Ask, now: datetime) -> str:
        """Judge, and when it is accepted change the row."""
        verdict = self.judge(row, ask, now)
        if verdict == OK:
            self._change(row, ask, now)
        return verdict

    def _guard_task(self, row: Row, ask: Ask, now: datetime) -> bool:
        step = (row.state, ask.target)
        if step in {("pending", "queued"), ("blocked", "pending")} and not self._met(row):
            return False
        role = {("pending", "queued"): "entry", ("running", "validating"): "exit"}.get(step)
        if role:
            gates = [self.rows[key] for key in self.gates.get((row.key, role), ())]
            return all(self.newest(gate).state == "PASSED" for gate in gates)
        if step == ("retrying", "queued"):
            due = row.columns.get("next_attempt_at")
            return ask.operator or due is None or now >= due
        if ask.target == "running":
            worker = self.rows.get(ask.columns.get("worker_id", ""))
            # One task for each worker (decisions K3).
            held = any(
                one.kind == "task"
                and one.state == "running"
                and one.columns["worker_id"] == ask.columns.get("worker_id")
                for one in self.rows.values()
            )
            return worker is not None and worker.state in ("idle", "busy") and not held
        if ask.target == "retrying":
            return row.columns["retry_count"] < row.columns["max_retries"]
        return True

    def _met(self, row: Row) -> bool:
        needs = [self.rows[key] for key in self.needs.get(row.key, ())]
        return all(self.newest(one).state == "completed" for one in needs)

    def newest(self, row: Row) -> Row:
        """The row that stands for what was done again (decisions T7, G2)."""
        original = self._depths(row)[0]
        family = [one for one in self.of(row.kind) if self._depths(one)[0] == original]
        return max(family, key=lambda one: (self._depths(one)[1], one.created, one.key))

    def _depths(self, row: Row) -> tuple[str, int]:
        depth = 0
        while before := row.columns.get("retry_of"):
            row, depth = self.rows[before], depth + 1
        return row.key, depth

    def _guard_patch_ledger(self, row: Row, ask: Ask, now: datetime) -> bool:
        has = {**row.columns, **ask.columns}
        checked = all(has.get(name) for name in CHECKED)
        if (row.state, ask.target) == ("apply_failed", "queued"):
            return checked and row.columns["apply_attempts"] < MAX_APPLIES
        if ask.target == "quarantined":
            return bool(has.get("quarantine_reason"))
        if ask.target == "dropped":
            return ask.operator or row.state != "quarantined"
        tested = checked and bool(has.get("tests_ok"))
        if ask.target == "rolled_back":
            return tested and ask.operator and bool(has.get("rollback_reason"))
        if ask.target == "committed":
            return tested and bool(has.get("commit_sha"))
        return tested if ask.target == "verified" else checked

    def _guard_test_gate(self, row: Row, ask: Ask, now: datetime) -> bool:
        if ask.target == "PASSED":
            return ask.columns.get("exit_code") == 0
        return ask.target != "FAILED" or ask.columns.get("exit_code") is not None

    def _guard_circuit_breaker(self, row: Row, ask: Ask, now: datetime) -> bool:
        if (row.state, ask.target) == ("OPEN", "HALF_OPEN"):
            return ask.operator or now >= row.columns["opened_at"] + COOLDOWN
        return True

    def _change(self, row: Row, ask: Ask, now: datetime) -> None:
        source, at = row.state, max(now, row.updated)
        row.columns.update(ask.columns)
        row.state, row.updated = ask.target, at
        row.version += 1
        row.audited += 1
        row.path.append(ask.target)
        if row.kind == "task" and source == "running":
            row.columns.update(worker_id=None, token=None)
        if row.kind == "task" and source == "retrying":
            row.columns["next_attempt_at"] = None
        if ask.target == "retrying":
            row.columns["retry_count"] += 1
        if row.kind == "worker" and ask.target == "idle":
            row.columns["task_id"] = None
        if row.kind == "patch_ledger" and source == "queued":
            row.columns["apply_attempts"] += 1
        if ask.target == "OPEN":
            row.columns["opened_at"] = at

    # Claims and heartbeats

    def held_by(self, worker: Row) -> list[Row]:
        """The tasks that a worker holds."""
        return [task for task in self.of("task") if task.columns["worker_id"] == worker.key]

    def claimable(self, worker: Row, named: Row | None, skills: frozenset[str]) -> Row | str | None:
        """The task that a claim gets, the code of its error, or None."""
        if named and named.state == "running" and named.columns["worker_id"] != worker.key:
            return "task_already_assigned"
        (run,) = self.of("run")
        if worker.state != "idle" or worker.columns["drain"] or self.held_by(worker):
            return None
        if run.columns["held"] or run.terminal:
            return None
        able = skills | worker.columns["capabilities"]
        queued = [
            task
            for task in self.of("task")
            if task.state == "queued"
            and named in (None, task)
            and task.columns["capabilities"] <= able
        ]
        return min(queued, key=lambda task: task.columns["position"], default=None)

    def claim(self, worker: Row, task: Row, token: str, now: datetime) -> None:
        """The task runs and the worker is busy."""
        self._change(task, Ask("running", columns={"worker_id": worker.key}), now)
        task.columns["token"] = token
        self._change(worker, Ask("busy", columns={"task_id": task.key}), now)

    def heartbeat(self, worker: Row, token: str | None) -> str:
        """A shut-down worker, and one whose attempt is no longer live, is told to stop."""
        if worker.state == "shutdown":
            return "terminal_state" if token is None else "stale_token"
        if token is None:
            return OK
        task = self.rows.get(worker.columns["task_id"] or "")
        return OK if task and task.columns["token"] == token else "stale_token"
