"""A rollback whose process dies at any moment: asked again, it is finished, and once."""

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from resources.patches.ledger import UNLANDED
from resources.rollback.report import RollbackReport
from resources.specs import Compensation, CompensationAction
from state.crash_points import arm
from state.errors import CompensationFailedError
from state.machines import MACHINES
from tests.forks import fork
from tests.resources.landed import LINES, Landed, changed

HERE = Path(__file__).parents[2]
RECORDING = (
    "compensation-planned",
    "compensation-begun",
    "compensation-begun:2",
    "compensation-begun:3",
    "compensation-command-started",
    "compensation-done",
    "compensation-recorded",
    "compensation-recorded:2",
    "compensation-actions-ended",
)
LANDING = (
    "revert-carried:6",
    "revert-recorded",
    "patch-applied",
    "gate-started",
    "gates-passed",
    "commit-written",
    "landing-intended",
    "target-moved",
    "branch-moved",
    "patch-committed",
    "turn-over",
)
COMMAND = ("compensation-command-started", "compensation-done")
"""Moments at which a command has begun, or ended, and nobody has written down how."""


@pytest.fixture
def landed(tmp_path: Path) -> Iterator[Landed]:
    made = Landed(tmp_path)
    yield made
    made.store.close()


def dying(landed: Landed, point: str, entry: Any) -> int | None:
    """Roll an entry back in a process that dies at a point; how it ended."""
    spec = landed.spec().model_dump_json()
    program = partial(roll_back, landed.folder, landed.run_id, spec, entry.ledger_id, point)
    process = fork(program, HERE, os.environ, landed.folder / "out", landed.folder / "err")
    process.join(60)
    return process.exitcode


def roll_back(folder: Path, run_id: str, spec: str, ledger_id: str, point: str) -> int:
    """What the dying process does."""
    from resources.execution.stopping import stop_signal
    from resources.git.repository import Repository
    from resources.rollback.manager import RollbackManager
    from resources.specs import RunSpec
    from state.home import Home
    from state.store import StateStore

    home, followed = Home.at(folder / "home"), RunSpec.model_validate_json(spec)
    with StateStore.open(home.database_url, events=home.events) as store:
        repository = Repository.open(folder / "repo", home.root)
        manager = RollbackManager(
            store, home, repository, run_id, lambda _: followed, stop_signal("test")
        )
        manager.take_over()
        arm(point)
        manager.roll_back(ledger_id, reason="it is bad", operator="ann", cascade=True)
    return 0


def again(landed: Landed, entry: Any) -> RollbackReport:
    """Ask again, as the command does."""
    manager = landed.manager()
    manager.take_over()
    return manager.roll_back(entry.ledger_id, reason="other words", operator="bob", cascade=True)


def assert_taken_back_once(landed: Landed, *entries: Any) -> None:
    """One commit, one committed revert, nothing half-way, a checkout that shows it."""
    newest = max(entries, key=lambda entry: entry.committed_at)
    assert landed.box.git("rev-list", "--count", f"{newest.commit_sha}..main") == "1"
    assert landed.show("a.txt") == LINES
    assert landed.box.git("status", "--porcelain") == ""
    rows = landed.store.find("patch_ledger")
    assert not [row for row in rows if row.state in UNLANDED]
    assert not [row for row in rows if row.state == "quarantined"], "nobody has refused anything"
    (revert,) = [row for row in rows if row.state == "committed"]
    assert revert.commit_sha == landed.box.head()
    gates = landed.store.find("test_gate", ledger_id=revert.ledger_id)
    assert {gate.tree for gate in gates} == {landed.box.git("rev-parse", "main^{tree}")}
    for entry in entries:
        row = landed.store.get("patch_ledger", entry.ledger_id)
        assert (row.state, row.reverted_by) == ("rolled_back", revert.ledger_id)
        assert row.rollback_reason == "it is bad", "the plan that was recorded is carried out"
    (plan,) = landed.store.find("compensation_plan")
    assert plan.outcome == "done"
    assert all(row.status == "done" for row in landed.actions(plan.plan_id))
    for kind in ("test_gate", "uet_worker"):
        ended = MACHINES[kind].terminal
        assert all(row.state in ended for row in landed.store.find(kind)), kind
    worktrees = landed.home.worktrees
    assert not worktrees.exists() or not list(worktrees.iterdir())
    assert landed.box.git("for-each-ref", "refs/patchline/landing") == ""
    assert not landed.box.git("fsck", "--strict", "--no-dangling")


