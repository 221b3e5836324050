"""What a Dagster job can set of how its runs land."""

from datetime import timedelta
from pathlib import Path

import pydantic
import pytest

from resources.configurable import (
    GateRunnerResource,
    GitRepositoryResource,
    RunSessionResource,
    StateMachineResource,
    ToolRunnerResource,
    WorkerPoolResource,
)
from resources.landing.turns import LEASE_SEC, SHORTEST_LEASE_SEC
from resources.specs import PolicySpec, RunSpec
from state import leases
from state.clock_and_ids import parse_timestamp
from tests.resources.gitbox import GitBox

SPEC = RunSpec(
    plan="trial",
    plan_dir="",
    policy=PolicySpec(),
    gates={},
    workstreams={},
    tasks={},
    capabilities=frozenset(),
    max_concurrent=1,
)


@pytest.mark.parametrize(
    ("workers", "seconds"),
    [(WorkerPoolResource(), LEASE_SEC), (WorkerPoolResource(lease_sec=7.5), 7.5)],
)
def test_a_lease_lasts_as_long_as_the_job_says(
    tmp_path: Path, workers: WorkerPoolResource, seconds: float
) -> None:
    box, home = GitBox(tmp_path), tmp_path / "home"
    state = StateMachineResource(home=str(home))
    store = state.store()
    run = store.create("run", repo=str(box.path), base_commit=box.head())
    resource = RunSessionResource(
        state=state,
        git=GitRepositoryResource(home=str(home)),
        tools=ToolRunnerResource(),
        gates=GateRunnerResource(),
        workers=workers,
    )
    session = resource.session("a dagster run", lambda: (run, SPEC))
    with session.turns.turn("main"):
        name = str(session.repository.git_dir)
        (held,) = store.look(lambda connection: leases.held_in(connection, name))
    session.close()
    store.close()
    lasts = parse_timestamp(held.expires_at) - parse_timestamp(held.acquired_at)
    assert lasts == timedelta(seconds=seconds)


def test_a_lease_that_nobody_could_renew_in_time_is_refused() -> None:
    assert WorkerPoolResource(lease_sec=SHORTEST_LEASE_SEC).lease_sec == SHORTEST_LEASE_SEC
    with pytest.raises(pydantic.ValidationError, match="lease_sec"):
        WorkerPoolResource(lease_sec=SHORTEST_LEASE_SEC / 2)
