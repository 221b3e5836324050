"""What is done besides the revert: declared actions, their order, failures, retries."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resources.rollback.compensation import (
    USUAL,
    CompensationPlan,
    OnFailure,
    Order,
    Taken,
    compose,
)
from resources.specs import Compensation, CompensationAction
from state.errors import CompensationFailedError
from state.queries import history
from tests.resources.landed import LINES, Landed, changed

REVERT = Compensation(action=CompensationAction.GIT_REVERT)
GATES = Compensation(action=CompensationAction.RUN_GATES)


def command(script: str, **more: Any) -> Compensation:
    """A shell script as an action."""
    argv = ("sh", "-c", script)
    return Compensation(action=CompensationAction.COMMAND, command=argv, **more)


def notify(message: str) -> Compensation:
    return Compensation(action=CompensationAction.NOTIFY, message=message)


@pytest.fixture
def landed(tmp_path: Path) -> Iterator[Landed]:
    made = Landed(tmp_path)
    yield made
    made.store.close()


# -- the sequence --------------------------------------------------------------------------------


def sequence(*taken: Taken, order: Order = Order.REVERSE, revert: bool = True) -> list[str]:
    """The steps of entries, the newest first, as `action:task`."""
    steps = compose(taken, order, revert=revert)
    return [f"{s.action.value}:{s.arguments.get('task', '-')}" for s in steps]


NEW = Taken("new", (notify("a"), REVERT, command("b")), ledger_id="led_2")
OLD = Taken("old", (command("c"), GATES), ledger_id="led_1")


def test_what_a_list_names_before_the_revert_comes_before_it() -> None:
    assert sequence(NEW) == ["notify:new", "git_revert:-", "command:new"]


def test_a_list_without_a_revert_comes_after_it() -> None:
    assert sequence(OLD) == ["git_revert:-", "command:old", "run_gates:old"]


def test_the_newest_patch_is_made_up_for_first_unless_it_is_asked_for_otherwise() -> None:
    newest_first = ["notify:new", "git_revert:-", "command:new", "command:old", "run_gates:old"]
    oldest_first = ["notify:new", "git_revert:-", "command:old", "run_gates:old", "command:new"]
    assert sequence(NEW, OLD) == newest_first
    assert sequence(NEW, OLD, order=Order.FORWARD) == oldest_first


def test_the_same_gates_run_once_and_last() -> None:
    both = [Taken(name, USUAL, ledger_id=name) for name in ("two", "one")]
    assert sequence(*both) == ["git_revert:-", "run_gates:one"]


def test_after_a_failure_nothing_is_reverted_that_does_not_say_so() -> None:
    assert sequence(OLD, revert=False) == ["command:old", "run_gates:old"]
    (revert,) = [
        s for s in compose([NEW, OLD], Order.REVERSE, revert=False) if "ledger_ids" in s.arguments
    ]
    assert revert.arguments == {"ledger_ids": ["led_2"]}


# -- carried out ---------------------------------------------------------------------------------


def test_a_command_sees_the_reverted_tree_and_is_told_what_it_is_about(landed: Landed) -> None:
    out = landed.folder / "out"
    script = f'cat a.txt > {out}; env >> {out}; printf "%s\\n" "$@" >> {out}'
    argv = ("sh", "-c", script, "sh", "{task}", "{ledger}", "{commit}", "{reason}", "{plan_dir}")
    act = Compensation(
        action=CompensationAction.COMMAND, command=argv, env={"LEVEL": "{task}"}, timeout_sec=30
    )
    one = landed.patch("one", {"a.txt": changed(2, "two")}, act)
    landed.end()
    report = landed.roll_back(one, reason="it is; $(bad)")
    text = out.read_text()
    assert text.startswith(LINES)
    told = text.splitlines()
    (row,) = landed.store.find("compensation_action", action="command")
    for line in (
        f"PATCHLINE_RUN={landed.run_id}",
        f"PATCHLINE_ACTION={row.action_id}",
        "PATCHLINE_ACTION_ATTEMPT=1",
        f"PATCHLINE_LEDGER={one.ledger_id}",
        "PATCHLINE_TASK=core/one",
        "LEVEL={task}",
    ):
        assert line in told
    given = ["core/one", one.ledger_id, one.commit_sha, "it is; $(bad)", str(landed.folder)]
    assert told[-5:] == given
    assert (row.status, row.exit_code, row.attempts) == ("done", 0, 1)
    assert row.task_id == one.task_id
    assert [one["action"] for one in report.actions] == ["git_revert", "command"]


def test_the_callers_variables_stay_with_the_caller(
    landed: Landed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBHOOK_TOKEN", "s3cret-s3cret")
    monkeypatch.setenv("OTHER", "x")
    out = landed.folder / "out"
    act = command(f"env > {out}; echo $WEBHOOK_TOKEN", env_allow=("WEBHOOK_TOKEN",))
    one = landed.patch("one", {"a.txt": changed(2, "two")}, act)
    landed.end()
    landed.roll_back(one)
    assert "WEBHOOK_TOKEN=s3cret-s3cret" in out.read_text()
    assert "OTHER=" not in out.read_text()
    (row,) = landed.store.find("compensation_action", action="command")
    assert "s3cret" not in row.output


def test_a_notification_is_in_the_history_once(landed: Landed) -> None:
    one = landed.patch("one", {"a.txt": changed(2, "two")}, notify("tell {task}: {reason}"))
    landed.end()
    landed.roll_back(one)
    told = [
        row
        for row in history(landed.store, "patch_ledger", one.ledger_id)
        if row.trigger == "compensation_notified"
    ]
    assert [row.reason for row in told] == ["tell core/one: it is bad"]


def test_a_failed_action_stops_what_comes_after_it(landed: Landed) -> None:
    out = landed.folder / "out"
    actions = (command("echo no; exit 3"), command(f"touch {out}"))
    one = landed.patch("one", {"a.txt": changed(2, "two")}, *actions)
    landed.end()
    with pytest.raises(CompensationFailedError, match="command: exit code 3: no"):
        landed.roll_back(one)
    assert landed.state(one) == "rolled_back", "what was done stays done"
    assert not out.exists()
    (plan,) = landed.store.find("compensation_plan")
    rows = landed.actions(plan.plan_id)
    assert [row.status for row in rows] == ["done", "failed", "skipped"]
    assert rows[2].reason == "action 1 failed"


def test_an_action_that_fails_before_the_revert_prevents_it(landed: Landed) -> None:
    one = landed.patch("one", {"a.txt": changed(2, "two")}, command("exit 1"), REVERT)
    landed.end()
    with pytest.raises(CompensationFailedError):
        landed.roll_back(one)
    assert landed.state(one) == "committed"
    assert landed.box.head() == one.commit_sha


def test_a_given_plan_replaces_what_the_task_declares(landed: Landed) -> None:
    out, other = landed.folder / "out", landed.folder / "other"
    one = landed.patch("one", {"a.txt": changed(2, "two")}, command(f"touch {other}"))
    landed.end()
    actions = (command("exit 1"), command(f"touch {out}"))
    given = CompensationPlan(on_failure=OnFailure.CONTINUE, actions=actions)
    with pytest.raises(CompensationFailedError):
        landed.roll_back(one, given=given)
    assert landed.state(one) == "rolled_back"
    assert out.exists()
    assert not other.exists()
    (plan,) = landed.store.find("compensation_plan")
    assert [row.status for row in landed.actions(plan.plan_id)] == ["done", "failed", "done"]


def test_a_failed_action_is_tried_again_as_often_as_the_plan_says(landed: Landed) -> None:
    count = landed.folder / "count"
    script = f"echo $PATCHLINE_ACTION_ATTEMPT >> {count}; test $(wc -l < {count}) -ge 3"
    one = landed.patch("one", {"a.txt": changed(2, "two")})
    landed.end()
    retry = {"on_failure": OnFailure.RETRY, "retry_sec": 0}
    given = CompensationPlan.model_validate({**retry, "retries": 2, "actions": (command(script),)})
    assert landed.roll_back(one, given=given).outcome == "done"
    assert count.read_text().split() == ["1", "2", "3"]


def test_gates_that_were_not_asked_when_it_landed_judge_the_branch(landed: Landed) -> None:
    one = landed.patch("one", {"a.txt": changed(2, "two")}, notify("moved"), GATES)
    landed.end()
    report = landed.roll_back(one)
    assert report.actions[-1]["reason"].startswith("passed on tree")
    assert len(landed.store.find("test_gate")) == 1, "what has judged this very tree need not again"


def test_told_to_stop_it_puts_away_what_is_begun_and_goes_on_later(tmp_path: Path) -> None:
    go = tmp_path / "go"
    landed = Landed(tmp_path, gate=("sh", "-c", f"test -e {go} || sleep 60"))
    one = landed.patch("one", {"a.txt": changed(2, "two")})
    landed.end()
    stop = threading.Event()
    timer = threading.Timer(0.5, stop.set)
    timer.start()
    manager = landed.manager(stop)
    report = manager.roll_back(one.ledger_id, reason="bad", operator="ann")
    timer.join()
    assert report.outcome == "open"
    assert landed.state(one) == "committed"
    assert landed.box.head() == one.commit_sha
    go.touch()
    assert landed.roll_back(one).outcome == "done"
    assert landed.state(one) == "rolled_back"
    landed.store.close()


# -- after a failure -----------------------------------------------------------------------------


def failed(landed: Landed, *acts: tuple[Compensation, ...]) -> list[Any]:
    """A failed workstream on its own branch, with a patch for each list of actions."""
    landed.stream("bad", f"patchline/{landed.run_id}/bad")
    found: list[Any] = []
    for n, actions in enumerate(acts, start=1):
        text = "".join(f"{k}\n" for k in range(n, n + 5))
        found.append(landed.patch(f"t{n}", {f"{n}.txt": text}, *actions))
    landed.store.transition("workstream", landed.ws_id, "failed", reason="it broke")
    return found


def test_a_failed_workstream_makes_up_for_what_is_done_the_last_first(landed: Landed) -> None:
    out = landed.folder / "out"
    failed(
        landed,
        (command(f"echo {{task}} >> {out}"),),
        (),
        (command(f"echo {{task}} {{reason}} >> {out}"),),
    )
    (report,) = landed.manager().make_up_for_failures()
    assert report.outcome == "done"
    assert out.read_text().splitlines() == [
        "bad/t3 workstream bad failed: it broke",
        "bad/t1",
    ]
    assert landed.manager().make_up_for_failures() == (), "once"
    (started,) = [
        row
        for row in history(landed.store, "workstream", landed.ws_id)
        if row.trigger == "compensation_started"
    ]
    assert started.metadata == {"plan_id": report.plan_id}


def test_its_branch_is_reverted_only_where_a_task_says_so(landed: Landed) -> None:
    one, two = failed(landed, (REVERT, notify("gone")), (notify("stays"),))
    main = landed.box.head("main")
    (report,) = landed.manager().make_up_for_failures()
    assert report.rolled_back == (one.ledger_id,)
    assert landed.state(two) == "committed"
    assert landed.box.git("ls-tree", "--name-only", landed.branch).split() == [
        *("2.txt", "a.txt", "b.txt"),
    ]
    assert landed.box.head("main") == main
    assert landed.store.get("patch_ledger", one.ledger_id).state == "rolled_back"


def test_a_failed_workstream_that_declares_nothing_has_no_plan(landed: Landed) -> None:
    failed(landed, ())
    assert not landed.manager().has_unfinished()
    assert landed.manager().make_up_for_failures() == ()
    assert landed.store.find("compensation_plan") == []
