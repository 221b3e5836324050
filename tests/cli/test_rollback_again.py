"""`rollback` and `resume` after a failure, and the names that `rollback` takes for a patch."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.shell import PATCHLINE, Shell
from tests.cli.test_rollback import entries, killed, run_plan


def compensated(shell: Shell, *scripts: str) -> dict[str, Any]:
    """A task whose patch is made up for by shell scripts."""
    acts = [{"action": "command", "command": ["sh", "-c", script]} for script in scripts]
    return {"id": "good", "script": "echo good > g.txt", "compensation": acts}


def plain(text: str) -> str:
    """What was said, with the program called as one has it on one's path."""
    return text.replace(str(PATCHLINE), "patchline")


@pytest.fixture
def log(shell: Shell) -> Path:
    return shell.folder / "log"


def rolled_back_in_part(shell: Shell, log: Path) -> str:
    """A patch that is taken back, with an action that fails until `go` is there; its id."""
    wait = f"echo second >> {log}; test -e {shell.folder / 'go'}"
    document = run_plan(shell, [compensated(shell, f"echo first >> {log}", wait)])
    (ledger_id,) = entries(document).values()
    failed = shell.run("rollback", ledger_id, "--reason", "x")
    assert failed.code == 1
    assert f"what is done is not repeated: patchline rollback {ledger_id}" in plain(failed.out)
    return ledger_id


def test_what_failed_is_tried_again_by_the_same_command(shell: Shell, log: Path) -> None:
    ledger_id = rolled_back_in_part(shell, log)
    reverted = shell.git("rev-parse", "main")
    (shell.folder / "go").touch()
    again = shell.run("rollback", ledger_id, "--json")
    assert again.code == 0, again.err
    assert "has failed. What has not succeeded is tried again" in again.err
    assert (again.json["outcome"], again.json["rolled_back"]) == ("done", [ledger_id])
    assert [one["action"] for one in again.json["actions"]] == ["command"]
    assert log.read_text().split() == ["first", "second", "second"]
    assert shell.git("rev-parse", "main") == reverted == again.json["revert"]["commit_sha"]
    done = shell.run("rollback", ledger_id)
    assert (done.code, "--reason" in done.err) == (2, True)
    assert "rolled back already" in shell.run("rollback", ledger_id, "--reason", "x").err


def test_what_is_left_of_a_rollback_is_said_beforehand(shell: Shell, log: Path) -> None:
    ledger_id = rolled_back_in_part(shell, log)
    told = shell.run("rollback", ledger_id, "--dry-run")
    assert told.code == 0
    assert "has not succeeded in all on main" in told.out
    assert "failed   command of core/good: exit code 1" in told.out
    assert f"Go on with: patchline rollback {ledger_id}" in plain(told.out)
    other = shell.folder / "other.yaml"
    other.write_text("actions: [{action: notify, message: done by hand}]\n")
    told = shell.run("rollback", ledger_id, "--plan", str(other), "--dry-run")
    assert "in the place of what is left: notify" in told.out, told.err
    assert f"patchline rollback {ledger_id} --plan FILE" in plain(told.out)
    assert log.read_text().split() == ["first", "second"], "nothing is done"


def test_status_tells_what_failed_until_it_is_mended(shell: Shell, log: Path) -> None:
    ledger_id = rolled_back_in_part(shell, log)
    told = plain(shell.run("status").out)
    assert f"The rollback of {ledger_id} has not succeeded in all:" in told
    assert "  failed command: exit code 1" in told
    assert f"try it again: patchline rollback {ledger_id}" in told
    (shell.folder / "go").touch()
    shell.run("rollback", ledger_id)
    assert "has not succeeded" not in shell.run("status").out


