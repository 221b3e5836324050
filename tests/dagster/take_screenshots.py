"""Take the pictures in docs/images anew: `python -m tests.dagster.take_screenshots`.

Runs the example plan from the command line on a home of its own, starts the Dagster UI on it, and
photographs the run and the job. Needs chromium and the development environment.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from state.home import Home
from state.store import StateStore
from tests.dagster.browser import browser_page, keep, missing, open_job, open_run, show_times
from tests.dagster.deployment import BIN, HOUSE, Deployment, environment

IMAGES = HOUSE / "docs" / "images"
PLANS = HOUSE / "examples" / "plans"
RUN_SIZE, JOB_SIZE = (2100, 1180), (1500, 1100)
GANTT_ZOOM = 4


def run_the_example(home: Home) -> str:
    """Run the example plan as `make run` does; the id of its Dagster run."""
    command = [str(BIN / "patchline"), "run", str(PLANS / "modernise.yaml")]
    subprocess.run(command, env=environment(home.root, PLANS), check=True)
    store = StateStore.open(home.database_url, events=home.events)
    try:
        return store.find("run")[-1].dagster_run_id
    finally:
        store.close()


def take(url: str, dagster_run_id: str) -> None:
    """Both pictures; the run's is wide, so that the names fit into their bars."""
    with browser_page(*RUN_SIZE) as page:
        open_run(page, url, dagster_run_id, "core.imports")
        show_times(page, GANTT_ZOOM)
        keep(page, IMAGES / "run.png")
    with browser_page(*JOB_SIZE) as page:
        open_job(page, url, "modernise", "core.imports")
        keep(page, IMAGES / "job.png")


def main() -> int:
    """Make the home, take the pictures, remove the home."""
    if why := missing():
        sys.stderr.write(f"cannot take screenshots: {why}\n")
        return 3
    folder = Path(tempfile.mkdtemp(prefix="patchline-screenshots-"))
    home = Home.at(folder / "home")
    home.root.mkdir()
    deployment = Deployment(home.root, PLANS)
    try:
        dagster_run_id = run_the_example(home)
        deployment.start()
        take(deployment.url, dagster_run_id)
    finally:
        deployment.stop()
        shutil.rmtree(folder)
    sys.stdout.write(f"wrote {IMAGES / 'run.png'} and {IMAGES / 'job.png'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
