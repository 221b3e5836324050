"""Taking up a run that another process may have: who comes second changes nothing."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from pipeline_defs.cli.execution import execute_and_report
from pipeline_defs.cli.run_lock import executing
from pipeline_defs.dagster_home import dagster_instance
from pipeline_defs.plan.loader import load_plan
from pipeline_defs.revisions import Revision, register
from pipeline_defs.runs import RUN_TAG
from state.errors import PreflightError
from state.store import StateStore
from tests.cli.shell import Shell


@dg.job
def nothing() -> None:
    """A job for Dagster's record of a run."""


class HalfWay:
    """A home with a run that a process had begun, recorded by Dagster as started."""

    def __init__(self, shell: Shell, store: StateStore) -> None:
        self.home, self.store = shell.home, store
        self.revision: Revision = register(self.home, load_plan(shell.plan()))
        run_id = store.create("run", plan="small", repo=str(shell.repo), target="main").run_id
        store.transition("run", run_id, "running")
        self.run = store.get("run", run_id)
        with dagster_instance(self.home) as instance:
            started = dg.DagsterRunStatus.STARTED
            instance.create_run_for_job(nothing, status=started, tags={RUN_TAG: run_id})

    def resume(self) -> int:
        return execute_and_report(
            self.store, self.home, self.revision, self.run, as_json=True, resumed=True
        )

    def dagster_statuses(self) -> list[str]:
        with dagster_instance(self.home) as instance:
            return [run.status.value for run in instance.get_runs()]


@pytest.fixture
def half_way(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Iterator[HalfWay]:
    for name in ("DAGSTER_HOME", "PATCHLINE_HOME"):  # taken back after the test
        monkeypatch.setenv(name, "unset")
    with StateStore.open(shell.home.database_url, events=shell.home.events) as store:
        yield HalfWay(shell, store)


def test_dagsters_run_of_a_living_process_is_left_alone(half_way: HalfWay) -> None:
    with executing(half_way.home, half_way.run.run_id), pytest.raises(PreflightError):
        half_way.resume()
    assert half_way.dagster_statuses() == ["STARTED"]


def test_a_run_that_ended_meanwhile_is_reported_and_not_begun_again(
    half_way: HalfWay, capfd: Any
) -> None:
    half_way.store.transition("run", half_way.run.run_id, "failed", reason="no task was left")
    assert half_way.resume() == 1
    assert '"state": "failed"' in capfd.readouterr().out
    assert len(half_way.store.find("run")) == 1
    assert half_way.dagster_statuses() == ["STARTED"]
