"""Rollbacks where people have been at work: kept branches, changes undone already, odd words."""

import shutil
from typing import Any

import pytest

from tests.cli.shell import Shell
from tests.cli.test_rollback import entries, killed, run_plan

GOOD = {"id": "good", "script": "echo good > g.txt"}
BAD: dict[str, Any] = {"id": "bad", "script": "exit 1", "depends_on": ["good"]}


def test_what_a_person_put_on_a_kept_branch_stays_there(shell: Shell) -> None:
    document = run_plan(shell, [dict(GOOD), dict(BAD)], code=1)
    branch = document["workstreams"][0]["branch"]
    shell.git("checkout", "-q", branch)
    (shell.repo / "s.txt").write_text("salvage\n")
    shell.git("add", "s.txt")
    shell.git("commit", "-q", "-m", "salvage")
    salvage = shell.git("rev-parse", "HEAD").strip()

    done = shell.run("rollback", entries(document)["core/good"], "--reason", "not this one")

    assert done.code == 0, done.err
    assert salvage in shell.git("rev-list", branch).split()
    assert shell.git("status", "--porcelain") == ""
    assert not (shell.repo / "g.txt").exists()
    assert (shell.repo / "s.txt").read_text() == "salvage\n"
    assert shell.run("verify", branch).code == 0


def test_a_rollback_of_what_was_undone_already_is_proven_too(shell: Shell) -> None:
    document = run_plan(shell, [dict(GOOD)])
    (ledger_id,) = entries(document).values()
    shell.git("revert", "--no-edit", "HEAD")

    assert shell.run("rollback", ledger_id, "--reason", "again").code == 0
    proof = shell.run("verify", "main")
    assert proof.code == 0, proof.out


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_the_words_of_a_persons_commit_reach_no_terminal_raw(
    shell: Shell, more: tuple[str, ...]
) -> None:
    document = run_plan(shell, [dict(GOOD)])
    (ledger_id,) = entries(document).values()
    (shell.repo / "g.txt").write_text("mine\n")
    shell.git("commit", "-q", "-a", "-m", "evil \033]0;owned\007")

    refused = shell.run("rollback", ledger_id, "--reason", "x", *more)

    assert refused.code == 1
    assert "owned" in refused.out + refused.err
    assert "\033]0" not in refused.out + refused.err
    assert "\007" not in refused.out + refused.err


def test_a_repository_that_was_moved_is_to_be_put_back(shell: Shell) -> None:
    document = run_plan(shell, [dict(GOOD)])
    (ledger_id,) = entries(document).values()
    shutil.move(shell.repo, shell.folder / "elsewhere")

    refused = shell.run("rollback", ledger_id, "--reason", "x")

    assert refused.code == 3
    assert "put it back where it was" in refused.err.lower()
    assert "--repo" not in refused.err


def test_a_rollback_that_died_is_gone_on_with_by_a_bare_resume(shell: Shell) -> None:
    document = run_plan(shell, [dict(GOOD)])
    (ledger_id,) = entries(document).values()
    killed(shell, "revert-recorded", "rollback", ledger_id, "--reason", "x")

    told = shell.run("rollback", ledger_id, "--dry-run")
    assert "is under way on main" in told.out
    assert shell.run("resume").code == 0
    assert not (shell.repo / "g.txt").exists()


def test_a_merge_that_a_person_made_meanwhile_is_taken_for_what_it_is(shell: Shell) -> None:
    path = shell.plan(
        tools={"good": {"command": ["sh", "-c", "echo good > g.txt"]}},
        workstreams=[{"id": "core", "gates": ["ok"], "tasks": [{"id": "good", "tool": "good"}]}],
        merge="merge",
        defaults={"max_retries": 0},
    )
    killed(shell, "merge-intended", "run", path)
    (branch,) = shell.git(
        "for-each-ref", "--format=%(refname:short)", "refs/heads/patchline"
    ).split()
    tip = shell.git("rev-parse", branch).strip()
    shell.git("merge", "-q", "--no-ff", "-m", "by hand", branch)

    done = shell.run("resume", "--json")

    assert done.code == 0, done.err
    (row,) = shell.run("list", "workstreams", "--json").json
    assert row["state"] == "completed"
    assert row["merge_commit"] == tip
    assert shell.git("log", "-1", "--format=%s", "main").strip() == "by hand"


def test_the_status_of_a_run_tells_what_was_taken_back(shell: Shell) -> None:
    document = run_plan(shell, [dict(GOOD), {"id": "two", "script": "echo two > b.txt"}])
    ledger_id = entries(document)["core/good"]
    assert shell.run("rollback", ledger_id, "--reason", "it was\033[31m wrong").code == 0

    told = shell.run("status").out

    assert "1 commit, 1 file, +1 -0 lines" in told
    assert "Rolled back since: 1 patch." in told
    commit = shell.git("rev-parse", "--short=12", "main").strip()
    assert f"  {ledger_id} by commit {commit}: it was" in told
    assert "\033[31m" not in told


def test_the_status_of_a_run_tells_what_was_made_up_for(shell: Shell) -> None:
    tell = {"action": "notify", "message": "tidy up"}
    fail = {"action": "command", "command": ["sh", "-c", "exit 3"]}
    good = {**GOOD, "compensation": [tell, fail]}
    document = run_plan(shell, [good, dict(BAD)], code=1)

    told = shell.run("status", document["run_id"]).out

    assert "Made up for core: 1 of 2 actions done." in told
    assert "  failed command: " in told


def test_the_status_of_a_run_says_how_to_go_on_with_a_rollback(shell: Shell) -> None:
    document = run_plan(shell, [dict(GOOD)])
    (ledger_id,) = entries(document).values()
    killed(shell, "revert-recorded", "rollback", ledger_id, "--reason", "x")

    told = shell.run("status").out

    assert f"The rollback of {ledger_id} has stopped before its end." in told
    assert f"patchline rollback {ledger_id}" in told


def test_a_checkout_that_a_dead_rollback_left_behind_is_told_from_a_persons_work(
    shell: Shell,
) -> None:
    document = run_plan(shell, [dict(GOOD), {"id": "two", "script": "echo two > b.txt"}])
    known = entries(document)
    killed(shell, "target-moved", "rollback", known["core/good"], "--reason", "x")

    other = shell.run("rollback", known["core/two"], "--reason", "y")
    assert other.code == 3
    assert "a landing that died" in other.err
    assert "patchline status" in other.err
    again = shell.run("run", str(shell.folder / "plan.yaml"))
    assert again.code == 3
    assert "a landing that died" in again.err

    assert shell.run("resume").code == 0
    assert shell.git("status", "--porcelain") == ""
    assert shell.run("rollback", known["core/two"], "--reason", "y").code == 0
