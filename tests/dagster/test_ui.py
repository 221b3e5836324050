"""What a person sees in the Dagster UI, in a real browser."""

from collections.abc import Iterator
from typing import Any

import pytest

from state.store import StateStore
from tests.dagster.browser import browser_page, missing, open_job, open_run, required
from tests.dagster.conftest import TASKS, World

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    why = missing()
    if why and required():
        pytest.fail(f"the browser tests are required here, but {why}")
    if why:
        pytest.skip(why)
    with browser_page(1500, 1100) as opened:
        yield opened


@pytest.fixture(scope="module")
def dagster_run_id(page: Any, world: World) -> str:
    """A run of the command line. Asks for the page first: without one there is nothing to do."""
    run_id = world.run_from_the_command_line("letters", world.fresh_repository("seen"))
    store = StateStore.open(world.home.database_url, events=world.home.events)
    try:
        return store.get("run", run_id).dagster_run_id
    finally:
        store.close()


def test_the_page_of_a_run_shows_its_tasks_and_leads_to_its_job(
    page: Any, world: World, dagster_run_id: str
) -> None:
    open_run(page, world.deployment.url, dagster_run_id, "left_hand.first_line")
    for task in sorted(TASKS):
        page.locator(f"text={task}").first.wait_for(state="attached")
    assert "Success" in page.inner_text("body")
    page.get_by_role("link", name="letters").first.click()
    page.wait_for_url("**/locations/patchline/jobs/letters**")


def test_the_jobs_page_shows_every_task_in_its_graph(page: Any, world: World) -> None:
    open_job(page, world.deployment.url, "letters", "left_hand.first_line")
    for task in sorted(TASKS):
        page.locator(f"text={task}").first.wait_for(state="attached")
    shown = page.inner_text("body")
    assert "Write letters" in shown
    assert "The left hand: 2 tasks" in shown


def test_the_jobs_list_of_runs_has_the_run_of_the_command_line(
    page: Any, world: World, dagster_run_id: str
) -> None:
    page.goto(f"{world.deployment.url}/locations/patchline/jobs/letters/runs")
    page.get_by_text(dagster_run_id[:8]).first.wait_for()


def test_nobody_is_asked_for_a_mail_address(page: Any, world: World) -> None:
    page.goto(f"{world.deployment.url}/jobs")
    page.get_by_text("letters").first.wait_for()
    assert "newsletter" not in page.inner_text("body")
