"""Executes a part of a run that other processes work on too, as executors do.

Named `stream/task` it brings a task to its end; named `stream`, a workstream onto the target.
"""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline_defs.orders import run_spec
from pipeline_defs.revisions import Revision, open_revision
from resources.execution.outcomes import Completed, Retry
from resources.execution.session import RunSession
from resources.execution.task_path import TaskPath
from resources.execution.workstream_merge import Landed
from resources.execution.workstream_path import WorkstreamPath
from resources.git.repository import Repository
from state.home import Home
from state.store import StateStore

THREADS = 2


def open_session(
    home: Home, store: StateStore, revision: Revision, run_id: str, lease_sec: float = 30.0
) -> RunSession:
    """A session of this process on the run."""
    repository = Repository.open(Path(store.get("run", run_id).repo), home.root)
    spec = run_spec(revision.plan, revision.source.parent)
    stop = threading.Event()
    return RunSession(store, home, repository, run_id, spec, stop, lease_sec=lease_sec)


def finish_task(session: RunSession, path: TaskPath, name: str) -> None:
    """Bring `stream/task` to its end."""
    workstream, slug = name.split("/")
    task_id = session.task_id(workstream, slug)
    assert task_id is not None
    while isinstance(outcome := path.run(task_id, session.spec.tasks[name]), Retry):
        session.interrupted.wait(outcome.delay)
    assert isinstance(outcome, Completed), outcome


def finish_workstream(session: RunSession, path: TaskPath, name: str) -> None:
    """Open a workstream, bring its tasks to their ends, and land it."""
    ws_id, streams = session.workstream_id(name), WorkstreamPath(session)
    assert ws_id is not None
    assert streams.open(ws_id)
    for task in session.spec.tasks:
        if task.startswith(f"{name}/"):
            finish_task(session, path, task)
    landed = streams.land(ws_id, session.spec.workstreams[name])
    assert isinstance(landed, Landed), landed


def execute(
    home: Home, database_url: str, revision: Revision, run_id: str, names: list[str]
) -> None:
    """Bring the named tasks or workstreams to their end, a few at a time."""
    with StateStore.open(database_url, events=home.events) as store:
        session = open_session(home, store, revision, run_id)
        path = TaskPath(session)
        shares = [names[place::THREADS] for place in range(THREADS)]

        def work(share: list[str]) -> None:
            for name in share:
                finish = finish_task if "/" in name else finish_workstream
                finish(session, path, name)

        with ThreadPoolExecutor(THREADS) as threads:
            for _ in threads.map(work, shares):
                pass  # or raise what has gone wrong there
        session.close()


if __name__ == "__main__":
    place, url, plan, source, run, *share = sys.argv[1:]
    execute(Home.at(Path(place)), url, open_revision(Path(plan), source), run, share)
