"""Run a plan to its end in a process of its own, as the command line does.

`python run_a_plan.py PLAN REPO`, on the home that the environment names. Prints the run's id.
"""

import sys
from pathlib import Path

from pipeline_defs.launch import execute_run
from pipeline_defs.plan.loader import load_plan
from pipeline_defs.revisions import register
from pipeline_defs.runs import Launch, open_run
from state.home import Home
from state.store import StateStore

if __name__ == "__main__":
    plan, repo = sys.argv[1:]
    home = Home.find()
    revision = register(home, load_plan(Path(plan)))
    store = StateStore.open(home.database_url, events=home.events)
    launch = Launch(revision, repo=repo)
    run = open_run(store, home, launch)
    store.close()
    succeeded = execute_run(home, revision, run.run_id, launch=launch)
    sys.stdout.write(f"{run.run_id}\n")
    sys.exit(0 if succeeded else 1)
