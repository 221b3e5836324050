"""A rollback that failed and is asked for again: what succeeded is done, the rest is tried."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resources.patches.ledger import UNLANDED
from resources.rollback.compensation import CompensationPlan, OnFailure
from resources.rollback.survey import RollbackRefused
from resources.specs import Compensation, CompensationAction
from state.errors import CompensationFailedError, PreflightError
from state.queries import history
from tests.resources.landed import LINES, Landed, changed

REVERT = Compensation(action=CompensationAction.GIT_REVERT)


@pytest.fixture
def landed(tmp_path: Path) -> Iterator[Landed]:
    made = Landed(tmp_path)
    yield made
    made.store.close()


class Log:
    """Commands that write down that they ran, under which key and for which time."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "log"
        self.go = folder / "go"

    def command(self, name: str, more: str = "true") -> Compensation:
        written = f"echo $0 $PATCHLINE_ACTION $PATCHLINE_ACTION_ATTEMPT >> {self._path}; {more}"
        return Compensation(action=CompensationAction.COMMAND, command=("sh", "-c", written, name))

    def waiting(self, name: str) -> Compensation:
        """One that fails until `go` is there."""
        return self.command(name, f"test -e {self.go}")

    def lines(self) -> list[tuple[str, str, int]]:
        """Name, key and number of each try."""
        rows = (line.split() for line in self._path.read_text().splitlines())
        return [(name, key, int(number)) for name, key, number in rows]

    def names(self) -> list[str]:
        return [name for name, _, _ in self.lines()]


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


def failing(landed: Landed, entry: Any, **more: Any) -> None:
    with pytest.raises(CompensationFailedError):
        landed.roll_back(entry, **more)


def test_what_failed_after_the_revert_is_tried_again_under_the_same_key(
    landed: Landed, log: Log
) -> None:
    acts = (log.command("first"), log.waiting("second"), log.command("third"))
    one = landed.patch("one", {"a.txt": changed(2, "two")}, *acts)
    landed.end()
    failing(landed, one)
    reverted = landed.box.head()
    failing(landed, one)
    log.go.touch()
    report = landed.roll_back(one, reason="", operator="bob")
    assert (report.outcome, report.rolled_back) == ("done", (one.ledger_id,))
    assert log.names() == ["first", "second", "second", "second", "third"]
    assert len({key for name, key, _ in log.lines() if name == "second"}) == 1
    assert [number for name, _, number in log.lines() if name == "second"] == [1, 2, 3]
    assert landed.box.head() == reverted, "nothing is reverted again"
    plans = landed.store.find("compensation_plan")
    assert [plan.outcome for plan in plans] == ["failed", "failed", "done"]
    assert plans[2].document["earlier"] == [plan.plan_id for plan in plans[:2]]
    assert (plans[2].reason, plans[2].operator) == ("it is bad", "bob")
    last = history(landed.store, "patch_ledger", one.ledger_id)[-1]
    assert (last.trigger, last.operator) == ("compensation_retried", "bob")
    with pytest.raises(RollbackRefused, match="already"):
        landed.roll_back(one)


def test_what_succeeded_before_a_failed_revert_is_not_repeated(landed: Landed, log: Log) -> None:
    acts = (log.command("first"), log.waiting("second"), REVERT, log.command("third"))
    one = landed.patch("one", {"a.txt": changed(2, "two")}, *acts)
    landed.end()
    failing(landed, one)
    assert landed.state(one) == "committed"
    log.go.touch()
    assert landed.roll_back(one).outcome == "done"
    assert log.names() == ["first", "second", "second", "third"]
    assert [number for name, _, number in log.lines() if name == "second"] == [1, 2]
    assert landed.show("a.txt") == LINES


def test_two_equal_commands_of_which_one_succeeded_are_told_apart(landed: Landed, log: Log) -> None:
    """The first creates what the second, equal one finds: only the first may fail and be left."""
    flaky = log.command("same", f"test -e {log.go} || {{ touch {log.go}; exit 1; }}")
    one = landed.patch("one", {"a.txt": changed(2, "two")}, flaky, flaky, REVERT)
    landed.end()
    failing(landed, one)
    assert landed.roll_back(one).outcome == "done"
    assert log.names() == ["same", "same", "same"]
    assert len({key for _, key, _ in log.lines()}) == 2


def test_a_plan_that_somebody_gave_is_still_meant_when_it_is_asked_for_again(
    landed: Landed, log: Log
) -> None:
    one = landed.patch("one", {"a.txt": changed(2, "two")}, log.command("declared"))
    landed.end()
    acts = (log.command("given"), log.waiting("second"), REVERT)
    failing(landed, one, given=CompensationPlan(actions=acts))
    log.go.touch()
    assert landed.roll_back(one).outcome == "done"
    assert log.names() == ["given", "second", "second"]