def test_what_did_not_make_up_for_a_failure_is_tried_again_by_resume(
    shell: Shell, log: Path
) -> None:
    wait = f"echo second >> {log}; test -e {shell.folder / 'go'}"
    good = compensated(shell, f"echo first >> {log}", wait)
    bad = {"id": "bad", "script": "exit 1", "depends_on": ["good"]}
    document = run_plan(shell, [good, bad], code=1)
    run_id = document["run_id"]
    told = plain(shell.run("status", run_id).out)
    assert "Made up for core: 1 of 2 actions done." in told
    assert f"try it again: patchline resume {run_id}" in told
    (shell.folder / "go").touch()
    assert shell.run("resume", run_id).code == 0
    assert log.read_text().split() == ["first", "second", "second"]
    assert "Made up for core: 2 of 2 actions done." in shell.run("status", run_id).out
    assert shell.run("resume", run_id).code == 2, "nothing is left to do"


def test_an_interrupted_rollback_leaves_no_quarantine(shell: Shell) -> None:
    document = run_plan(shell, [{"id": "good", "script": "echo good > g.txt"}])
    (ledger_id,) = entries(document).values()
    killed(shell, "patch-applied", "rollback", ledger_id, "--reason", "x")
    assert shell.run("resume", document["run_id"]).code == 0
    states = [row["state"] for row in shell.run("list", "patches", "--json").json]
    assert sorted(states) == ["committed", "dropped", "rolled_back"]


def test_a_command_that_a_cascade_of_another_run_has_done_is_not_repeated(
    shell: Shell, log: Path
) -> None:
    stop = shell.folder / "stop"
    gates = {"ok": {"command": ["sh", "-c", f"test ! -e {stop}"]}}
    one = {"id": "one", "script": "echo 1 > g.txt"}
    (first,) = entries(run_plan(shell, [one], gates=gates)).values()
    later = compensated(shell, f"echo done >> {log}") | {"id": "two", "script": "echo 2 > g.txt"}
    later["compensation"].append({"action": "git_revert"})
    (second,) = entries(run_plan(shell, [later], gates=gates)).values()
    stop.touch()
    assert shell.run("rollback", first, "--cascade", "--reason", "x").code == 1
    assert log.read_text().split() == ["done"]
    stop.unlink()
    taken = shell.run("rollback", second, "--reason", "y")
    assert taken.code == 0, taken.err
    assert (shell.repo / "g.txt").read_text() == "1\n"
    assert log.read_text().split() == ["done"]


def test_what_is_under_way_in_another_run_is_gone_on_with_there(shell: Shell, log: Path) -> None:
    (first,) = entries(run_plan(shell, [{"id": "one", "script": "echo 1 > g.txt"}])).values()
    later = compensated(shell, f"echo done >> {log}") | {"id": "two", "script": "echo 2 > g.txt"}
    (second,) = entries(run_plan(shell, [later])).values()
    cascade = ("rollback", first, "--cascade", "--reason", "x")
    killed(shell, "compensation-planned", *cascade)
    refused = shell.run("rollback", second, "--reason", "y")
    assert refused.code != 0
    assert f"patchline rollback {first}" in plain(refused.err)
    assert shell.run("rollback", first).code == 0
    assert log.read_text().split() == ["done"]


# -- names ---------------------------------------------------------------------------------------


def test_a_patch_goes_by_any_name_that_its_commit_has(shell: Shell) -> None:
    document = run_plan(shell, [{"id": "good", "script": "echo good > g.txt"}])
    (ledger_id,) = entries(document).values()
    shell.git("tag", "-a", "-m", "out", "v1")
    for name in ("HEAD", "main", "v1", "main@{0}"):
        shown = shell.run("patch", "show", name, "--json")
        assert shown.code == 0, shown.err
        assert shown.json["ledger_id"] == ledger_id
    assert shell.run("rollback", "HEAD", "--reason", "x").code == 0
    assert not (shell.repo / "g.txt").exists()
    undone = shell.run("rollback", "HEAD", "--reason", "it was good")
    assert undone.code == 0, undone.err
    assert (shell.repo / "g.txt").exists()


