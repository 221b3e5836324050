"""How a run stands while it runs, followed from its audit rows; knows nothing of terminals."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from pipeline_defs.cli.output import duration, seconds_between
from state.audit import TransitionRecord
from state.machines import MACHINES
from state.queries import transitions_since
from state.store import StateStore

TASK_ENDED = MACHINES["task"].terminal
WS_ENDED = MACHINES["workstream"].terminal
BATCH = 1000


@dataclass(frozen=True)
class Line:
    """Something that happened, for people. `minor` is what only a log without a board needs."""

    seconds: float
    name: str
    text: str
    minor: bool = False
    bad: bool = False


@dataclass
class TaskCard:
    """A task as it stands."""

    name: str
    workstream: str
    tool: str
    state: str
    attempt: int
    since: str = ""
    doing: str = ""
    commit: str = ""


@dataclass
class WorkstreamCard:
    """A workstream as it stands."""

    name: str
    state: str
    reason: str = ""
    gate: str = ""
    tasks: list[TaskCard] = field(default_factory=list)

    @property
    def done(self) -> int:
        """How many of its tasks are completed."""
        return sum(task.state == "completed" for task in self.tasks)


class Board:
    """Everything that the progress display shows. Used by one thread."""

    def __init__(self, store: StateStore, run_id: str) -> None:
        self._store, self._run_id = store, run_id
        self._last = 0
        self._gates: dict[str, Any] = {}
        while records := transitions_since(store, self._last, run_id, BATCH):
            self._last = records[-1].transition_id
        run = store.get("run", run_id)
        self.plan, self.target, self.started = run.plan, run.target, store.now()
        self.streams: dict[str, WorkstreamCard] = {}
        self.tasks: dict[str, TaskCard] = {}
        self.gates = Counter[str]()
        for row in sorted(store.find("workstream", run_id=run_id), key=lambda row: row.position):
            waits = ", ".join(row.blocked_by or ())
            self.streams[row.ws_id] = WorkstreamCard(
                row.slug, row.state, row.reason or (f"waits for {waits}" if waits else "")
            )
        for row in sorted(
            store.find("task", workstream_id=list(self.streams)), key=lambda row: row.position
        ):
            self._add_task(row)

    @property
    def elapsed(self) -> float:
        """Seconds since this process took the run up."""
        return seconds_between(self.started, self._store.now())

    def seconds_since(self, moment: str) -> float:
        """Seconds from a stored time to now."""
        return max(0.0, seconds_between(moment, self._store.now()))

    def update(self) -> list[Line]:
        """Take in what happened since the last time."""
        lines: list[Line] = []
        while records := transitions_since(self._store, self._last, self._run_id, BATCH):
            self._last = records[-1].transition_id
            for record in records:
                lines.extend(self._take_in(record))
        return lines

    def _add_task(self, row: Any) -> TaskCard:
        stream = self.streams[row.workstream_id]
        name = f"{stream.name}/{row.slug}"
        card = TaskCard(name, row.workstream_id, row.tool_id or "", row.state, row.attempts)
        self.tasks[row.task_id] = card
        stream.tasks.append(card)
        return card

    def _take_in(self, record: TransitionRecord) -> list[Line]:
        if record.from_state == record.to_state:
            return []
        match record.entity_type:
            case "task":
                line = self._task(record)
            case "workstream":
                line = self._workstream(record)
            case "test_gate":
                line = self._gate(record)
            case "patch_ledger":
                line = self._patch(record)
            case _:
                line = None
        return [line] if line else []

    def _line(self, record: TransitionRecord, name: str, text: str, **marks: bool) -> Line:
        seconds = max(0.0, seconds_between(self.started, record.transitioned_at))
        return Line(seconds, name, " ".join(text.split()), **marks)

    def _task(self, record: TransitionRecord) -> Line | None:
        card = self.tasks.get(record.entity_id)
        if card is None:  # made by a retry of an ended task while we watch
            card = self._add_task(self._store.get("task", record.entity_id))
        card.state, card.since, reason = record.to_state, record.transitioned_at, record.reason
        attempt = f"attempt {card.attempt}"
        match record.to_state:
            case "running":
                card.attempt += 1
                card.doing, card.commit = f"tool {card.tool}", ""
                return self._line(record, card.name, f"attempt {card.attempt} running", minor=True)
            case "retrying":
                again = self._until_next_attempt(record)
                return self._line(record, card.name, f"{attempt}: {reason}; {again}", bad=True)
            case "completed":
                what = f"committed {card.commit}" if card.commit else reason or "nothing to change"
                return self._line(record, card.name, f"{attempt} done, {what}", minor=True)
            case "failed":
                return self._line(record, card.name, f"failed: {reason}", bad=True)
            case "cancelled":
                return self._line(record, card.name, f"cancelled: {reason}", bad=True)
        return None

    def _until_next_attempt(self, record: TransitionRecord) -> str:
        at = self._store.get("task", record.entity_id).next_attempt_at
        wait = seconds_between(record.transitioned_at, at) if at else 0.0
        return f"again in {duration(wait)}" if wait > 0 else "can begin again at once"

    def _workstream(self, record: TransitionRecord) -> Line | None:
        card = self.streams.get(record.entity_id)
        if card is None:
            return None
        card.state, card.reason, card.gate = record.to_state, record.reason or "", ""
        match record.to_state:
            case "executing":
                return self._line(record, card.name, "started", minor=True)
            case "validating":
                return self._line(record, card.name, "all tasks done, validating", minor=True)
            case "completed":
                card.reason = f"landed on {self.target}"
                return self._line(record, card.name, card.reason)
            case "failed" | "cancelled" | "skipped":
                text = f"{record.to_state}: {record.reason}"
                return self._line(record, card.name, text, bad=record.to_state != "skipped")
        return None

    def _gate(self, record: TransitionRecord) -> Line | None:
        if record.to_state not in ("RUNNING", "PASSED", "FAILED", "BLOCKED"):
            return None
        row = self._gates.pop(record.entity_id, None)
        if row is None:
            row = self._store.get("test_gate", record.entity_id)
        task, stream = self.tasks.get(row.task_id), self.streams.get(row.workstream_id)
        running = record.to_state == "RUNNING"
        doing = f"gate {row.name}" if running else ""
        if task is not None:
            task.doing = doing or "landing"
        elif stream is not None:
            stream.gate = doing
        if running:
            self._gates[record.entity_id] = row
            return None
        self.gates[record.to_state] += 1
        if record.to_state != "FAILED" or row.blocking:
            return None  # what a blocking gate refuses shows as a quarantined patch or a failure
        name = task.name if task else stream.name if stream else row.name
        row = self._store.get("test_gate", record.entity_id)  # ours is from before it ended
        how = "deadline exceeded" if row.timed_out else f"exit code {row.exit_code}"
        return self._line(record, name, f"advisory gate {row.name} failed: {how}", bad=True)

    def _patch(self, record: TransitionRecord) -> Line | None:
        if record.to_state not in ("committed", "quarantined"):
            return None
        row = self._store.get("patch_ledger", record.entity_id)
        card = self.tasks.get(row.task_id)
        if card is None:
            return None
        if record.to_state == "committed":
            card.commit = (row.commit_sha or "")[:12]
            return None
        reason = record.reason or row.quarantine_reason
        return self._line(record, card.name, f"patch quarantined: {reason}", minor=True, bad=True)