def test_how_failures_are_taken_is_still_meant_as_well(landed: Landed, log: Log) -> None:
    one = landed.patch("one", {"a.txt": changed(2, "two")})
    landed.end()
    acts = (log.waiting("first"), log.waiting("second"))
    how = {"on_failure": OnFailure.RETRY, "retries": 1, "retry_sec": 0}
    failing(landed, one, given=CompensationPlan.model_validate({**how, "actions": acts}))
    failing(landed, one)
    assert [number for _, _, number in log.lines()] == [1, 2, 3, 4]


def test_what_failed_can_be_made_up_for_by_something_else(landed: Landed, log: Log) -> None:
    acts = (log.command("first"), log.command("wrong", "exit 1"))
    one = landed.patch("one", {"a.txt": changed(2, "two")}, *acts)
    landed.end()
    failing(landed, one)
    head = landed.box.head()
    given = CompensationPlan(actions=(REVERT, log.command("first"), log.command("right")))
    assert landed.roll_back(one, given=given).outcome == "done"
    assert log.names() == ["first", "wrong", "right"]
    assert landed.box.head() == head


def test_nothing_is_tried_again_once_the_patch_was_had_again(landed: Landed, log: Log) -> None:
    one = landed.patch("one", {"a.txt": changed(2, "two")}, log.waiting("only"))
    landed.end()
    failing(landed, one)
    by = landed.store.get("patch_ledger", one.ledger_id).reverted_by
    landed.roll_back(landed.store.get("patch_ledger", by))
    log.go.touch()
    with pytest.raises(RollbackRefused, match="already"):
        landed.roll_back(one)
    assert log.names() == ["only"]


def test_others_that_must_be_taken_back_by_now_are_seen(landed: Landed, log: Log) -> None:
    acts = (log.command("first"), log.waiting("second"), REVERT)
    one = landed.patch("one", {"a.txt": changed(2, "two")}, *acts)
    landed.end()
    failing(landed, one)
    landed.person({"a.txt": changed(2, "mine")})
    log.go.touch()
    with pytest.raises(RollbackRefused, match="no patch of ours"):
        landed.roll_back(one)
    assert log.names() == ["first", "second"]


def test_two_who_ask_at_once_do_not_both_begin(landed: Landed) -> None:
    one = landed.patch("one", {"a.txt": changed(2, "two")})
    landed.end()
    manager = landed.manager()
    seen = [manager.survey(one.ledger_id) for _ in range(2)]
    manager.request(seen[0], reason="bad", operator="ann")
    with pytest.raises(PreflightError, match="has been recorded to take"):
        manager.request(seen[1], reason="bad", operator="bob")
    assert len(landed.store.find("compensation_plan")) == 1


def test_a_revert_that_was_told_to_stop_at_its_gates_leaves_no_quarantine(tmp_path: Path) -> None:
    began = tmp_path / "began"
    landed = Landed(tmp_path, gate=("sh", "-c", f"touch {began}; exec sleep 60"))
    one = landed.patch("one", {"a.txt": changed(2, "two")})
    landed.end()
    stop, over = threading.Event(), threading.Event()
    watching = threading.Thread(target=stop_when, args=(began, stop, over))
    watching.start()
    report = landed.manager(stop).roll_back(one.ledger_id, reason="bad", operator="ann")
    over.set()
    watching.join()
    assert report.outcome == "open"
    assert [row.state for row in landed.store.find("patch_ledger")] == ["committed", "dropped"]
    landed.store.close()


def stop_when(there: Path, stop: threading.Event, over: threading.Event) -> None:
    """Tell it to stop as soon as a file is there."""
    while not over.wait(0.01):
        if there.exists():
            stop.set()


# -- a failed workstream -------------------------------------------------------------------------


def test_what_did_not_make_up_for_a_failure_is_tried_again_when_somebody_asks(
    landed: Landed, log: Log
) -> None:
    landed.stream("bad", f"patchline/{landed.run_id}/bad")
    landed.patch("one", {"1.txt": "1\n"}, log.command("first"), log.waiting("second"), REVERT)
    landed.store.transition("workstream", landed.ws_id, "failed", reason="it broke")
    (report,) = landed.manager().make_up_for_failures()
    assert report.outcome == "failed"
    assert landed.manager().make_up_for_failures() == (), "not by itself"
    assert landed.manager().has_unfinished()
    log.go.touch()
    (report,) = landed.manager().finish()
    assert report.outcome == "done"
    assert log.names() == ["first", "second", "second"]
    assert landed.box.git("ls-tree", "--name-only", landed.branch).split() == ["a.txt", "b.txt"]
    assert not [row for row in landed.store.find("patch_ledger") if row.state in UNLANDED]
    assert not landed.manager().has_unfinished()
    triggers = [row.trigger for row in history(landed.store, "workstream", landed.ws_id)]
    assert triggers[-1] == "compensation_retried"
