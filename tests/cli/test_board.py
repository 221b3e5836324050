"""What the progress display says of things that happen."""

from pathlib import Path
from typing import Any

import pytest

from pipeline_defs.cli.board import Board
from state.store import StateStore


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        ({"exit_code": 3}, "advisory gate style failed: exit code 3"),
        (
            {"exit_code": 124, "timed_out": True, "trigger": "timeout_exceeded"},
            "advisory gate style failed: deadline exceeded",
        ),
    ],
)
def test_a_failed_advisory_gate_is_told_with_how_it_ended(
    tmp_path: Path, ending: dict[str, Any], said: str
) -> None:
    with StateStore.open(f"sqlite:///{tmp_path / 'pipeline.db'}") as store:
        run_id = store.create("run", plan="small", target="main").run_id
        ws_id = store.create("workstream", run_id=run_id, slug="a", position=0).ws_id
        task_id = store.create("task", workstream_id=ws_id, slug="one", position=0).task_id
        board = Board(store, run_id)
        gate = store.create(
            "test_gate",
            name="style",
            gate_type="LINT",
            command=["style"],
            run_id=run_id,
            workstream_id=ws_id,
            task_id=task_id,
            blocking=False,
        )
        store.transition("test_gate", gate.gate_id, "RUNNING")
        assert board.update() == []
        store.transition("test_gate", gate.gate_id, "FAILED", **ending)
        (line,) = board.update()
        assert (line.name, line.text, line.bad) == ("a/one", said, True)
