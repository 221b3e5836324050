"""Gates on one tree: order, verdict, rows. Whole runs are in tests/pipeline."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resources.gates import GateRunner, Subject, Verdict, closure
from resources.specs import GateSpec
from state.store import StateStore
from tests.resources.gitbox import GitBox


def spec(script: str = "true", **more: Any) -> GateSpec:
    return GateSpec.model_validate({"command": ["sh", "-c", script], **more})


@pytest.fixture
def box(tmp_path: Path) -> GitBox:
    return GitBox(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    with StateStore.open(f"sqlite:///{tmp_path / 'pipeline.db'}") as opened:
        yield opened


class Bench:
    def __init__(self, box: GitBox, store: StateStore) -> None:
        self.box, self.store, self.stop = box, store, threading.Event()
        self.run_id = store.create("run").run_id
        self.ws_id = store.create("workstream", run_id=self.run_id).ws_id
        self.sandbox = box.sandbox()

    def judge(self, names: list[str], **specs: GateSpec) -> Verdict:
        return self.judge_for({"role": "workstream", "label": "core"}, names, **specs)

    def judge_for(self, about: dict[str, Any], names: list[str], **specs: GateSpec) -> Verdict:
        head = self.box.head()
        tree = self.box.git("rev-parse", f"{head}^{{tree}}")
        subject = Subject(tree, head, self.run_id, self.ws_id, **about)
        runner = GateRunner(self.store, specs, plan_dir="/plans")
        return runner.judge(names, subject, self.sandbox, self.stop)

    def told(self) -> list[str]:
        """What the newest gate printed, line by line."""
        return self.store.find("test_gate")[-1].output.splitlines()

    def states(self) -> dict[str, str]:
        return {row.name: row.state for row in self.store.find("test_gate")}


@pytest.fixture
def bench(box: GitBox, store: StateStore) -> Bench:
    return Bench(box, store)


def test_gates_come_after_what_they_need_and_each_once() -> None:
    specs = {
        "lint": spec(),
        "types": spec(depends_on=["lint"]),
        "unit": spec(depends_on=["lint", "types"]),
        "apart": spec(),
    }
    assert closure(["unit", "types", "apart"], specs) == ("lint", "types", "unit", "apart")


def test_all_blocking_gates_must_pass(bench: Bench) -> None:
    verdict = bench.judge(
        ["good", "bad", "advice"],
        good=spec(),
        bad=spec("echo details; exit 9"),
        advice=spec("exit 1", blocking=False),
    )
    assert (verdict.passed, verdict.failures) == (False, ("gate bad failed with exit code 9",))
    assert verdict.feedback == "gate bad failed with exit code 9\ndetails"
    assert bench.states() == {"good": "PASSED", "bad": "FAILED", "advice": "FAILED"}
    assert bench.judge(
        ["good", "advice"], good=spec(), advice=spec("exit 1", blocking=False)
    ).passed


def test_no_gate_is_no_pass(bench: Bench) -> None:
    assert not bench.judge([]).passed


def test_a_blocked_gate_is_never_passed_even_when_only_an_advisory_one_failed(
    bench: Bench,
) -> None:
    verdict = bench.judge(
        ["unit"], advice=spec("exit 1", blocking=False), unit=spec(depends_on=["advice"])
    )
    assert not verdict.passed
    assert verdict.failures == ("gate unit did not run: advice did not pass",)
    assert bench.states() == {"advice": "FAILED", "unit": "BLOCKED"}


def test_a_gate_that_cannot_be_started_has_failed_and_says_why(bench: Bench) -> None:
    gate = GateSpec(command=("no-such-program-anywhere",))
    verdict = bench.judge(["gate"], gate=gate)
    assert not verdict.passed
    assert "no-such-program-anywhere" in verdict.feedback
    (row,) = bench.store.find("test_gate")
    assert (row.state, row.exit_code) == ("FAILED", 127)


def test_a_gate_that_is_interrupted_is_recorded_as_such(bench: Bench) -> None:
    bench.stop.set()
    verdict = bench.judge(["slow", "next"], slow=spec("sleep 60"), next=spec())
    assert (verdict.passed, verdict.stopped) == (False, True)
    (row,) = bench.store.find("test_gate")
    assert (row.state, row.exit_code) == ("FAILED", -15)


def test_a_gate_runs_in_the_tree_it_judges_and_in_a_small_environment(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2hunter2")
    script = 'ls; echo "$PATCHLINE_GATE $EXTRA token=$SECRET_TOKEN $0"'
    gate = spec(script, env={"EXTRA": "more", "PATCHLINE_GATE": "forged"})
    assert bench.judge(["gate"], gate=gate).passed
    (row,) = bench.store.find("test_gate")
    assert row.output.split() == ["a.txt", "b.txt", "gate", "more", "token=", "sh"]
    assert row.tree == bench.box.git("rev-parse", "main^{tree}")


WORDS = ("{task}", "{attempt}", "{prompt}", "{feedback}", "{plan_dir}", "in {worktree}", "{files}")


def test_a_gate_is_told_what_a_tool_is_told(bench: Bench) -> None:
    show = GateSpec(command=("printf", "%s\\n", *WORDS))
    about = {
        "role": "exit",
        "label": "core/do",
        "prompt": "Tidy {files} up",
        "feedback": "lint failed",
        "attempt": 2,
        "scope": ("b*", "a.txt"),
    }
    assert bench.judge_for(about, ["show"], show=show).passed
    where = f"in {bench.sandbox.path}"
    assert bench.told() == [
        *("core/do", "2", "Tidy {files} up", "lint failed", "/plans", where),
        *("a.txt", "b.txt"),
    ]


def test_a_gate_of_a_workstream_knows_of_no_task(bench: Bench) -> None:
    show = GateSpec(command=("printf", "<%s>\\n", *WORDS))
    assert bench.judge(["show"], show=show).passed
    where = f"<in {bench.sandbox.path}>"
    assert bench.told() == ["<core>", "<>", "<>", "<>", "</plans>", where]
