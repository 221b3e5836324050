"""Many processes put patches on one branch while a person pushes to the target."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline_defs.revisions import Revision
from pipeline_defs.runs import Launch, open_run
from resources.execution.workstream_path import Landed, WorkstreamPath
from state.landed import landings
from state.store import StateStore
from tests import postgres
from tests.pipeline.lab import Lab, make_repository, stream, task
from tests.pipeline.landing_process import open_session

ROOT = Path(__file__).parents[2]
TOO_LONG = 600.0


@contextmanager
def a_person_pushing(lab: Lab) -> Iterator[list[str]]:
    """Somebody commits to `main` all the time; gives the commits."""
    made: list[str] = []
    done = threading.Event()

    def push() -> None:
        while not done.wait(0.5):
            head = lab.head()
            tree = lab.git("rev-parse", f"{head}^{{tree}}")
            commit = lab.git("commit-tree", "-p", head, "-m", "a person's", tree)
            lab.git("update-ref", "refs/heads/main", commit, head)
            made.append(commit)

    thread = threading.Thread(target=push)
    thread.start()
    try:
        yield made
    finally:
        done.set()
        thread.join()


def processes(lab: Lab, url: str, revision: Revision, run_id: str, shares: list[list[str]]) -> None:
    """Execute each share of the tasks in a process of its own, all at once."""
    common = [str(lab.home.root), url, str(revision.path), str(revision.source), run_id]
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.pipeline.landing_process", *common, *share],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for share in shares
    ]
    told = [process.communicate(timeout=TOO_LONG)[1] for process in started]
    assert [process.returncode for process in started] == [0] * len(shares), "\n".join(told)


def land_from(lab: Lab, url: str, landers: int, patches: int) -> None:
    make_repository(lab.repo)
    lab.git("checkout", "-q", "--detach")
    names = [f"t{number}" for number in range(landers * patches)]
    tasks = [task(name, f"echo {name} > {name}.txt") for name in names]
    revision = lab.register(stream("core", *tasks))
    with StateStore.open(url, events=lab.home.events) as store:
        row = open_run(store, lab.home, Launch(revision))
        store.transition("run", row.run_id, "running")
        session = open_session(lab.home, store, revision, row.run_id, 30.0)
        ws_id = session.workstream_id("core")
        assert ws_id is not None
        assert WorkstreamPath(session).open(ws_id)
        shares = [[f"core/{name}" for name in names[one::landers]] for one in range(landers)]
        with a_person_pushing(lab) as persons:
            processes(lab, url, revision, row.run_id, shares)
            landed = WorkstreamPath(session).land(ws_id, session.spec.workstreams["core"])
        session.close()
        assert isinstance(landed, Landed)
        assert_all_there(lab, store, ws_id, names, persons)


def assert_all_there(
    lab: Lab, store: StateStore, ws_id: str, names: list[str], persons: list[str]
) -> None:
    stream_row = store.get("workstream", ws_id)
    entries = landings(store, ws_id)
    assert len(entries) == len(names)
    assert {entry.state for entry in entries} == {"committed"}
    span = f"{stream_row.base_commit}..{stream_row.head_commit}"
    chain = lab.git("rev-list", "--first-parent", "--reverse", span).split()
    assert [lab.git("rev-parse", f"{commit}^") for commit in chain] == [
        stream_row.base_commit,
        *chain[:-1],
    ]
    assert sorted(chain) == sorted(entry.commit_sha for entry in entries)
    for entry in entries:
        assert entry.base_commit == lab.git("rev-parse", f"{entry.commit_sha}^")
    history = lab.git("rev-list", "main").split()
    assert {*chain, *persons} <= set(history)
    assert {f"{name}.txt" for name in names} <= set(lab.files())
    assert not lab.git("fsck", "--strict", "--no-dangling")
    assert not lab.git("for-each-ref", "refs/patchline/landing", "refs/heads/patchline")


@pytest.fixture
def url(request: pytest.FixtureRequest, lab: Lab) -> Iterator[str]:
    lab.home.root.mkdir(exist_ok=True)
    if request.param == "sqlite":
        yield lab.home.database_url
        return
    with postgres.database() as address:
        yield address


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
def test_patches_of_several_processes_land_once_each_on_one_branch(lab: Lab, url: str) -> None:
    land_from(lab, url, landers=3, patches=3)


@pytest.mark.skipif(
    os.environ.get("PATCHLINE_LONG_TESTS") != "1",
    reason="300 patches by 16 processes; set PATCHLINE_LONG_TESTS=1 to run it",
)
@pytest.mark.timeout(TOO_LONG)
@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
def test_sixteen_processes_land_three_hundred_patches(lab: Lab, url: str) -> None:
    land_from(lab, url, landers=16, patches=19)
