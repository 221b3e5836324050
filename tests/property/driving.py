"""Drives a real store and a plain-Python model of the rules side by side."""

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from state.claims import Claim
from state.clock_and_ids import ManualClock, SequentialIds
from state.errors import GuardNotSatisfied, PatchlineError
from state.queries import transitions_since
from state.store import EVENT_FILE, StateStore
from tests.new_databases import new_database
from tests.property.agreement import check_columns, check_history_and_events, stamp
from tests.property.reference import CHECKED, OK, TABLES, Ask, Reference, Row

FLAGS: dict[str, Any] = dict.fromkeys(CHECKED, True)
GIVEN: dict[tuple[str, str], dict[str, Any]] = {
    ("patch_ledger", "validated"): FLAGS,
    ("patch_ledger", "verified"): {"tests_ok": True},
    ("patch_ledger", "quarantined"): {"quarantine_reason": "out of scope"},
    ("patch_ledger", "committed"): {"commit_sha": "c" * 40},
    ("patch_ledger", "rolled_back"): {"rollback_reason": "it broke"},
    ("test_gate", "PASSED"): {"exit_code": 0},
    ("test_gate", "FAILED"): {"exit_code": 1},
}
PICK = st.integers(0, 30)
VERSION = st.sampled_from([None, None, 0, 0, 1])
TOKEN = st.sampled_from(["none", "none", "live", "stale"])