def test_head_is_that_of_the_checkout_that_one_stands_in(shell: Shell, tmp_path: Path) -> None:
    tasks = [{"id": "one", "script": "echo 1 > 1.txt"}]
    first = entries(run_plan(shell, tasks))
    tasks = [{"id": "two", "script": "echo 2 > 2.txt"}]
    run_plan(shell, tasks)
    shell.git("worktree", "add", "-q", "--detach", str(tmp_path / "linked"), "HEAD~1")
    there, home = Shell(tmp_path / "linked"), {"PATCHLINE_HOME": str(shell.home.root)}
    shown = there.run("patch", "show", "HEAD", "--json", env=home)
    assert shown.json["ledger_id"] in first.values(), shown.err


def test_a_name_that_has_become_the_rollback_does_not_undo_it(shell: Shell) -> None:
    undo = {"action": "command", "command": ["false"]}
    script = "echo good > g.txt"
    task = {"id": "good", "script": script, "compensation": [{"action": "git_revert"}, undo]}
    (ledger_id,) = entries(run_plan(shell, [task])).values()
    assert shell.run("rollback", "HEAD", "--reason", "x").code == 1
    assert not (shell.repo / "g.txt").exists()
    again = shell.run("rollback", "HEAD", "--reason", "x")
    assert again.code == 2
    assert f"is now the rollback of {ledger_id}, which has not succeeded in all" in again.err
    assert not (shell.repo / "g.txt").exists()


def test_a_commit_of_nobody_of_ours_is_named_as_such(shell: Shell) -> None:
    run_plan(shell, [{"id": "good", "script": "echo good > g.txt"}])
    shell.git("commit", "-q", "--allow-empty", "-m", "by hand")
    commit = shell.git("rev-parse", "HEAD")
    refused = shell.run("rollback", "HEAD", "--reason", "x", "--json")
    assert refused.code == 2
    assert f"commit {commit[:12]}, which is no patch of ours" in refused.error["message"]


def test_a_merge_names_the_patches_that_it_brought(shell: Shell) -> None:
    document = run_plan(shell, [{"id": "good", "script": "echo good > g.txt"}], merge="merge")
    (ledger_id,) = entries(document).values()
    refused = shell.run("rollback", "main", "--reason", "x")
    assert refused.code == 2
    assert f"the merge of core with these patches: {ledger_id}" in refused.err


@pytest.mark.parametrize("name", ["", "  "])
def test_a_name_that_is_empty_is_told_so(shell: Shell, name: str) -> None:
    run_plan(shell, [{"id": "good", "script": "echo good > g.txt"}])
    for words in (("rollback", name, "--reason", "x"), ("patch", "show", name)):
        refused = shell.run(*words)
        assert refused.code == 2
        assert "The name of the patch is empty" in refused.err


@pytest.mark.parametrize("name", ["--upload-pack=x", "nobody", "HEAD:g.txt", "x\033[31m"])
def test_a_name_of_nothing_is_told_so(shell: Shell, name: str) -> None:
    run_plan(shell, [{"id": "good", "script": "echo good > g.txt"}])
    refused = shell.run("patch", "show", "--", name)
    assert refused.code == 2
    assert "There is no patch ledger" in refused.err
    assert "\033" not in refused.err


def test_of_several_repositories_the_one_around_us_is_meant(shell: Shell) -> None:
    run_plan(shell, [{"id": "good", "script": "echo good > g.txt"}])
    other = shell.folder / "other"
    shutil.copytree(shell.repo, other)
    document = run_plan(shell, [{"id": "new", "script": "echo new > n.txt"}], repo="other")
    (ledger_id,) = entries(document).values()
    refused = shell.run("rollback", "main", "--reason", "x")
    assert refused.code == 2
    assert "'main' means another patch in each of" in refused.err
    words = [PATCHLINE, "patch", "show", "main", "--json"]
    done = subprocess.run(words, cwd=other, env=shell.environment(), capture_output=True)
    assert json.loads(done.stdout)["ledger_id"] == ledger_id
