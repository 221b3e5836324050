"""Ways through the rules that chance would seldom take whole, walked among everything else."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from state.propagation.cascade import cascade
from state.propagation.facts import Cancellation, Policy
from state.propagation.reading import run_facts
from tests.property.driving import PICK, StoreAgainstModel
from tests.property.reference import OK, Ask, Row


class DirectedStore(StoreAgainstModel):
    """Besides single calls: whole ways, each at most once in an example, and cascades."""

    def __init__(self) -> None:
        super().__init__()
        self.walked: set[str] = set()
        self.done_again = 0

    def first_time(self, way: str) -> bool:
        """Whether a way was not walked yet."""
        new = way not in self.walked
        self.walked.add(way)
        return new

    @rule()
    def fail_and_retry_to_the_limit(self) -> None:
        if self.first_time("retry"):
            task = self.new_task(max_retries=1)
            for _ in range(3):
                self.run_on(task, self.new_worker())
                self.walk(task, "retrying")

    @rule()
    def apply_again_until_it_is_refused(self) -> None:
        if self.first_time("apply"):
            (ws,) = self.model.of("workstream")
            entry = self.make("patch_ledger", workstream_id=ws.key)
            entry.columns["apply_attempts"] = 0
            self.walk(entry, "validated", "queued", *["apply_failed", "queued"] * 4)

    @rule()
    def let_a_worker_drain(self) -> None:
        if self.first_time("drain"):
            worker, task = self.new_worker(), self.new_task()
            self.walk(task, "queued")
            self.store.update("worker", worker.key, drain=True)
            worker.columns["drain"] = True
            worker.updated = max(self.clock.now(), worker.updated)
            self.claim_for(worker, task)

    @rule()
    def claim_for_a_worker_that_recovered(self) -> None:
        if self.first_time("recovery"):
            worker, held, other = self.new_worker(), self.new_task(), self.new_task()
            self.walk(held, "queued")
            self.walk(other, "queued")
            self.claim_for(worker, held)
            self.walk(worker, "unresponsive", "idle")
            self.claim_for(worker, other)
            self.run_on(other, worker)

    @rule(role=st.sampled_from(["entry", "exit"]))
    def judge_by_gates(self, role: str) -> None:
        """Refused while its gate has not passed, and let through once it was run again and has."""
        if not self.first_time(role):
            return
        task, gate = self.new_task(), self.make("test_gate", gate_type="UNIT")
        self.store.add_task_gate(task.key, gate.key, role)
        self.model.gates[task.key, role] = [gate.key]
        target = "queued" if role == "entry" else "validating"
        if role == "exit":
            self.run_on(task, self.new_worker())
        self.walk(task, target)
        self.walk(gate, "RUNNING", "FAILED")
        self.walk(task, target)
        again = self.make("test_gate", gate_type="UNIT", retry_of=gate.key)
        self.walk(again, "RUNNING", "PASSED")
        self.walk(task, target)

    @precondition(lambda self: self.done_again < 3)
    @rule(pick=PICK)
    def do_a_task_again(self, pick: int) -> None:
        """The newest of a lineage counts for who depends on any of it."""
        self.done_again += 1
        task, (ws,) = self.pick(pick, "task"), self.model.of("workstream")
        self.make_task(ws, retry_of=task.key)

    @rule()
    def wait_for_what_is_done_again(self) -> None:
        if self.first_time("again"):
            need, task, worker = self.new_task(), self.new_task(), self.new_worker()
            self.store.add_dependency("task", task.key, need.key)
            self.model.needs[task.key] = [need.key]
            self.walk(task, "queued", "blocked")
            self.run_on(need, worker)
            self.walk(need, "validating", "completed")
            again = self.new_task(retry_of=need.key)
            self.walk(task, "pending")
            self.run_on(again, worker)
            self.walk(again, "validating", "completed")
            self.walk(task, "pending", "queued")

    @rule()
    def ask_to_cancel_the_run(self) -> None:
        (run,) = self.model.of("run")
        if not run.terminal and self.first_time("cancel"):
            wish = Cancellation("enough", "ann").as_metadata()
            self.store.update("run", run.key, metadata=wish)
            run.updated = max(self.clock.now(), run.updated)

    @rule(allow=st.booleans())
    def settle(self, allow: bool) -> None:
        """Whatever a cascade proposes is let through as proposed, and then nothing is left."""
        (run,) = self.model.of("run")
        policy = Policy(allow_noncritical_failures=allow)
        for step in cascade(run_facts(self.store, run.key), policy):
            row = self.model.rows[step.entity_id]
            assert row.version == step.version
            for one in step.path:
                operator = step.operator is not None
                ask = Ask(one.state, operator, trigger=one.trigger, columns=one.columns)
                assert self.compare(row, ask) == OK
        assert cascade(run_facts(self.store, run.key), policy) == []

    # Parts

    def new_task(self, **columns: Any) -> Row:
        (ws,) = self.model.of("workstream")
        return self.make_task(ws, **columns)

    def new_worker(self) -> Row:
        worker = self.make_worker()
        self.walk(worker, "idle")
        return worker

    def walk(self, row: Row, *states: str) -> None:
        """Ask for one state after the other, whatever is said; an operator waits for no clock."""
        for state in states:
            self.compare(row, self.asking(row, state, True, True))

    def run_on(self, task: Row, worker: Row) -> None:
        """Queue a task, and start it on this very worker."""
        self.walk(task, "queued")
        ask = self.asking(task, "running", False, True)
        ask.columns = {"worker_id": worker.key}
        self.compare(task, ask)