@pytest.mark.parametrize("point", [*RECORDING, *LANDING])
def test_a_rollback_that_died_is_finished_when_asked_again(landed: Landed, point: str) -> None:
    log = landed.folder / "log"
    command = ("sh", "-c", f"echo $PATCHLINE_ACTION $PATCHLINE_ACTION_ATTEMPT >> {log}")
    one = landed.patch(
        "one",
        {"a.txt": changed(2, "two")},
        Compensation(action=CompensationAction.GIT_REVERT),
        Compensation(action=CompensationAction.COMMAND, command=command),
        Compensation(action=CompensationAction.NOTIFY, message="done with {task}"),
    )
    two = landed.patch("two", {"a.txt": changed(2, "zwei")})
    landed.end()
    assert dying(landed, point, one) == -signal.SIGKILL, point
    report = again(landed, one)
    assert report.outcome == "done"
    assert_taken_back_once(landed, one, two)
    lines = log.read_text().splitlines()
    (action,) = landed.store.find("compensation_action", action="command")
    if point not in COMMAND:
        assert len(lines) == 1, "a command that has not begun, or whose end is recorded, runs once"
    assert {line.split()[0] for line in lines} == {action.action_id}


def test_a_command_whose_end_nobody_wrote_down_is_told_so(landed: Landed) -> None:
    log = landed.folder / "log"
    command = ("sh", "-c", f"echo $PATCHLINE_ACTION $PATCHLINE_ACTION_ATTEMPT >> {log}")
    one = landed.patch(
        "one",
        {"a.txt": changed(2, "two")},
        Compensation(action=CompensationAction.COMMAND, command=command),
    )
    landed.end()
    assert dying(landed, "compensation-done", one) == -signal.SIGKILL
    again(landed, one)
    (action,) = landed.store.find("compensation_action", action="command")
    assert log.read_text().splitlines() == [f"{action.action_id} 1", f"{action.action_id} 2"]
    assert action.attempts == 2


def test_what_was_refused_before_the_crash_is_not_left_in_quarantine(tmp_path: Path) -> None:
    go = tmp_path / "go"
    landed = Landed(tmp_path, gate=("test", "-e", str(go)))
    one = landed.patch("one", {"a.txt": changed(2, "two")})
    landed.end()
    with pytest.raises(CompensationFailedError, match="gate ok failed"):
        landed.roll_back(one)
    (refused,) = landed.store.find("patch_ledger", state="quarantined")
    go.touch()
    assert dying(landed, "branch-moved", one) == -signal.SIGKILL
    assert again(landed, one).outcome == "done"
    row = landed.store.get("patch_ledger", refused.ledger_id)
    (revert,) = landed.store.find("patch_ledger", state="committed")
    assert (row.state, row.drop_reason) == ("dropped", f"replaced by {revert.ledger_id}: it is bad")
    landed.store.close()


@pytest.mark.parametrize(
    "point", ["compensation-planned", "compensation-begun", "compensation-done"]
)
def test_a_second_try_that_died_is_gone_on_with(landed: Landed, point: str) -> None:
    log, go = landed.folder / "log", landed.folder / "go"
    told = f"echo $0 $PATCHLINE_ACTION >> {log}"
    acts = [
        Compensation(action=CompensationAction.COMMAND, command=("sh", "-c", script, name))
        for name, script in (("first", told), ("second", f"{told}; test -e {go}"))
    ]
    one = landed.patch("one", {"a.txt": changed(2, "two")}, *acts)
    landed.end()
    with pytest.raises(CompensationFailedError):
        landed.roll_back(one)
    go.touch()
    assert dying(landed, point, one) == -signal.SIGKILL
    assert again(landed, one).outcome == "done"
    lines = log.read_text().splitlines()
    assert [line.split()[0] for line in lines].count("first") == 1
    assert len(set(lines)) == 2, "each keeps its key"
    plans = landed.store.find("compensation_plan")
    assert [plan.outcome for plan in plans] == ["failed", "done"]


def test_a_person_who_pushes_after_the_crash_loses_nothing(landed: Landed) -> None:
    one = landed.patch("one", {"a.txt": changed(2, "two")})
    landed.end()
    assert dying(landed, "landing-intended", one) == -signal.SIGKILL
    landed.person({"b.txt": changed(5, "mine")})
    again(landed, one)
    assert landed.show("a.txt") == LINES
    assert landed.show("b.txt") == changed(5, "mine")
    assert landed.state(one) == "rolled_back"


def test_a_commit_that_had_landed_is_found_under_what_a_person_pushed_since(
    landed: Landed,
) -> None:
    one = landed.patch("one", {"a.txt": changed(2, "two")})
    landed.end()
    assert dying(landed, "branch-moved", one) == -signal.SIGKILL
    reverted = landed.box.head()
    landed.person({"b.txt": changed(5, "mine")})
    report = again(landed, one)
    assert report.revert is not None
    assert report.revert["commit_sha"] == reverted
    assert landed.box.git("rev-parse", "main^") == reverted
