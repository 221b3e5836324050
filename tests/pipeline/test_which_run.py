"""Which run of ours an op belongs to, also when Dagster executes a run again."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from pipeline_defs.runs import RUN_TAG, find_run
from state.errors import EntityNotFoundError
from state.store import StateStore

FIRST, SECOND, THIRD = (f"{n}0000000-0000-4000-8000-000000000000" for n in "123")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    with StateStore.open(f"sqlite:///{tmp_path / 'pipeline.db'}") as opened:
        yield opened


def again(run_id: str, parent: str, **tags: str) -> dg.DagsterRun:
    """A run that Dagster made of `parent`, which goes back to FIRST."""
    tags = {RUN_TAG: tags["ours"]} if tags else {}
    return dg.DagsterRun(
        job_name="plan", run_id=run_id, parent_run_id=parent, root_run_id=FIRST, tags=tags
    )


def test_a_run_executed_again_and_again_still_belongs_to_the_first(store: StateStore) -> None:
    ours = store.create("run", dagster_run_id=FIRST).run_id
    assert find_run(store, again(SECOND, FIRST)).run_id == ours
    assert find_run(store, again(THIRD, SECOND)).run_id == ours
    assert find_run(store, again(THIRD, SECOND, ours=ours)).run_id == ours


def test_the_nearest_run_counts_and_not_the_first_of_all(store: StateStore) -> None:
    store.create("run", dagster_run_id=FIRST)
    nearer = store.create("run").run_id
    assert find_run(store, again(THIRD, SECOND, ours=nearer)).run_id == nearer
    nearest = store.create("run", dagster_run_id=THIRD).run_id
    assert find_run(store, again(THIRD, SECOND, ours=nearer)).run_id == nearest


def test_a_run_of_somebody_else_is_none_of_ours(store: StateStore) -> None:
    store.create("run", dagster_run_id=FIRST)
    with pytest.raises(EntityNotFoundError):
        find_run(store, dg.DagsterRun(job_name="plan", run_id=SECOND))
