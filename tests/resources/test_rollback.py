"""Taking back what has landed: a patch of its own, on exactly the tree that its gates passed on."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resources.rollback.manager import RollbackManager
from resources.rollback.survey import RollbackBlocked, RollbackRefused
from resources.specs import RunSpec
from state.errors import CompensationFailedError, PreflightError, UnauthorizedError
from state.queries import history
from tests import postgres
from tests.resources.landed import LINES, Landed, changed


@pytest.fixture
def landed(tmp_path: Path) -> Iterator[Landed]:
    made = Landed(tmp_path)
    yield made
    made.store.close()


def test_a_patch_is_taken_back_by_a_commit_of_its_own(landed: Landed) -> None:
    one = landed.patch("one", {"a.txt": changed(2, "two"), "new.txt": "new\n"})
    landed.patch("other", {"b.txt": changed(5, "five")})
    landed.end()
    head = landed.box.head()
    report = landed.roll_back(one)
    assert report.outcome == "done"
    assert report.rolled_back == (one.ledger_id,)
    assert landed.box.git("rev-parse", "main^") == head
    assert landed.show("a.txt") == LINES
    assert landed.show("b.txt") == changed(5, "five"), "what landed later stays"
    assert landed.box.git("ls-files", "new.txt") == ""
    assert landed.box.git("status", "--porcelain") == "", "the checkout moves along"
    revert = landed.store.get("patch_ledger", report.revert["ledger_id"])
    assert (revert.state, revert.task_id) == ("committed", None)
    assert (revert.workstream_id, revert.run_id) == (one.workstream_id, landed.run_id)
    assert revert.commit_sha == landed.box.head() == report.head
    patch = landed.store.get("patch", revert.patch_id)
    assert (patch.origin, patch.base_commit) == ("rollback", head)
    gates = landed.store.find("test_gate", ledger_id=revert.ledger_id)
    assert [(gate.name, gate.state) for gate in gates] == [("ok", "PASSED")]
    assert {gates[0].tree, revert.candidate_tree, patch.tree} == {
        landed.box.git("rev-parse", "main^{tree}")
    }
    body = landed.box.git("log", "-1", "--format=%B")
    assert body.startswith('Revert "more"\n\n')
    assert f"Patchline-Ledger: {revert.ledger_id}\n" in body
    assert "Patchline-Task: core/one\n" in body
    assert body.endswith(f"Patchline-Reverts: {one.ledger_id}")


def test_it_works_on_postgresql(tmp_path: Path) -> None:
    with postgres.database() as url:
        landed = Landed(tmp_path, url=url)
        one = landed.patch("one", {"a.txt": changed(2, "two")})
        two = landed.patch("two", {"a.txt": changed(2, "zwei")})
        landed.end()
        report = landed.roll_back(one, cascade=True)
        assert report.rolled_back == (two.ledger_id, one.ledger_id)
        assert landed.show("a.txt") == LINES
        landed.store.close()


def test_the_entry_says_who_took_it_back_why_and_by_what(landed: Landed) -> None:
    one = landed.patch("one", {"a.txt": changed(2, "two")})
    landed.end()
    report = landed.roll_back(one)
    row = landed.store.get("patch_ledger", one.ledger_id)
    assert (row.state, row.rollback_reason) == ("rolled_back", "it is bad")
    assert row.reverted_by == report.revert["ledger_id"]
    assert row.commit_sha == one.commit_sha
    requested, rolled_back = history(landed.store, "patch_ledger", one.ledger_id)[-2:]
    assert (requested.trigger, requested.from_state) == ("rollback_requested", "committed")
    assert (rolled_back.to_state, rolled_back.severity) == ("rolled_back", "critical")
    assert requested.operator == rolled_back.operator == "ann"
    plan = landed.store.get("compensation_plan", report.plan_id)
    assert (plan.outcome, plan.entries) == ("done", [one.ledger_id])
    assert plan.revert_ledger_id == row.reverted_by


def test_what_was_rolled_back_can_be_had_again(landed: Landed) -> None:
    one = landed.patch("one", {"a.txt": changed(2, "two")})
    landed.end()
    revert = landed.store.get("patch_ledger", landed.roll_back(one).revert["ledger_id"])
    again = landed.roll_back(revert)
    assert landed.show("a.txt") == changed(2, "two")
    assert landed.state(one) == landed.state(revert) == "rolled_back"
    assert [row["action"] for row in again.actions] == ["git_revert", "run_gates"]
    gates = landed.store.find("test_gate", ledger_id=again.revert["ledger_id"])
    assert [gate.name for gate in gates] == ["ok"], "the gates of the task whose work it is"


def test_a_change_that_a_person_has_undone_already_is_taken_back_by_an_empty_commit(
    landed: Landed,
) -> None:
    one = landed.patch("one", {"a.txt": changed(2, "two")})
    landed.end()
    undone = landed.person({"a.txt": LINES})
    landed.roll_back(one)
    assert landed.state(one) == "rolled_back"
    assert landed.box.git("rev-parse", "main^") == undone
    assert landed.box.git("diff", undone, "main") == ""


# -- who is in the way ---------------------------------------------------------------------------


def test_later_patches_of_the_same_lines_are_named_and_nothing_changes(landed: Landed) -> None:
    one = landed.patch("one", {"a.txt": changed(2, "two")})
    landed.patch("aside", {"a.txt": changed(8, "eight", changed(2, "two"))})
    later = landed.patch("later", {"a.txt": changed(2, "zwei", changed(8, "eight"))})
    landed.end()
    head, rows = landed.box.head(), len(landed.store.find("patch_ledger"))
    with pytest.raises(RollbackBlocked, match="--cascade") as refused:
        landed.roll_back(one)
    assert later.ledger_id in str(refused.value)
    assert "core/later" in str(refused.value)
    assert "a.txt" in str(refused.value)
    assert "aside" not in str(refused.value)
    assert (landed.box.head(), len(landed.store.find("patch_ledger"))) == (head, rows)
    assert landed.store.find("compensation_plan") == []


def test_with_cascade_all_are_taken_back_by_one_commit_newest_first(landed: Landed) -> None:
    one = landed.patch("one", {"a.txt": changed(2, "two")})
    aside = landed.patch("aside", {"b.txt": changed(1, "eins")})
    two = landed.patch("two", {"a.txt": changed(2, "zwei")})
    three = landed.patch("three", {"a.txt": changed(2, "deux")})
    landed.end()
    head = landed.box.head()
    report = landed.roll_back(one, cascade=True)
    taken = (three.ledger_id, two.ledger_id, one.ledger_id)
    assert report.rolled_back == taken
    assert landed.box.git("rev-parse", "main^") == head, "one commit"
    assert landed.show("a.txt") == LINES
    assert landed.show("b.txt") == changed(1, "eins")
    assert landed.state(aside) == "committed"
    reverted_by = {landed.store.get("patch_ledger", key).reverted_by for key in taken}
    assert reverted_by == {report.revert["ledger_id"]}
    assert f"Patchline-Reverts: {', '.join(taken)}" in landed.box.git("log", "-1", "--format=%b")


def test_a_blocker_of_another_run_is_known_and_held_to_its_own_gates(landed: Landed) -> None:
    one = landed.patch("one", {"a.txt": changed(2, "two")})
    landed.end()
    first, spec_of_first = landed.run_id, landed.spec()
    landed.run_id = landed.store.create("run", repo=str(landed.box.path), target="main").run_id
    landed.store.transition("run", landed.run_id, "running")
    landed.compensations, landed.gate = {}, ("sh", "-c", "exit 0")
    landed.stream("second")
    other = landed.patch("other", {"a.txt": changed(2, "zwei")})
    landed.end()
    specs = {first: spec_of_first, landed.run_id: landed.spec()}

    def spec_of(run_id: str) -> RunSpec:
        return specs[run_id]

    manager = RollbackManager(
        landed.store, landed.home, landed.repository, first, spec_of, threading.Event()
    )
    asked = {"reason": "bad", "operator": "ann", "cascade": True}
    report = manager.roll_back(one.ledger_id, **asked)
    assert report.rolled_back == (other.ledger_id, one.ledger_id)
    assert report.revert is not None
    gates = landed.store.find("test_gate", ledger_id=report.revert["ledger_id"])
    assert {gate.name: gate.command for gate in gates} == {
        "ok": ["true"],
        f"ok@{landed.run_id}": ["sh", "-c", "exit 0"],
    }


def test_a_persons_commit_in_the_way_is_never_taken_back(landed: Landed) -> None:
    one = landed.patch("one", {"a.txt": changed(2, "two")})
    landed.end()
    commit = landed.person({"a.txt": changed(2, "mine")})
    with pytest.raises(RollbackBlocked, match=commit[:12]):
        landed.roll_back(one, cascade=True)
    assert landed.box.head() == commit
    assert landed.state(one) == "committed"


def test_what_was_in_the_way_once_and_is_undone_by_now_is_not(landed: Landed) -> None:
    one = landed.patch("one", {"a.txt": changed(2, "two")})
    once = landed.patch("once", {"a.txt": changed(2, "zwei")})
    landed.patch("undone", {"a.txt": changed(2, "two")})
    last = landed.patch("last", {"a.txt": changed(2, "deux")})
    landed.end()
    report = landed.roll_back(one, cascade=True)
    assert report.rolled_back == (last.ledger_id, one.ledger_id)
    assert landed.state(once) == "committed"
    assert landed.show("a.txt") == LINES


def test_a_rename_by_somebody_else_is_not_followed(landed: Landed) -> None:
    one = landed.patch("one", {"a.txt": changed(2, "two")})
    landed.end()
    commit = landed.person({"a.txt": None, "moved.txt": changed(2, "two")})
    with pytest.raises(RollbackBlocked, match=commit[:12]):
        landed.roll_back(one)


# -- when it cannot be ---------------------------------------------------------------------------


def test_each_state_that_cannot_be_rolled_back_says_what_to_do(landed: Landed) -> None:
    one = landed.patch("one", {"a.txt": changed(2, "two")})
    refused = landed.store.create("patch_ledger", workstream_id=landed.ws_id).ledger_id
    landed.store.transition("patch_ledger", refused, "quarantined", quarantine_reason="bad")
    landed.end()
    with pytest.raises(RollbackRefused, match="patchline patch drop"):
        landed.manager().survey(refused)
    landed.roll_back(one)
    with pytest.raises(RollbackRefused, match="rolled back already by led_"):
        landed.roll_back(one)


def test_a_workstream_at_work_is_left_alone(landed: Landed) -> None:
    landed.stream("busy", f"patchline/{landed.run_id}/busy")
    one = landed.patch("one", {"a.txt": changed(2, "two")})
    with pytest.raises(PreflightError, match=r"busy of led_.* is executing"):
        landed.roll_back(one)


def test_a_commit_that_no_branch_has_any_more_is_refused(landed: Landed) -> None:
    base = landed.box.head()
    one = landed.patch("one", {"a.txt": changed(2, "two")})
    landed.end()
    landed.move(base)
    with pytest.raises(RollbackRefused, match="neither on main nor on"):
        landed.roll_back(one)


def test_local_changes_in_the_checkout_are_seen_before_anything_is_recorded(
    landed: Landed,
) -> None:
    one = landed.patch("one", {"a.txt": changed(2, "two")})
    landed.end()
    (landed.box.path / "b.txt").write_text("mine\n")
    with pytest.raises(PreflightError, match="local changes"):
        landed.roll_back(one)
    assert landed.store.find("compensation_plan") == []
    assert (landed.box.path / "b.txt").read_text() == "mine\n"


def test_nobody_rolls_back_without_a_name(landed: Landed) -> None:
    one = landed.patch("one", {"a.txt": changed(2, "two")})
    landed.end()
    with pytest.raises(UnauthorizedError):
        landed.roll_back(one, operator=" ")
    assert landed.store.find("compensation_plan") == []


def test_gates_that_refuse_the_result_leave_everything_as_it_was(tmp_path: Path) -> None:
    landed = Landed(tmp_path, gate=("grep", "two", "a.txt"))
    one = landed.patch("one", {"a.txt": changed(2, "two")})
    landed.end()
    head = landed.box.head()
    with pytest.raises(CompensationFailedError, match="gate ok failed"):
        landed.roll_back(one)
    assert landed.box.head() == head
    assert landed.state(one) == "committed"
    (plan,) = landed.store.find("compensation_plan")
    assert plan.outcome == "failed"
    assert landed.store.get("patch_ledger", plan.revert_ledger_id).state == "quarantined"
    assert [row.status for row in landed.actions(plan.plan_id)] == ["failed", "skipped"]
    landed.gate = ("true",)
    assert landed.roll_back(one).outcome == "done", "asked again, it begins anew"
    landed.store.close()


def test_two_processes_at_one_rollback_do_not_both_carry_it_out(landed: Landed) -> None:
    one = landed.patch("one", {"a.txt": changed(2, "two")})
    landed.end()
    manager = landed.manager()
    plan_id = manager.request(manager.survey(one.ledger_id), reason="bad", operator="ann")
    reports: list[Any] = []
    threads = [
        threading.Thread(target=lambda: reports.append(tried(landed, plan_id))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {"done"} <= {r for r in reports if r} <= {"done", "refused"}
    assert landed.box.git("rev-list", "--count", f"{one.commit_sha}..main") == "1"


def tried(landed: Landed, plan_id: str) -> str:
    try:
        return landed.manager().carry_out(plan_id).outcome
    except PreflightError:
        return "refused"


def test_the_branch_of_a_failed_workstream_is_where_its_patch_is_taken_back(
    landed: Landed,
) -> None:
    landed.stream("bad", f"patchline/{landed.run_id}/bad")
    one = landed.patch("one", {"a.txt": changed(2, "two")})
    landed.store.transition("workstream", landed.ws_id, "failed", reason="it broke")
    main = landed.box.head("main")
    report = landed.roll_back(one)
    assert report.target == landed.branch
    assert landed.box.head("main") == main
    assert landed.show("a.txt", landed.branch) == LINES
    assert landed.box.git("rev-parse", f"{landed.branch}^") == one.commit_sha


# -- while others land ---------------------------------------------------------------------------


def pushing(folder: Path, change: str) -> tuple[str, ...]:
    """A gate during whose first run a person commits to main."""
    flag, repo = folder / "pushed", folder / "repo"
    commit = "git -c user.name=ann -c user.email=ann@localhost commit -qam pushed"
    return ("sh", "-c", f"test -e {flag} || {{ touch {flag}; cd {repo}; {change}; {commit}; }}")


def test_a_person_who_pushes_while_its_gates_run_is_not_overwritten(tmp_path: Path) -> None:
    landed = Landed(tmp_path, gate=pushing(tmp_path, "echo mine >> b.txt"))
    one = landed.patch("one", {"a.txt": changed(2, "two")})
    landed.end()
    report = landed.roll_back(one)
    assert report.outcome == "done"
    assert landed.box.git("log", "-1", "--format=%s", "main^") == "pushed"
    assert landed.show("a.txt") == LINES
    assert landed.show("b.txt") == f"{LINES}mine\n"
    revert = landed.store.get("patch_ledger", report.revert["ledger_id"])
    assert revert.commit_sha == landed.box.head()
    gates = landed.store.find("test_gate", ledger_id=revert.ledger_id)
    assert {gate.tree for gate in gates} == {landed.box.git("rev-parse", "main^{tree}")}
    assert landed.store.get("patch_ledger", one.ledger_id).reverted_by == revert.ledger_id
    states = [row.state for row in landed.store.find("patch_ledger")]
    assert states == ["rolled_back", "dropped", "committed"]
    landed.store.close()


def test_a_push_on_the_same_lines_meanwhile_stops_it(tmp_path: Path) -> None:
    landed = Landed(tmp_path, gate=pushing(tmp_path, "sed -i s/two/mine/ a.txt"))
    one = landed.patch("one", {"a.txt": changed(2, "two")})
    landed.end()
    with pytest.raises(CompensationFailedError, match=r"conflict of core/one.*pushed"):
        landed.roll_back(one)
    assert landed.state(one) == "committed"
    assert landed.show("a.txt") == changed(2, "mine")
    with pytest.raises(RollbackBlocked, match="pushed"):
        landed.roll_back(one)
    landed.store.close()
