"""Run a plan to its end as the command line does, for a process of its own."""

from pathlib import Path

from pipeline_defs.launch import execute_run
from pipeline_defs.plan.loader import load_plan
from pipeline_defs.revisions import register
from pipeline_defs.runs import Launch, open_run
from state.home import Home
from state.store import StateStore


def run_a_plan(plan: Path, repo: Path) -> int:
    """Run it on the home that the environment names; prints the run's id, gives an exit code."""
    home = Home.find()
    revision = register(home, load_plan(plan))
    launch = Launch(revision, repo=str(repo))
    with StateStore.open(home.database_url, events=home.events) as store:
        run = open_run(store, home, launch)
    succeeded = execute_run(home, revision, run.run_id, launch=launch)
    print(run.run_id)
    return 0 if succeeded else 1
