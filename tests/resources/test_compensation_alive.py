"""A compensation at work is somebody's: who takes its run over must not take it for a leftover."""

import os
import time
from functools import partial
from pathlib import Path

import pytest

from resources.execution.recovery import Recovery
from resources.specs import Compensation, CompensationAction
from state.errors import PreflightError
from state.machines import MACHINES
from tests.forks import fork
from tests.resources.landed import Landed

HERE = Path(__file__).parents[2]
DEADLINE_SEC = 30.0


def make_up(folder: Path, run_id: str, spec: str) -> int:
    """What the other process does: what the first op of a run in the Dagster UI does."""
    from resources.execution.stopping import stop_signal
    from resources.git.repository import Repository
    from resources.rollback.manager import RollbackManager
    from resources.specs import RunSpec
    from state.home import Home
    from state.store import StateStore

    home, followed = Home.at(folder / "home"), RunSpec.model_validate_json(spec)
    with StateStore.open(home.database_url, events=home.events) as store:
        repository = Repository.open(folder / "repo", home.root)
        stop = stop_signal("test")
        manager = RollbackManager(store, home, repository, run_id, lambda _: followed, stop)
        (report,) = manager.make_up_for_failures()
    return 0 if report.outcome == "done" else 1


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + DEADLINE_SEC
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.01)


def test_its_run_is_not_taken_over_and_its_command_not_killed(tmp_path: Path) -> None:
    landed = Landed(tmp_path)
    began, go = tmp_path / "began", tmp_path / "go"
    waits = f"touch {began}; while ! test -e {go}; do sleep 0.02; done"
    act = Compensation(action=CompensationAction.COMMAND, command=("sh", "-c", waits))
    landed.stream("bad", f"patchline/{landed.run_id}/bad")
    landed.patch("one", {"1.txt": "1\n"}, act)
    landed.store.transition("workstream", landed.ws_id, "failed", reason="it broke")
    program = partial(make_up, tmp_path, landed.run_id, landed.spec().model_dump_json())
    process = fork(program, HERE, os.environ, tmp_path / "out", tmp_path / "err")
    wait_for(began)
    recovery = Recovery(landed.store, landed.home, landed.repository, landed.run_id)
    with pytest.raises(PreflightError, match=rf"is being executed by process {process.pid}"):
        recovery.take_over()
    go.touch()
    process.join(DEADLINE_SEC)
    assert process.exitcode == 0, (tmp_path / "err").read_text()
    (action,) = landed.store.find("compensation_action")
    assert (action.status, action.attempts) == ("done", 1)
    workers = landed.store.find("worker")
    assert {row.state for row in workers} <= MACHINES["worker"].terminal
    recovery.take_over()
    landed.store.close()