class StoreAgainstModel(RuleBasedStateMachine):
    """Drives a store and the reference side by side; a subclass says which backend."""

    reference: type[Reference] = Reference

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(mkdtemp(prefix="patchline-model-"))
        self.clock = ManualClock()
        self.ids = SequentialIds()
        self.store = self.open_store()
        self.model = self.reference()
        self.spent: list[str] = ["att_never"]
        self.reopened = 0

    @property
    def address(self) -> str:
        """The database."""
        return new_database(self.folder / "pipeline.db")

    def open_store(self) -> StateStore:
        events = self.folder / EVENT_FILE
        return StateStore.open(self.address, clock=self.clock, ids=self.ids, events=events)

    def teardown(self) -> None:
        try:
            check_history_and_events(self.store, self.model)
        finally:
            self.store.close()
            shutil.rmtree(self.folder)

    # What there is

    @initialize(waits=st.booleans(), gated=st.booleans())
    def launch(self, waits: bool, gated: bool) -> None:
        run = self.make("run", held=False)
        ws = self.make("workstream", run_id=run.key)
        first, second, third = (
            self.make_task(ws, capabilities=frozenset(skills)) for skills in ((), ("sql",), ())
        )
        for skills in (frozenset[str](), frozenset({"sql"})):
            self.make_worker(skills)
        self.make("uet_worker")
        self.make("circuit_breaker", tool_id="ruff")
        entry = self.make("patch_ledger", workstream_id=ws.key)
        entry.columns["apply_attempts"] = 0
        gate = self.make("test_gate", gate_type="UNIT")
        if waits:
            self.store.add_dependency("task", second.key, first.key)
            self.model.needs[second.key] = [first.key]
        if gated:
            self.store.add_task_gate(third.key, gate.key, "entry")
            self.model.gates[third.key, "entry"] = [gate.key]

    def make_task(self, ws: Row, **columns: Any) -> Row:
        """A task; of those that may be claimed, the last made comes first."""
        given: dict[str, Any] = {"max_retries": 3, "capabilities": frozenset[str](), **columns}
        place = -len(self.model.of("task"))
        task = self.make("task", workstream_id=ws.key, position=place, **given)
        task.columns.update(retry_count=0, worker_id=None, token=None)
        return task

    def make_worker(self, skills: frozenset[str] = frozenset()) -> Row:
        worker = self.make("worker", capabilities=skills, drain=False)
        worker.columns["task_id"] = None
        return worker

    def make(self, kind: str, **columns: Any) -> Row:
        row = self.store.create(kind, **columns)
        key = getattr(row, TABLES[kind]["key"])
        return self.model.add(kind, key, self.clock.now(), **columns)

    # What is asked of it

    @rule(pick=PICK, aim=PICK, give=st.booleans(), operator=st.booleans(), off=VERSION)
    def ask_for_anything(
        self, pick: int, aim: int, give: bool, operator: bool, off: int | None
    ) -> None:
        row = self.pick(pick)
        states = sorted({*self.model.targets(row), *TABLES[row.kind]["terminal"], row.state})
        ask = self.asking(row, states[aim % len(states)], give, operator)
        ask.expected_version = None if off is None else row.version - off
        self.compare(row, ask)

    @rule(pick=PICK, aim=PICK, operator=st.booleans())
    def go_on(self, pick: int, aim: int, operator: bool) -> None:
        """A legal step that is given everything: what most calls are."""
        row = self.pick(pick)
        targets = self.model.targets(row)
        if targets:
            self.compare(row, self.asking(row, targets[aim % len(targets)], True, operator))

    @rule(pick=PICK, aim=PICK, which=TOKEN)
    def write_with_a_token(self, pick: int, aim: int, which: str) -> None:
        row = self.pick(pick, "task")
        targets = self.model.targets(row)
        if targets:
            ask = self.asking(row, targets[aim % len(targets)], True, False)
            ask.token = self.token(row, which)
            self.compare(row, ask)

    @rule(pick=PICK, task=st.none() | PICK, skills=st.sampled_from(["", "sql"]))
    def claim(self, pick: int, task: int | None, skills: str) -> None:
        worker = self.pick(pick, "worker")
        named = None if task is None else self.pick(task, "task")
        self.claim_for(worker, named, frozenset({skills} - {""}))

    def claim_for(self, worker: Row, named: Row | None, able: frozenset[str] = frozenset()) -> None:
        wanted = self.model.claimable(worker, named, able)
        name = named.key if named else None
        got: Claim | None = None

        def claim() -> None:
            nonlocal got
            got = self.store.claim_task(worker.key, task_id=name, capabilities=able)

        said = self.said(claim)
        if got is None:
            assert (said or None) == wanted
            return
        assert isinstance(wanted, Row)
        assert got.task_id == wanted.key
        assert got.token not in self.spent
        self.spent.append(got.token)
        self.model.claim(worker, wanted, got.token, self.clock.now())

    @rule(pick=PICK, which=TOKEN)
    def heartbeat(self, pick: int, which: str) -> None:
        worker = self.pick(pick, "worker")
        task = self.model.rows.get(worker.columns["task_id"] or "")
        token = self.token(task, which)
        wanted = self.model.heartbeat(worker, token)
        said = self.said(lambda: self.store.heartbeat(worker.key, token=token))
        assert said == wanted

    @rule(pick=PICK, which=TOKEN)
    def update(self, pick: int, which: str) -> None:
        """Columns change without a new version; an ended row keeps all but its metadata."""
        row = self.pick(pick, "task")
        token = self.token(row, which)
        wanted = OK
        if row.terminal:
            wanted = "terminal_state"
        elif token is not None and token != row.columns["token"]:
            wanted = "stale_token"
        said = self.said(
            lambda: self.store.update("task", row.key, token=token, feedback="try harder")
        )
        assert said == wanted
        if said == OK:
            row.updated = max(self.clock.now(), row.updated)
        self.store.update("task", row.key, metadata={"seen": pick})
        row.updated = max(self.clock.now(), row.updated)
        row.audited += row.terminal

    @rule(held=st.booleans())
    def hold_or_release(self, held: bool) -> None:
        (run,) = self.model.of("run")
        trigger = "held" if held else "released"
        said = self.said(
            lambda: self.store.record("run", run.key, trigger, operator="ann", held=held)
        )
        assert said == ("terminal_state" if run.terminal else OK)
        if said == OK:
            run.columns["held"] = held
            run.updated = max(self.clock.now(), run.updated)
            run.audited += 1

    @rule(picks=st.lists(st.tuples(PICK, PICK), min_size=2, max_size=4))
    def batch(self, picks: list[tuple[int, int]]) -> None:
        """All of it or none: as soon as one is refused the others are undone too."""
        before, said = self.image(), OK
        wanted, asked = self.plan(picks)
        try:
            with self.store.batch() as tx:
                for row, ask in asked:
                    tx.transition(row.kind, row.key, ask.target, **self.arguments(ask))
        except PatchlineError as error:
            said = error.code
        assert said == wanted
        if said == OK:
            for row, ask in asked:
                assert self.model.transition(row, ask, self.clock.now()) == OK
                self.note_token(row)
        else:
            assert self.image() == before

    @rule(seconds=st.sampled_from([-3600, -61, -1, 0, 1, 59, 61, 900]))
    def let_time_pass(self, seconds: int) -> None:
        """Also backwards: a clock may be set."""
        self.clock.advance(seconds)

    @precondition(lambda self: self.reopened < 3)
    @rule()
    def reopen(self) -> None:
        """What is kept does not live in the process."""
        self.reopened += 1
        self.store.close()
        self.store = self.open_store()

    # What always holds

    @invariant()
    def rows_are_as_the_model_says(self) -> None:
        for row in self.model.rows.values():
            kept = self.store.get(row.kind, row.key)
            assert (kept.state, kept.version) == (row.state, row.version), row
            assert kept.updated_at == stamp(row), row
            check_columns(row, kept)

    # Parts

    def pick(self, number: int, kind: str | None = None) -> Row:
        rows = self.model.of(kind) if kind else list(self.model.rows.values())
        return rows[number % len(rows)]

    def asking(self, row: Row, target: str, give: bool, operator: bool) -> Ask:
        columns = dict(GIVEN.get((row.kind, target), {})) if give else {}
        if give and (row.kind, target) == ("task", "running"):
            free = [w for w in self.model.of("worker") if not self.model.held_by(w)]
            columns = {"worker_id": free[0].key} if free else {}
        if give and target == "retrying":
            columns = {"next_attempt_at": self.clock.now() + timedelta(seconds=60)}
        return Ask(target, operator, columns=columns)

    def token(self, row: Row | None, which: str) -> str | None:
        live = row.columns["token"] if row else None
        return {"none": None, "live": live, "stale": self.spent[0]}[which]

    def arguments(self, ask: Ask) -> dict[str, Any]:
        operator = "ann" if ask.operator else None
        return {
            "operator": operator,
            "trigger": ask.trigger,
            "expected_version": ask.expected_version,
            "token": ask.token,
            **ask.columns,
        }

    def said(self, call: Callable[[], object]) -> str:
        try:
            call()
        except PatchlineError as error:
            if isinstance(error, GuardNotSatisfied) and error.missing[0].startswith("ck_"):
                # What the store knows it says itself; the tables' rules are there for others.
                raise AssertionError(str(error)) from error
            return error.code
        return OK

    def compare(self, row: Row, ask: Ask) -> str:
        wanted = self.model.transition(row, ask, self.clock.now())
        said = self.said(
            lambda: self.store.transition(row.kind, row.key, ask.target, **self.arguments(ask))
        )
        assert said == wanted, (row, ask)
        if said == OK:
            self.note_token(row)
        return said

    def note_token(self, row: Row) -> None:
        """The model cannot know which token the store makes up; it must be a new one."""
        if row.kind == "task" and row.state == "running":
            token = self.store.get("task", row.key).token
            if token != row.columns["token"]:
                assert token not in self.spent
                self.spent.append(token)
                row.columns["token"] = token

    def plan(self, picks: list[tuple[int, int]]) -> tuple[str, list[tuple[Row, Ask]]]:
        """Legal asks for different rows, and what the first that is refused will say."""
        asked: dict[str, tuple[Row, Ask]] = {}
        for number, target in picks:
            row = self.pick(number)
            choice = [*self.model.targets(row), row.state]
            asked.setdefault(
                row.kind, (row, self.asking(row, choice[target % len(choice)], True, True))
            )
        verdicts = [self.model.judge(*one, self.clock.now()) for one in asked.values()]
        return next((verdict for verdict in verdicts if verdict), OK), list(asked.values())

    def image(self) -> list[Any]:
        rows = [self.store.get(row.kind, row.key) for row in self.model.rows.values()]
        return [rows, transitions_since(self.store)]
