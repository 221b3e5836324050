"""What lands has the tree that its gates judged, or it does not land."""

from dataclasses import replace
from typing import Any

import pytest

from resources.gates import GateRunner, Subject
from tests.pipeline.lab import Lab, make_repository, stream, task


@pytest.mark.parametrize("role", ["exit", "workstream"])
def test_gates_that_judged_another_tree_let_nothing_land(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    make_repository(lab.repo)
    before, other = lab.head(), lab.git("rev-parse", "main^{tree}")
    judge = GateRunner.judge

    def elsewhere(self: GateRunner, names: Any, subject: Subject, *more: Any) -> Any:
        if subject.role == role:
            subject = replace(subject, tree=other)
        return judge(self, names, subject, *more)

    monkeypatch.setattr(GateRunner, "judge", elsewhere)
    ran = lab.run(stream("core", task("one", "echo more >> a.txt")))
    assert ran.state == "failed"
    assert lab.head() == before
    if role == "exit":
        assert "LandedTreeMismatch" in ran.task("core/one").reason
        assert [entry.state for entry in ran.ledger()] == ["dropped"]
    else:
        assert "nothing landed" in ran.workstream("core").reason
