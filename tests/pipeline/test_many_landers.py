"""Many processes put patches on one branch while a person pushes to the target."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline_defs.past_runs import spec_of_run
from pipeline_defs.revisions import Revision
from pipeline_defs.runs import Launch, open_run
from resources.audit.verdict import verify
from resources.execution.workstream_merge import Landed
from resources.execution.workstream_path import WorkstreamPath
from resources.proof.of_commit import prove_commit, reading_repository
from state.landed import landings
from state.store import StateStore
from tests import postgres
from tests.pipeline.lab import Lab, make_repository, stream, task
from tests.pipeline.landing_process import open_session
from tests.pipeline.person import Person

ROOT = Path(__file__).parents[2]
TOO_LONG = 600.0
LONG = pytest.mark.skipif(
    os.environ.get("PATCHLINE_LONG_TESTS") != "1",
    reason="300 patches by 16 processes; set PATCHLINE_LONG_TESTS=1 to run it",
)


@pytest.fixture
def url(request: pytest.FixtureRequest, lab: Lab) -> Iterator[str]:
    lab.home.root.mkdir(exist_ok=True)
    if request.param == "sqlite":
        yield lab.home.database_url
        return
    with postgres.database() as address:
        yield address


@pytest.fixture
def person(lab: Lab) -> Person:
    make_repository(lab.repo)
    lab.git("checkout", "-q", "--detach")
    return Person(lab)


def start(lab: Lab, store: StateStore, revision: Revision) -> str:
    """A run of the plan that is under way; says its id."""
    run_id = open_run(store, lab.home, Launch(revision)).run_id
    store.transition("run", run_id, "running")
    return run_id


def processes(
    lab: Lab, url: str, revision: Revision, run_id: str, shares: Sequence[Sequence[str]]
) -> None:
    """Execute each share of the run in a process of its own, all at once."""
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


def trees_of(lab: Lab) -> dict[str, str]:
    """The tree of each commit on main."""
    lines = lab.git("log", "--format=%H %T", "main").splitlines()
    return dict(line.split() for line in lines)


def assert_no_move_was_undone(lab: Lab) -> None:
    """Everything that main has ever been at is on it, in that order."""
    moves = lab.git("reflog", "show", "--format=%H", "main").split()[::-1]
    chain = lab.git("rev-list", "--first-parent", "--reverse", "main").split()
    assert [commit for commit in chain if commit in set(moves)] == moves


def assert_undamaged(lab: Lab, store: StateStore) -> None:
    """Git, the history, and what is left behind."""
    assert not lab.git("fsck", "--strict", "--no-dangling")
    assert not lab.git("for-each-ref", "refs/patchline/landing", "refs/heads/patchline")
    verdict = verify(store)
    assert verdict.intact, verdict.problems


# -- patches of one workstream, on its branch --------------------------------------------------


def land_on_a_workstreams_branch(
    lab: Lab, url: str, person: Person, landers: int, patches: int
) -> None:
    names = [f"t{number}" for number in range(landers * patches)]
    tasks = [task(name, f"echo {name} > {name}.txt") for name in names]
    revision = lab.register(stream("core", *tasks))
    with StateStore.open(url, events=lab.home.events) as store:
        run_id = start(lab, store, revision)
        session = open_session(lab.home, store, revision, run_id)
        ws_id = session.workstream_id("core")
        assert ws_id is not None
        assert WorkstreamPath(session).open(ws_id)
        shares = [[f"core/{name}" for name in names[one::landers]] for one in range(landers)]
        with person.pushing_all_the_time():
            processes(lab, url, revision, run_id, shares)
            landed = WorkstreamPath(session).land(ws_id, session.spec.workstreams["core"])
        session.close()
        assert isinstance(landed, Landed)
        assert_one_after_another(lab, store, ws_id, names)
        assert set(person.pushed) <= set(lab.git("rev-list", "main").split())
        assert_no_move_was_undone(lab)
        assert_undamaged(lab, store)


def assert_one_after_another(lab: Lab, store: StateStore, ws_id: str, names: list[str]) -> None:
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
    assert set(chain) <= set(lab.git("rev-list", "main").split())
    assert {f"{name}.txt" for name in names} <= set(lab.files())


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
def test_patches_of_several_processes_land_once_each_on_one_branch(
    lab: Lab, url: str, person: Person
) -> None:
    land_on_a_workstreams_branch(lab, url, person, landers=3, patches=3)


@LONG
@pytest.mark.timeout(TOO_LONG)
@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
def test_sixteen_processes_land_three_hundred_patches(lab: Lab, url: str, person: Person) -> None:
    land_on_a_workstreams_branch(lab, url, person, landers=16, patches=19)


# -- patches of workstreams of their own, on the target -----------------------------------------


def land_on_the_target(lab: Lab, url: str, person: Person, landers: int, patches: int) -> None:
    """Each patch is a workstream of its own; the last of each process waits for the person."""
    names = [f"w{number}" for number in range(landers * patches)]
    wait = f"until [ -e '{person.waited_for}' ]; do sleep 0.02; done; "
    last = set(names[-landers:])
    streams = [
        stream(name, task("do", f"{wait if name in last else ''}echo {name} > {name}.txt"))
        for name in names
    ]
    revision = lab.register(*streams)
    with StateStore.open(url, events=lab.home.events) as store:
        run_id = start(lab, store, revision)
        with person.pushing_after_others():
            processes(lab, url, revision, run_id, [names[one::landers] for one in range(landers)])
        assert store.get("run", run_id).state == "succeeded"
        assert_on_the_target_once(lab, store, run_id, names)
        assert_pushes_are_there(lab, person)
        assert_landed_as_judged(lab, store, run_id)
        assert_no_move_was_undone(lab)
        assert_undamaged(lab, store)


def assert_on_the_target_once(lab: Lab, store: StateStore, run_id: str, names: list[str]) -> None:
    entries = store.find("patch_ledger", run_id=run_id)
    assert len(entries) == len(names)
    assert {entry.state for entry in entries} == {"committed"}
    form = "--format=%(trailers:key=Patchline-Ledger,valueonly,separator=%x20)"
    told = lab.git("log", form, "main").split()
    assert sorted(told) == sorted(entry.ledger_id for entry in entries)
    assert {f"{name}.txt" for name in names} <= set(lab.files())


def assert_pushes_are_there(lab: Lab, person: Person) -> None:
    """Every commit of the person, whole; at least one lies between two landings."""
    history = lab.git("rev-list", "--first-parent", "--reverse", "main").split()
    places = [history.index(commit) for commit in person.pushed]
    assert places
    assert places == sorted(places)
    assert 1 < places[0] < len(history) - 1
    for number, commit in enumerate(person.pushed):
        assert lab.git("diff", "--name-only", f"{commit}^", commit) == f"person-{number}.txt"
    assert {f"person-{number}.txt" for number in range(len(places))} <= set(lab.files())


def assert_landed_as_judged(lab: Lab, store: StateStore, run_id: str) -> None:
    """Each patch and each merge has the tree that its gates passed on, and can be proved."""
    trees = trees_of(lab)
    for entry in store.find("patch_ledger", run_id=run_id):
        gates = store.find("test_gate", ledger_id=entry.ledger_id)
        assert passed_on(gates) == {trees[entry.commit_sha]} == {entry.candidate_tree}
    streams = store.find("workstream", run_id=run_id)
    for row in streams:
        gates = store.find("test_gate", workstream_id=row.ws_id, role="workstream")
        assert passed_on(gates[-1:]) == {trees[row.merge_commit]}
    landed = {row.merge_commit for row in streams}
    landed |= {entry.commit_sha for entry in store.find("patch_ledger", run_id=run_id)}
    with reading_repository(lab.repo) as repository:
        for commit in landed:
            proof = prove_commit(
                store, repository, commit, lambda run: spec_of_run(store, lab.home, run)
            )
            assert proof.verified, proof


def passed_on(gates: Sequence[Any]) -> set[str]:
    assert {gate.state for gate in gates} == {"PASSED"}
    return {gate.tree for gate in gates}


@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
def test_patches_land_once_each_on_the_branch_that_a_person_pushes_to(
    lab: Lab, url: str, person: Person
) -> None:
    land_on_the_target(lab, url, person, landers=3, patches=3)


@LONG
@pytest.mark.timeout(TOO_LONG)
@pytest.mark.parametrize("url", ["sqlite", "postgresql"], indirect=True)
def test_sixteen_processes_and_a_person_share_one_branch(
    lab: Lab, url: str, person: Person
) -> None:
    land_on_the_target(lab, url, person, landers=16, patches=19)
