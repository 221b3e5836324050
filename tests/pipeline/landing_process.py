"""Executes some of the tasks of a run that other processes work on too, as executors do."""

import sys
import threading
from pathlib import Path

from pipeline_defs.orders import run_spec
from pipeline_defs.revisions import Revision, open_revision
from resources.execution.outcomes import Completed, Retry
from resources.execution.session import RunSession
from resources.execution.task_path import TaskPath
from resources.git.repository import Repository
from state.home import Home
from state.store import StateStore

THREADS = 2


def open_session(
    home: Home, store: StateStore, revision: Revision, run_id: str, lease_sec: float
) -> RunSession:
    """A session of this process on the run."""
    repository = Repository.open(Path(store.get("run", run_id).repo), home.root)
    spec = run_spec(revision.plan, revision.source.parent)
    stop = threading.Event()
    return RunSession(store, home, repository, run_id, spec, stop, lease_sec=lease_sec)


def execute(
    home: Home,
    database_url: str,
    revision: Revision,
    run_id: str,
    names: list[str],
    lease_sec: float = 30.0,
) -> None:
    """Bring the named tasks to their end, a few at a time."""
    with StateStore.open(database_url, events=home.events) as store:
        session = open_session(home, store, revision, run_id, lease_sec)
        path = TaskPath(session)
        shares = [names[place::THREADS] for place in range(THREADS)]

        def work(share: list[str]) -> None:
            for name in share:
                spec, (workstream, slug) = session.spec.tasks[name], name.split("/")
                task_id = session.task_id(workstream, slug)
                assert task_id is not None
                while isinstance(outcome := path.run(task_id, spec), Retry):
                    session.interrupted.wait(outcome.delay)
                assert isinstance(outcome, Completed), outcome

        threads = [threading.Thread(target=work, args=(share,)) for share in shares]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        session.close()


if __name__ == "__main__":
    place, url, plan, source, run, *tasks = sys.argv[1:]
    execute(Home.at(Path(place)), url, open_revision(Path(plan), source), run, tasks)
